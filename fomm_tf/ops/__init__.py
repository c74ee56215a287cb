"""Pure functions of the method: no variables, no config, no Keras layers."""
