"""Training: the objective, the step, the loop, and what they report."""
