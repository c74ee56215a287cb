"""Training data: an index of clips, pairs of frames, augmentation, preparation of videos, and synthetic characters."""
