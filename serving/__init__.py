"""Serving: TF-Serving configuration, a client of its protocols, and a small server that implements them."""
