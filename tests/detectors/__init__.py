"""A package for pytest, so that fixtures of package scope end with its last test, not with the session."""
