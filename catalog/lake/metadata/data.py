"""Where the rows of a lake in PostgreSQL lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LakeData:
    """The place of the Parquet files: a folder with `/` at its end, or `s3://BUCKET/PREFIX/`, and DuckDB's secret for S3."""

    place: str
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    renew: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False, compare=False)
    """Returns the secret as of now, where it may expire; it asks a server only where that is due."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Return what DuckDB needs to read them."""
        return ("httpfs",) if self.place.startswith("s3://") else ()
