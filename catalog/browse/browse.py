"""What people look through, by noun: the catalogue hands this out."""

from catalog.browse.recency import Recency
from catalog.lake.connection import Lake


class Browse:
    """Reads what pages show; usable from any thread, and each method is one query."""

    def __init__(self, lake: Lake) -> None:
        self.recency = Recency(lake)
