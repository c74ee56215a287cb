"""Animation with trained models."""
