"""Training data: an index of videos, pairs drawn from it, how a pair is varied, and drawn puppets."""
