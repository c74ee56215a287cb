"""Losses: the terms that training sums, and the backbones of the perceptual loss."""
