"""Administration of hooks and subscriptions; every change is an audit event."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from catalog.access.logins import hash_secret
from catalog.audit import Event, Events
from catalog.state.documents import StateDocument
from catalog.webhooks.queue import Cursor, EventQueue
from catalog.webhooks.records import EventRecords, Hook, Subscription, read_record, without_query
from oci.errors import Conflict, InvalidInput, RecordUnknown

_T = TypeVar("_T")


class MadeHook(NamedTuple):
    """A new hook and its secret, which is shown once."""

    hook: Hook
    secret: str


class WebhookAdministration:
    """Changes hooks and subscriptions in the name of `actor`; every change is an audit event."""

    def __init__(
        self,
        records: StateDocument[EventRecords],
        queue: EventQueue,
        events: Events,
        *,
        actor: str,
        now: Callable[[], datetime],
        address: str = "",
    ) -> None:
        self._document, self._queue, self._events = records, queue, events
        self._actor, self._now, self._address = actor, now, address

    @property
    def records(self) -> EventRecords:
        """Return all hooks and subscriptions."""
        return self._document.value

    def hook(self, name: str) -> Hook:
        """Return one hook; raise RecordUnknown."""
        return _found(self.records.hooks, name, "hook")

    def subscription(self, key: str) -> Subscription:
        """Return one subscription; raise RecordUnknown."""
        return _found(self.records.subscriptions, key, "subscription")

    def _apply(self, action: str, name: str, change: Callable[[EventRecords], EventRecords], **detail: object) -> None:
        self._document.update(change)
        self._events.record([Event(self._now(), self._actor, action, name, address=self._address, detail=detail)])

    def backlog(self, name: str) -> tuple[int, int]:
        """Return how many events and runs of a hook wait for Prefect."""
        return self._queue.backlog(name)

    def cursor(self, key: str) -> Cursor | None:
        """Return how far deliveries to a subscriber have come."""
        return self._queue.cursor(key)

    def add_hook(self, *, secret: str = "", **fields: Any) -> MadeHook:
        """Make a hook with a secret, by default a new one; raise InvalidInput, Conflict for a name that is taken."""
        secret = secret or f"enthook_{secrets.token_urlsafe(32)}"
        kept = kept_secret(secret, fields.get("proof", ""))
        made = read_record(Hook, {**fields, "secret": kept, "created_at": self._now()})

        def change(records: EventRecords) -> EventRecords:
            if made.name in records.hooks:
                raise Conflict(f"there is a hook {made.name} already")
            return records.model_copy(update={"hooks": {**records.hooks, made.name: made}})

        self._apply("create-hook", made.name, change, upstream=made.upstream, deployment=made.deployment)
        return MadeHook(made, secret)

    def change_hook(self, name: str, *, secret: str = "", **fields: Any) -> Hook:
        """Change a hook; it keeps its secret unless another is given. Raise InvalidInput, RecordUnknown.

        A secret that is kept as a hash cannot sign, so that another proof may need it anew.
        """

        def renew(old: Hook) -> Hook:
            proof = fields.get("proof", old.proof)
            if not secret and (proof == "hmac") != (old.proof == "hmac"):
                raise InvalidInput(
                    f"the hook {name} cannot prove by {proof} with the secret that is kept; give its secret"
                )
            kept = kept_secret(secret, proof) if secret else old.secret
            return read_record(Hook, {**old.model_dump(), **fields, "secret": kept})

        def change(records: EventRecords) -> EventRecords:
            made = renew(_found(records.hooks, name, "hook"))
            return records.model_copy(update={"hooks": {**records.hooks, name: made}})

        self._apply("change-hook", name, change, changed=sorted([*fields, *(["secret"] if secret else [])]))
        return self.hook(name)

    def remove_hook(self, name: str) -> None:
        """Remove a hook, with what it has waiting; raise RecordUnknown."""

        def change(records: EventRecords) -> EventRecords:
            _found(records.hooks, name, "hook")
            return records.model_copy(update={"hooks": _without(records.hooks, name)})

        self._apply("delete-hook", name, change)
        self._queue.forget_hook(name)

    def add_subscription(self, *, position: int, key: str = "", **fields: Any) -> Subscription:
        """Subscribe a URL to what is committed after `position`, by default under a random id.

        Raises InvalidInput, Conflict for an id that is taken.
        """
        key = key or secrets.token_hex(6)
        made = read_record(Subscription, {**fields, "id": key, "created_at": self._now()})
        if key in self.records.subscriptions:
            raise Conflict(f"there is a subscription {key} already")
        self._queue.begin(made.id, position, made.created_at)

        def change(records: EventRecords) -> EventRecords:
            if key in records.subscriptions:
                raise Conflict(f"there is a subscription {key} already")
            return records.model_copy(update={"subscriptions": {**records.subscriptions, made.id: made}})

        self._apply("create-subscription", made.id, change, url=without_query(made.url), events=list(made.events))
        return made

    def change_subscription(self, key: str, **fields: Any) -> Subscription:
        """Change a subscription; what it has been sent stays sent. Raise InvalidInput, RecordUnknown."""

        def change(records: EventRecords) -> EventRecords:
            old = _found(records.subscriptions, key, "subscription")
            made = read_record(Subscription, {**old.model_dump(), **fields})
            return records.model_copy(update={"subscriptions": {**records.subscriptions, key: made}})

        self._apply("change-subscription", key, change, changed=sorted(fields))
        return self.subscription(key)

    def remove_subscription(self, key: str) -> None:
        """Remove a subscription; raise RecordUnknown."""

        def change(records: EventRecords) -> EventRecords:
            _found(records.subscriptions, key, "subscription")
            return records.model_copy(update={"subscriptions": _without(records.subscriptions, key)})

        self._apply("delete-subscription", key, change)
        self._queue.end(key)


def kept_secret(secret: str, proof: str) -> str:
    """Return what is kept of a hook's secret: itself where it signs, else its hash."""
    return secret if proof == "hmac" else hash_secret(secret)


def _found(records: Mapping[str, _T], key: str, what: str) -> _T:
    if key not in records:
        raise RecordUnknown(f"there is no {what} {key[:80]}")
    return records[key]


def _without(found: Mapping[str, _T], name: str) -> dict[str, _T]:
    return {key: value for key, value in found.items() if key != name}
