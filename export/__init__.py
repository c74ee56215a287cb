"""From run folders to what servers and phones load; run from the checkout: `python -m export`."""
