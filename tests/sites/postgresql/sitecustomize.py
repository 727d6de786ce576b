"""Loaded by every Python process of a run with `--on-postgresql`: see tests/on_postgresql.py."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))

from tests.on_postgresql import install

install()
