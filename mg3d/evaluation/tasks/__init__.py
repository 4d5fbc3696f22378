"""Downstream tasks through one interface: what differs is four functions, the rest is shared."""
