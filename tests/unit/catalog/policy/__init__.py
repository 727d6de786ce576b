"""Trust policies."""
