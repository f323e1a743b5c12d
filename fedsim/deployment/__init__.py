"""Federations of many processes: a SuperLink, nodes that keep their ClientApp in memory, keys and certificates."""

FAREWELL = "query.farewell"
"""Type of the message by which a server of ours tells a node that there is no more work."""
