"""Serving: config files for TF-Serving, a client of its protocols, and a small server of them. Not installed."""
