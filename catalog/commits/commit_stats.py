"""How commits went in this process: how many versions a group made, how long it was written, how long its members waited."""

from dataclasses import dataclass


@dataclass(slots=True)
class CommitStats:
    """Sums since the process started; `seconds` of writing, `waited` of all who committed."""

    versions: int = 0
    seconds: float = 0.0
    waited: float = 0.0
