"""What clients speak: the distribution protocol under /v2/, health, and (by FastAPI) all that need not be fast."""
