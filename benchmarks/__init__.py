"""Measured against Debian's docker-registry and skopeo, side by side in one run: `make bench`."""
