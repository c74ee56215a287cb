"""The training step: forward pass, losses, gradients, optimisers."""
