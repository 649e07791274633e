"""The way the client that will download would take: its proxy variables, its NO_PROXY, its trust store.

Nothing is asked of the network here. The rules are in ``facts`` (checks and causes ask them too); this is the probes' door to them.
"""

from diagnostics.facts.routes import matching_entry, missed_entry, proxy_of, route, variables_not_read
from diagnostics.facts.stores import trust

__all__ = ["matching_entry", "missed_entry", "proxy_of", "route", "trust", "variables_not_read"]
