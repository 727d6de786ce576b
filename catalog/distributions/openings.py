"""What the note of a commit says of paths that serve a new repository, so that others need not read the table."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from catalog.distributions.records import Distribution

Opening = tuple[str, bool, int]
"""When a path of the repository's own name was made, whether it is private, and the first version that it shows of the past."""


def note_openings(made: Iterable[Distribution]) -> dict[str, Opening]:
    """Return by path what a note says of distributions that serve the latest version of the repository of that name."""
    return {one.path: (one.created_at.isoformat(), one.private, one.history_from) for one in made}


def read_openings(noted: Mapping[str, Opening]) -> list[Distribution]:
    """Return the distributions of a note."""
    return [_read(path, opening) for path, opening in noted.items()]


def _read(path: str, opening: Opening) -> Distribution:
    text, private, history_from = opening
    made_at = datetime.fromisoformat(text)
    return Distribution(path, path, made_at, made_at, private=private, history_from=history_from)
