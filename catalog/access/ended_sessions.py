"""Sessions of the web pages that were ended before they expire: kept until then, for all processes of an installation."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from catalog.access.bearer_tokens import PageSession
from catalog.settings import Settings
from catalog.state.documents import open_document
from catalog.state.shared_state import SharedState
from oci.errors import CatalogUnusable

MOST_OF_ONE = 100
"""Ended sessions of one account that are kept apart. Beyond, all that began before are ended."""


class EndedSessions(BaseModel):
    """By account: the ids of ended sessions, each with when it would have expired; and the moment before which all are ended."""

    model_config = ConfigDict(frozen=True)

    ids: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    before: Mapping[str, float] = Field(default_factory=dict)

    def has(self, session: PageSession) -> bool:
        """Return whether a session was ended."""
        account = session.caller.account
        return session.id in self.ids.get(account, {}) or session.began <= self.before.get(account, 0)

    def with_one(self, session: PageSession, now: datetime, *, longest: float) -> "EndedSessions":
        """Return these and one more, without those that have expired; no session lasts longer than `longest` seconds."""
        moment, account = now.timestamp(), session.caller.account
        ids = {
            name: kept
            for name, some in self.ids.items()
            if (kept := {one: ends for one, ends in some.items() if ends > moment})
        }
        before = {name: at for name, at in self.before.items() if at + longest > moment}
        own = {**ids.get(account, {}), session.id: session.bearer.expires}
        if len(own) > MOST_OF_ONE:
            before[account] = moment
            own = {}
        return EndedSessions(ids={**ids, account: own}, before=before)


def ended_sessions_file(settings: Settings) -> Path:
    """Return the file of ended sessions, where state is in files."""
    return settings.root / "ended-sessions.json"


class SessionEnds:
    """One process's sight of the ended sessions; usable from any thread. `state` is that of the open catalogue."""

    def __init__(self, settings: Settings, state: SharedState | None) -> None:
        self._longest = settings.session_lifetime
        self._document = open_document(
            settings, state, "ended-sessions", ended_sessions_file(settings), EndedSessions()
        )

    def prepare(self) -> None:
        """Read them for the first time, which may wait for a database: on a thread, before an event loop asks `has`."""
        with suppress(CatalogUnusable):  # the first who asks is told
            _ = self._document.value

    def has(self, session: PageSession) -> bool:
        """Return whether a session was ended; no I/O that waits, once it is prepared. Raises CatalogUnusable."""
        return self._document.value.has(session)

    def end(self, session: PageSession, now: datetime) -> None:
        """End a session in all processes; durable on return."""
        self._document.update(lambda ended: ended.with_one(session, now, longest=self._longest))
