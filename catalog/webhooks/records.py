"""Hooks and subscriptions: events from upstreams, and who is notified; in a private document, since it holds secrets."""

import re
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from catalog.access.policy import Name
from catalog.filters.tags import TagPattern
from catalog.parsed_text import checked, describe_faults
from catalog.path_patterns import PathPattern, matches
from catalog.settings import Settings
from catalog.state.documents import StateDocument, open_document
from catalog.state.shared_state import SharedState
from catalog.unit_fields import Hours, Seconds
from oci.errors import InvalidInput
from oci.reference import parse_name
from oci.remote.address import parse_remote

Kind = Literal["auto", "docker-distribution", "docker-hub", "harbor", "quay", "github", "cloudevents"]
Proof = Literal["token", "hmac", "url"]
Format = Literal["cloudevents", "distribution"]
VERSION_CREATED, DISTRIBUTION_CHANGED, ACT_DONE, ACT_REFUSED = _OURS = (
    "version.created", "distribution.changed", "act.done", "act.refused",
)  # fmt: skip
UPSTREAM_EVENTS: Mapping[str, str] = {
    "watch-immutable-moved": "upstream.immutable.moved",
    "watch-tag-new": "upstream.tag.new",
    "watch-tag-moved": "upstream.tag.moved",
    "watch-tag-vanished": "upstream.tag.vanished",
    "watch-tag-returned": "upstream.tag.returned",
    "watch-signature-lost": "upstream.signature.lost",
    "watch-signer-changed": "upstream.signer.changed",
    "watch-more-changes": "upstream.more",
}
"""Action of a watch's audit event → type of event."""
EVENT_TYPES = (*_OURS, *UPSTREAM_EVENTS.values())
SYNC = "sync-repository/sync-repository"
RESERVED = frozenset({"remote", "repository"})
_Record = TypeVar("_Record", bound=BaseModel)
_PER_TAG = frozenset({"include", "newest", "newest_of"})


class _Value(BaseModel):
    # A value that does not fit may hold a secret typed in by mistake, so errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def parse_upstream(text: str) -> tuple[str, str]:
    """Split `[scheme://]registry.example[/prefix]` into registry, with its scheme if any, and prefix; raise NameInvalid."""
    scheme, separator, rest = text.partition("://")
    host, _, prefix = (rest if separator else text).partition("/")
    if "@" in host:
        raise InvalidInput("an upstream cannot hold a login; logins are read from auth.json or ENTREPOT_LOGINS")
    if host == host.lower() and host != "localhost" and not set(".:") & set(host):
        raise InvalidInput(
            f"{host[:80]!r} names no registry: expected a full host name, such as registry.example or docker.io"
        )
    registry = f"{scheme}://{host}" if separator else host
    parse_remote(f"{registry}/{prefix or 'name'}")
    return registry, prefix


def parse_deployment(text: str) -> str:
    """Read `FLOW/DEPLOYMENT`; raise InvalidInput."""
    if not re.fullmatch(r"[^/\s?#%\x00-\x1f]{1,200}/[^/\s?#%\x00-\x1f]{1,200}", text):
        raise InvalidInput(f"invalid deployment {text[:80]!r}: expected FLOW/DEPLOYMENT, such as {SYNC}")
    return text


def parse_url(text: str) -> str:
    """Read the address of a receiver: http or https, without a login; raise InvalidInput."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or len(text) > 2000:
        raise InvalidInput("the URL must be http://HOST… or https://HOST…, without a login in it")
    return text


class Hook(_Value):
    """Lets an upstream start a deployment by events: those of `upstream` whose repository and tag fit.

    `secret` is a SHA-256 in hex, or for `hmac` the key itself. `request` are further fields of the deployment's request.
    A run takes the tags pushed alone, or with `whole` the repository as `request` selects it.
    """

    name: Name
    kind: Kind = "auto"
    upstream: Annotated[str, AfterValidator(checked(parse_upstream))]
    target: Annotated[str, AfterValidator(checked(lambda text: text and parse_name(text)))] = ""
    deployment: Annotated[str, AfterValidator(checked(parse_deployment))] = SYNC
    request: Mapping[str, Any] = Field(default_factory=dict, max_length=50)
    repositories: tuple[PathPattern, ...] = Field((), max_length=100)
    tags: tuple[TagPattern, ...] = Field((), max_length=100)
    whole: bool = False
    quiet_seconds: Seconds = Field(3.0, ge=0, le=3600)
    proof: Proof = "token"
    secret: str = Field(default="", repr=False)
    created_at: datetime

    @model_validator(mode="after")
    def _check_request(self) -> "Hook":
        taken = sorted(RESERVED & self.request.keys())
        if taken:
            raise ValueError(f"request: {', '.join(taken)} come from the event; see --target")
        if not self.whole and self.request.get("mode") == "mirror":
            raise ValueError("request: a mirror of the tags pushed alone would remove all others; it needs whole")
        narrowed = sorted(_PER_TAG & self.request.keys())
        if not self.whole and narrowed:
            raise ValueError(f"request: {', '.join(narrowed)} need whole; to take some tags alone, name them by tags")
        return self


class Subscription(_Value):
    """A URL that is notified: of what, and how long delivery is tried. The signing secret is named, not stored."""

    id: str
    url: Annotated[str, AfterValidator(checked(parse_url))]
    events: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (VERSION_CREATED, DISTRIBUTION_CHANGED), min_length=1, max_length=20
    )
    repositories: tuple[PathPattern, ...] = Field(("**",), min_length=1, max_length=100)
    format: Format = "cloudevents"
    secret_file: str = ""
    secret_env: str = Field("", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    give_up_hours: Hours = Field(72.0, gt=0, le=8760)
    internal: bool = True
    """Whether the URL may lead to an address of an internal network: it was named on this machine itself."""
    created_at: datetime

    @model_validator(mode="after")
    def _check(self) -> "Subscription":
        for pattern in self.events:
            if not any(fnmatchcase(one, pattern) for one in EVENT_TYPES):
                raise ValueError(f"events: nothing is called {pattern}; there are {', '.join(EVENT_TYPES)}")
        if self.secret_file and self.secret_env:
            raise ValueError("name the secret by a file or by a variable, not by both")
        if self.format == "distribution" and not self.selects(VERSION_CREATED):
            raise ValueError(f"invalid events: the format distribution supports {VERSION_CREATED} only")
        return self

    def selects(self, kind: str) -> bool:
        """Return whether events of a type are selected."""
        return any(fnmatchcase(kind, pattern) for pattern in self.events)

    def covers(self, name: str) -> bool:
        """Return whether a repository or path is selected."""
        return any(matches(pattern, name) for pattern in self.repositories)


class EventRecords(_Value):
    """All hooks by name, all subscriptions by id."""

    hooks: Mapping[str, Hook] = Field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = Field(default_factory=dict)


def open_event_records(settings: Settings, state: SharedState | None = None) -> StateDocument[EventRecords]:
    """Return the document of all records; keys of `hmac` hooks in it are readable by the owner alone."""
    return open_document(settings, state, "event-records", settings.root / "event-records.json", EventRecords())


def without_query(url: str) -> str:
    """Return a URL for logs and events: its query, which may hold a secret, is left out."""
    return url.partition("?")[0]


def describe_hook(hook: Hook) -> dict[str, Any]:
    """Return a hook as JSON, without its secret."""
    return hook.model_dump(exclude={"secret"})


def read_record(kind: type[_Record], fields: Mapping[str, Any]) -> _Record:
    """Make a hook or subscription; raise InvalidInput without the values."""
    try:
        return kind(**fields)
    except ValueError as error:  # pydantic's is one
        raise InvalidInput(describe_faults(error)) from None
