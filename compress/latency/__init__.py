"""The latency of models of given widths on the runtime that will serve them."""
