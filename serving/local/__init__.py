"""A server for one exported SavedModel, with TF-Serving's gRPC and REST protocols."""
