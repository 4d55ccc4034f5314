"""Kubernetes clusters for tests: an existing one, kind, a local one built here, and an API server without nodes."""
