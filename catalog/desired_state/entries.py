"""Entries of a configuration file that concern the catalogue: one model for each kind of thing, each field as its command has it.

A field that an entry leaves out gets its default. A secret is a reference, `env:NAME` or `file:/PATH`, and never a value.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)

from catalog.access.policy import ACTIONS, Action, parse_account, parse_subject
from catalog.blobs.origins import Policy
from catalog.distributions.cache_rules import Bring
from catalog.filters.conditions import PairText
from catalog.filters.tags import Line, TagPattern
from catalog.lifecycle.rules import parse_lifecycle_scope
from catalog.parsed_text import checked
from catalog.path_patterns import PathGlob, PathPattern
from catalog.policy.document import TrustPolicy
from catalog.policy.gate_rules import POINTS, GateMode, GatePoint
from catalog.policy.store import PolicyName
from catalog.unit_fields import Age, Size
from catalog.units import format_duration, format_time, parse_duration, parse_time
from catalog.webhooks.records import SYNC, Format, Kind, Proof, parse_deployment, parse_upstream, parse_url
from oci.reference import parse_name

REFERENCE_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$"
_MOST = 2**53


class Entry(BaseModel):
    """One thing of the file. Errors repeat no value: it may be a secret that was typed in by mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _normal_duration(value: object) -> object:
    """Write a duration in one way, so that `60m` and `1h` are equal; what is none is left to the next validator."""
    if not isinstance(value, str):
        return value
    return checked(parse_duration)(value) and format_duration(parse_duration(value))


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Reference = Annotated[
    str,
    Field(
        pattern=REFERENCE_PATTERN, max_length=1000, description="Where a secret is read: `env:NAME` or `file:/PATH`."
    ),
]
Words = BeforeValidator(_as_list)
"""One text may stand in the place of a list of one."""
Span = Annotated[
    str,
    BeforeValidator(_normal_duration),
    WithJsonSchema({"type": "string", "format": "duration-with-units", "examples": ["5m", "30d"]}),
]
"""A duration, written in one way."""
Bytes = Annotated[
    Size,
    Field(ge=0, le=_MOST),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "size", "examples": ["500GB"]}]}
    ),
]
Path = Annotated[str, AfterValidator(checked(parse_name))]
Account = Annotated[str, AfterValidator(checked(parse_account))]
Subject = Annotated[str, AfterValidator(checked(parse_subject))]
Scope = Annotated[str, Field(max_length=1300), AfterValidator(checked(parse_lifecycle_scope))]
Text = Annotated[str, Field(max_length=1000)]
Labels = Annotated[dict[str, str], Field(max_length=100)]


class RemoteEntry(Entry):
    """Connection to one registry; the key is `registry[:port][/prefix]`. Logins come from the settings only."""

    description: Text = Field("", description="A remark for people.")
    policy: Policy | Literal[""] = Field("", description="Download policy of syncs that name none.")
    proxy: Text = Field("", description="Proxy: a URL, a reference where it has a password, or `none`.")
    ca_file: Text = Field("", description="Absolute path of a PEM file of further authorities.")
    client_cert: Text = Field("", description="Absolute path of our certificate.")
    client_key: Text = Field("", description="Absolute path of its key.")
    headers: dict[str, Reference] = Field(
        default_factory=dict, max_length=100, description="Headers to send; each value is a reference."
    )
    concurrency: int = Field(
        0, ge=0, le=10_000, description="Concurrent requests of one process; 0: as the settings say."
    )
    mirrors: Annotated[tuple[str, ...], Words] = Field(
        (), max_length=100, description="Mirrors to ask first, in order."
    )
    rate: str = Field("", max_length=40, description="Requests in a time, of all processes together: `100/6h`.")
    bandwidth: Bytes = Field(0, description="Bytes of blobs a second of one process; 0: no limit.")
    lookaside: Text = Field("", description="URL of its Atomic signatures.")


class DistributionEntry(Entry):
    """What a path serves."""

    repository: Annotated[str, AfterValidator(lambda text: text and checked(parse_name)(text))] = Field(
        "", description="The repository to serve. Default: the one of the path's name."
    )
    version: int | None = Field(None, ge=0, le=_MOST, description="Serve this version alone. Default: the latest.")
    private: bool = Field(default=False, description="Require a login for pulls.")
    description: str = ""
    labels: Labels = Field(default_factory=dict)
    immutable_tags: Annotated[tuple[str, ...], Words] = Field(
        (), max_length=100, description="Globs of tags that clients neither move nor delete."
    )
    history_from: int | None = Field(
        None, ge=1, le=_MOST, description="First earlier version that everybody may pull. Default: unchanged."
    )


class CacheEntry(Entry):
    """A pull-through cache of another registry, below its path."""

    remote: str = Field(min_length=1, max_length=500, description="The registry to cache: `registry.example[/prefix]`.")
    private: bool | None = Field(
        None, description="Require a login for pulls. Default: private where the cache uses a login upstream."
    )
    description: str = ""
    labels: Labels = Field(default_factory=dict)
    immutable_tags: Annotated[tuple[str, ...], Words] = Field((), max_length=100)
    freshness: Span = Field("5m", description="Serve a cached tag this long without asking upstream.")
    include: Annotated[tuple[PathPattern, ...], Words] = Field((), description="Upstream names to cache. Default: all.")
    exclude: Annotated[tuple[PathPattern, ...], Words] = Field((), description="Upstream names to exclude.")
    bring: Bring = Field("anyone", description="Who may fetch new content into the cache.")
    max_size: Bytes = Field(0, description="Evict the least recently pulled content above this size; 0: no limit.")
    keep_unused: Span = Field("0s", description="Evict content that was not pulled for this time; 0: never.")

    def seconds(self, field: str) -> float:
        """Return one of the durations in seconds."""
        return parse_duration(getattr(self, field)) / timedelta(seconds=1)


class UserEntry(Entry):
    """A user, or a robot, which logs in by tokens alone; `entrepot token add` makes these."""

    robot: bool = Field(default=False, description="Create a robot, which has tokens and no password.")
    password: Reference | None = Field(None, description="Where the password is read; a new user needs one.")
    certificate: Text = Field("", description="Subject of the client certificate that logs in as this account.")
    disabled: bool = Field(default=False, description="Refuse its logins.")

    @model_validator(mode="after")
    def _check_robot(self) -> "UserEntry":
        if self.robot and self.password is not None:
            raise ValueError("a robot has tokens and no password; remove `password`")
        return self


class RuleEntry(Entry):
    """A rule that allows actions on paths; its key is the rule's id."""

    subjects: Annotated[tuple[Subject, ...], Words] = Field(
        min_length=1, description="`user:NAME`, `robot:NAME`, `group:NAME`, `users` or `anyone`."
    )
    actions: Annotated[tuple[Action, ...], Words] = Field(min_length=1, description="Actions to allow.")
    paths: Annotated[tuple[PathGlob, ...], Words] = Field(min_length=1, description="Patterns of paths: `team/**`.")

    @model_validator(mode="before")
    @classmethod
    def _order(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("actions"), list | tuple):
            said = values["actions"]
            if all(action in ACTIONS for action in said):
                return {**values, "actions": [action for action in ACTIONS if action in said]}
        return values


class TrustEntry(Entry):
    """Identity tokens of a CI system that log in as an account."""

    issuer: str = Field(min_length=1, max_length=1000, description="URL of the OIDC issuer.")
    audience: str = Field(min_length=1, max_length=1000, description="Audience that tokens must have.")
    account: Account = Field(description="Account that a token logs in as.")
    claims: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, description="Claims that tokens must have; each value is a glob."
    )
    scopes: tuple[str, ...] = Field((), description="Limits of the login: `pull,push:team/**`.")


class QuotaEntry(Entry):
    """Limits for all repositories of a pattern together; the key is the pattern."""

    bytes: Bytes | None = Field(None, description="Hard limit of bytes.")
    tags: int | None = Field(None, ge=0, le=_MOST, description="Hard limit of tags.")
    warn_bytes: Bytes | None = Field(None, description="Soft limit of bytes: pushes are warned.")
    warn_tags: int | None = Field(None, ge=0, le=_MOST, description="Soft limit of tags: pushes are warned.")


class RetentionEntry(Entry):
    """What to keep in the repositories of a pattern."""

    pattern: PathPattern = Field(description="Repositories: `team/app`, `team/*` or `team/**`.")
    keep: Annotated[tuple[TagPattern, ...], Words] = Field((), description="Keep these tags.")
    newest: int | None = Field(None, ge=1, description="Keep the N highest versions.")
    newest_of: Line = Field("repository", description="Count the newest per repository, major or minor version.")
    set_within: Age = Field("", description="Keep tags that were set within this time.")
    pulled_within: Age = Field("", description="Keep tags that were pulled within this time.")
    labels: Annotated[tuple[PairText, ...], Words] = Field((), description="Always keep images with this label.")
    untagged_after: Age = Field("", description="Remove manifests without a tag after this time.")
    versions: int | None = Field(None, ge=1, description="Keep the newest N versions.")


class HookEntry(Entry):
    """A webhook of an upstream, which starts a deployment."""

    upstream: Annotated[str, AfterValidator(checked(parse_upstream))] = Field(
        description="Registry that sends the events: `registry.example[/prefix]`."
    )
    kind: Kind = Field("auto", description="Format of the upstream's events.")
    target: Annotated[str, AfterValidator(lambda text: text and checked(parse_name)(text))] = Field(
        "", description="Replace the upstream in names by this. Default: keep the upstream's names."
    )
    deployment: Annotated[str, AfterValidator(checked(parse_deployment))] = Field(
        SYNC, description="Deployment to start; its flow takes a sync's request."
    )
    request: dict[str, JsonValue] = Field(
        default_factory=dict, max_length=50, description="Further fields of the request."
    )
    repositories: Annotated[tuple[PathPattern, ...], Words] = Field(
        (), max_length=100, description="Upstream repositories to sync. Default: all."
    )
    tags: Annotated[tuple[TagPattern, ...], Words] = Field(
        (), max_length=100, description="Tags to sync. Default: all."
    )
    whole: bool = Field(default=False, description="Sync the whole repository, not only the pushed tags.")
    quiet: Span = Field("3s", description="Wait this long for further pushes to a repository.")
    proof: Proof = Field("token", description="How the upstream proves the secret: header, signature or URL.")
    secret: Reference | None = Field(None, description="Where the hook's secret is read; a new hook needs one.")


class SubscriptionEntry(Entry):
    """A URL that receives events of commits; the key is the subscription's id."""

    url: Annotated[str, AfterValidator(checked(parse_url))] = Field(description="Send events to this URL by POST.")
    events: Annotated[tuple[str, ...], Words] = Field(
        ("version.created", "distribution.changed"),
        min_length=1,
        max_length=20,
        description="Types of events, or globs.",
    )
    repositories: Annotated[tuple[PathPattern, ...], Words] = Field(
        ("**",), min_length=1, max_length=100, description="Send events of these repositories."
    )
    format: Format = Field(
        "cloudevents", description="CloudEvents, or the envelope of docker-registry's notifications."
    )
    secret: Reference | None = Field(None, description="Where the registry reads the secret that signs.")
    give_up: Span = Field("3d", description="Retry an event for this time.")
    internal: bool = Field(default=True, description="The URL may lead to an address of an internal network.")


class HoldEntry(Entry):
    """How long new content of a pattern of paths is held; the key is the pattern."""

    duration: Span = Field(description="Hold content until it has been known for so long.")
    trust_created: bool = Field(default=False, description="Let the date that an image states make it older.")


def _in_order(value: object) -> object:
    said = [value] if isinstance(value, str) else value
    if said in ([], ()):
        raise ValueError("expected at least one item")
    if isinstance(said, list | tuple) and all(point in POINTS for point in said):
        return [point for point in POINTS if point in said]
    return said


class PolicyGateEntry(Entry):
    """A trust policy that is asked about the paths of a pattern."""

    policy: PolicyName = Field(description="The policy to ask; one of `policies`, or one that is here.")
    at: Annotated[tuple[GatePoint, ...], BeforeValidator(_in_order)] = Field(
        ("pull",), description="When it is asked.", json_schema_extra={"minItems": 1}
    )
    mode: GateMode = Field("refuse", description="What a refusal means.")
    quarantine: bool = Field(default=True, description="Accept pushes; pulls wait for signatures.")


def _normal_date(value: object) -> object:
    """Write a time in one way: the date alone where it is midnight in UTC."""
    if not isinstance(value, str) or not value:
        return value
    return checked(parse_time)(value) and date_text(parse_time(value))


def date_text(when: datetime) -> str:
    """Return a time as an entry has it."""
    return format_time(when).removesuffix("T00:00:00Z")


class LifecycleEntry(Entry):
    """What clients are told of the end of content's life; the key is a pattern of paths, with tags behind a colon."""

    end_of_life: Annotated[str, BeforeValidator(_normal_date)] = Field(
        "", max_length=100, description="Date, or time with an offset.", examples=["2026-04-30"]
    )
    deprecated: bool = Field(default=False, description="Warn of every pull from now on.")
    successor: Annotated[str, Field(max_length=300)] = Field("", description="What to use instead.")
    message: Annotated[str, Field(max_length=300)] = Field("", description="What else clients are told.")
    warn_before: Span = Field("90d", description="Warn from so long before the end on.")
    published: bool = Field(default=False, description="Heed the dates that vendors publish with their images.")
    refuse: bool = Field(default=False, description="Refuse pulls after the end of life.")


class CatalogEntries(BaseModel):
    """The part of a configuration file that concerns the catalogue; every key names one thing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1] = Field(1, description="Version of this format.")
    remotes: dict[str, RemoteEntry] = Field(default_factory=dict, description="Connections to upstream registries.")
    repositories: tuple[Path, ...] = Field((), description="Repositories to create without content.")
    distributions: dict[Path, DistributionEntry] = Field(
        default_factory=dict, description="Paths that serve repositories."
    )
    caches: dict[Path, CacheEntry] = Field(default_factory=dict, description="Paths that cache other registries.")
    users: dict[Account, UserEntry] = Field(default_factory=dict, description="Users and robots.")
    groups: dict[Account, tuple[Account, ...]] = Field(
        default_factory=dict, description="Groups and all their members."
    )
    access: dict[Account, RuleEntry] = Field(default_factory=dict, description="Access rules.")
    trusts: dict[Account, TrustEntry] = Field(default_factory=dict, description="Trusted identity tokens.")
    quotas: dict[PathPattern, QuotaEntry] = Field(
        default_factory=dict, description="Quotas by pattern of repositories."
    )
    retention: dict[Account, RetentionEntry] = Field(default_factory=dict, description="Retention rules.")
    holds: dict[PathPattern, HoldEntry] = Field(default_factory=dict, description="Holds by pattern of paths.")
    policies: dict[PolicyName, TrustPolicy] = Field(default_factory=dict, description="Trust policies.")
    gates: dict[PathPattern, tuple[PolicyGateEntry, ...]] = Field(
        default_factory=dict, description="Gates by pattern of paths: the trust policies that are asked."
    )
    lifecycle: dict[Scope, LifecycleEntry] = Field(
        default_factory=dict, description="The end of content's life, by `NAME[:TAG]`."
    )
    hooks: dict[Account, HookEntry] = Field(default_factory=dict, description="Webhooks of upstreams.")
    subscriptions: dict[Account, SubscriptionEntry] = Field(default_factory=dict, description="Subscribers of events.")


class GroupEntry(Entry):
    """A group as the plan sees it: its members."""

    members: tuple[Account, ...] = ()


class RepositoryEntry(Entry):
    """A repository as the plan sees it: that it is there."""
