"""Training: set-up, steps, the loop, and reports."""
