"""One line of a plan: a tag, what happens to it, and why."""

from dataclasses import dataclass
from typing import Literal

from oci.digest import Digest

Action = Literal["added", "moved", "completed", "unchanged", "removed", "failed", "refused"]

COPIED: tuple[Action, ...] = ("added", "moved", "completed")
"""Actions that need something copied; `completed` is a manifest of which more is wanted than was held."""


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One tag (or a digest, where the remote names one): what happens to it and why.

    `digest` is where it points afterwards, `previous` where it points now; `size` is in bytes: what is to be copied, or
    was, as far as that is known. `refused`: a trust policy does not let the new content in, so that the tag stays as it is.
    """

    tag: str
    action: Action
    digest: Digest | None = None
    previous: Digest | None = None
    size: int = 0
    reason: str = ""
