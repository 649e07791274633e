"""Dated tables with their sources, and their readers. Pure data: nothing in here does I/O beyond reading its own files.

* ``clients`` — which client reads which variable, trusts which store, accepts which form of a proxy
* ``routes``, ``stores`` — the way a client would take to a URL and the store it would trust, computed from those tables
* ``hosts`` — known public hosts of models, products that inspect or filter traffic, public certificate authorities
"""
