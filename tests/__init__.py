"""Tests of all rooms; `servers.py` and `conftest.py` hold what they share."""
