"""The ledger: which things an apply has created, so that pruning removes these and nothing else."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from catalog.desired_state.plan import Address, PresentItem
from catalog.settings import Settings
from catalog.state.documents import StateDocument, open_document
from catalog.state.shared_state import SharedState

LEDGER = "applied-config"


class CreatedItem(BaseModel):
    """One thing that an apply created. `identity` is empty while that is under way: a killed apply leaves it so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    key: str
    identity: str = ""
    settled: bool = False
    made_at: datetime

    @property
    def address(self) -> Address:
        """Return kind and key."""
        return self.kind, self.key


class Ledger(BaseModel):
    """All things that applies have created and that are still there, as far as is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made: tuple[CreatedItem, ...] = Field(default=())

    def owned(self, present: Mapping[Address, PresentItem]) -> frozenset[Address]:
        """Return what is there and was created by an apply; another thing of the same key is somebody else's."""
        return frozenset(one.address for one in self.made if _is_same(one, present.get(one.address)))

    def settle(self, present: Mapping[Address, PresentItem], *, looked_at: Collection[str]) -> "Ledger":
        """Return the ledger without what is gone or another thing now; kinds that were not looked at stay as they are."""
        kept = []
        for one in self.made:
            found = present.get(one.address)
            if one.kind not in looked_at:
                kept.append(one)
            elif found is not None and _is_same(one, found):
                kept.append(one.model_copy(update={"identity": found.identity, "settled": True}))
        return Ledger(made=tuple(kept))

    def intend(self, addresses: Collection[Address], now: datetime) -> "Ledger":
        """Return the ledger with what is about to be created, in place of what it says of these."""
        named = set(addresses)
        others = tuple(one for one in self.made if one.address not in named)
        return Ledger(made=(*others, *(CreatedItem(kind=kind, key=key, made_at=now) for kind, key in addresses)))

    def without(self, addresses: Collection[Address]) -> "Ledger":
        """Return the ledger without what could not be created, or was removed."""
        gone = set(addresses)
        return Ledger(made=tuple(one for one in self.made if one.address not in gone))


def _is_same(one: CreatedItem, found: PresentItem | None) -> bool:
    return found is not None and (not one.settled or one.identity == found.identity)


def ledger_file(settings: Settings) -> Path:
    """Return the file of the ledger, where state is in files."""
    return settings.root / f"{LEDGER}.json"


def open_ledger(settings: Settings, state: SharedState | None) -> StateDocument[Ledger]:
    """Return the document of what applies have created."""
    return open_document(settings, state, LEDGER, ledger_file(settings), Ledger())
