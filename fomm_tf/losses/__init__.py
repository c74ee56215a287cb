"""The losses of the paper (Eq. 9, 11, 13) and of the reference's adversarial fine-tuning; a value an example."""
