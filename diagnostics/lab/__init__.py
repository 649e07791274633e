"""The fault lab: DNS, proxies, TLS, HTTP and hubs that misbehave on purpose, each with a twin that behaves.

Standard library only, but for ``lab.tls`` (extra ``[lab]``). Everything listens on loopback, or inside a network namespace of its own.
"""
