"""`entrepot distribution`: the paths that clients pull from and push to."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.catalog import opened
from cli.content import cache_rules
from cli.forms.command import FormCommand, from_form
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table, row_json, say, time_text

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.distributions.records import Distribution
    from cli.content.cache_form import CacheForm

group = new_group("Manage the paths that serve repositories or caches.")
ACTOR = "command line"
DistributionPath = Annotated[
    str, typer.Argument(metavar="PATH", help="Path as clients write it after the registry's host.")
]
Version = Annotated[int | None, typer.Option("--version", metavar="N", help="Serve this version and no other.", min=0)]
Private = Annotated[bool | None, typer.Option("--private/--public", help="Require a login for pulls, or allow all.")]
Remote = Annotated[
    str,
    typer.Option(metavar="REGISTRY", help="Make the path a pull-through cache of this registry: `registry.example`."),
]
FRESH_SECONDS = 300
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Set this label. Repeatable; replaces all labels."),
]
Immutable = Annotated[
    list[str] | None,
    typer.Option(
        "--immutable", metavar="GLOB", help="Tags that clients neither move nor delete; may be repeated; '' for none."
    ),
]
HistoryFrom = Annotated[
    int | None,
    typer.Option(
        "--history-from", metavar="N", help="First version that everybody may pull from a public path's past.", min=1
    ),
]
Description = Annotated[str | None, typer.Option(help="A remark for people.")]


def cache_form() -> "type[CacheForm]":
    """Return the form of what a cache takes and keeps."""
    from cli.content.cache_form import CacheForm

    return CacheForm


@group.command("list")
def list_distributions(*, home: Home = None, as_json: Json = False) -> None:
    """List all distributions by path.

    Example: entrepot distribution list
    """
    with opened(home) as catalog:
        found = catalog.distributions.all()
    if as_json:
        print_json([row_json(one) for one in found])
        return
    print_table(
        ("PATH", "SERVES", "VERSION", "ACCESS", "UPDATED"),
        [
            (one.path, _served_text(one), _version_text(one), _access_text(one), time_text(one.updated_at))
            for one in found
        ],
    )


@group.command("show")
def show_distribution(path: DistributionPath, *, home: Home = None, as_json: Json = False) -> None:
    """Show one distribution.

    Example: entrepot distribution show team/app
    """
    with opened(home) as catalog:
        found = catalog.distributions.get(path)
        login = login_of_cache(catalog, found.remote) if found.remote and not as_json else ""
    if as_json:
        print_json(row_json(found))
        return
    if login and not found.private:
        login += ", and everybody may pull what it may" + (
            "" if found.shares_login else "; --public or --private says if so"
        )
    print_fields(
        {
            "path": found.path,
            "serves": _served_text(found),
            "version": _version_text(found),
            "access": _access_text(found),
            **_history_fields(found),
            **({"login": login} if login else {}),
            **(cache_rules.rule_fields(found.cache) if found.remote else {}),
            "description": found.description,
            "labels": " ".join(f"{key}={value}" for key, value in found.labels.items()),
            "immutable tags": " ".join(found.immutable_tags),
            "created": time_text(found.created_at),
            "updated": time_text(found.updated_at),
        }
    )


@group.command("create", cls=FormCommand)
@from_form(cache_form)
def create_distribution(
    _context: typer.Context,
    said: "CacheForm",
    path: DistributionPath,
    repository: Annotated[str, typer.Argument(metavar="[REPOSITORY]", help="The repository to serve there.")] = "",
    *,
    remote: Remote = "",
    version: Version = None,
    private: Private = None,
    description: Description = None,
    labels: Labels = None,
    immutable: Immutable = None,
    history_from: HistoryFrom = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Serve a repository at a path, or make the path a cache.

    The path serves the latest version or the one of --version. With --remote it is a cache of another registry, below which
    its repositories are pulled through.

    Example: entrepot distribution create stable/app team/app --version 2
    """
    from catalog.distributions.cache_rules import CacheRules
    from catalog.distributions.records import Distribution
    from oci.errors import Conflict, InvalidInput
    from oci.reference import parse_name
    from oci.remote.address import parse_remote

    if bool(repository) == bool(remote):
        raise InvalidInput("name either the repository to serve, or with --remote the registry to cache")
    if remote:
        parse_remote(f"{remote}/name")
        if version is not None:
            raise InvalidInput("a cache has no version; --version goes with a repository")
    if not remote and said != type(said)():
        raise InvalidInput(f"{cache_rules.OPTIONS} go with --remote")
    now = datetime.now(UTC)
    with opened(home, may_be_new=bool(remote)) as catalog:
        login = login_of_cache(catalog, remote) if remote and private is None else ""
        made = Distribution(
            parse_name(path),
            repository,
            now,
            now,
            version,
            bool(private) or bool(login),
            description or "",
            remote,
            said.fresh_seconds(FRESH_SECONDS) if remote else 0,
            labels=_read_labels(labels),
            immutable_tags=tuple(filter(None, immutable or ())),
            cache=replace(CacheRules(), **said.rules()).check(),
            shares_login=bool(remote) and private is False,
        )
        catalog.snapshots.refresh()
        if catalog.distributions.find(path) is not None:
            raise Conflict(f"{path} is a distribution already; `entrepot distribution set` changes it")
        if remote:
            check_cache_path(path, [one.path for one in catalog.distributions.all()])
        made = write_distribution(catalog, made, history_from)
    _tell(made, "created", as_json=as_json)
    if login:
        say(
            f"{path} is private, since it uses {login}, which may see what not everybody may; --public serves it to everybody"
        )


@group.command("set", cls=FormCommand)
@from_form(cache_form)
def set_distribution(
    _context: typer.Context,
    said: "CacheForm",
    path: DistributionPath,
    *,
    repository: Annotated[str | None, typer.Option(metavar="NAME", help="Serve another repository.")] = None,
    version: Version = None,
    latest: Annotated[bool, typer.Option("--latest", help="Serve the latest version again.")] = False,
    private: Private = None,
    description: Description = None,
    labels: Labels = None,
    immutable: Immutable = None,
    history_from: HistoryFrom = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change what a path serves, from the next request on.

    Example: entrepot distribution set stable/app --version 3
    """
    from oci.errors import InvalidInput

    if latest and version is not None:
        raise InvalidInput("--version and --latest cannot both be true")
    with opened(home) as catalog:
        found = catalog.distributions.get(path)
        if found.remote and (repository or latest or version is not None):
            raise InvalidInput(f"{path} is a cache of {found.remote}; it serves no repository and has no version")
        if not found.remote and said != type(said)():
            raise InvalidInput(f"{path} is no cache; {cache_rules.OPTIONS} are for caches")
        made = replace(
            found,
            repository=repository or found.repository,
            version=None if latest else version if version is not None else found.version,
            private=found.private if private is None else private,
            shares_login=found.shares_login if private is None else bool(found.remote) and not private,
            description=found.description if description is None else description,
            fresh_seconds=said.fresh_seconds(found.fresh_seconds),
            labels=found.labels if labels is None else _read_labels(labels),
            immutable_tags=found.immutable_tags if immutable is None else tuple(filter(None, immutable)),
            cache=replace(found.cache, **said.rules()).check(),
            updated_at=datetime.now(UTC),
        )
        made = write_distribution(catalog, made, history_from)
    _tell(made, "changed", as_json=as_json)


@group.command("delete")
def delete_distribution(path: DistributionPath, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a distribution; its repository stays.

    Example: entrepot distribution delete stable/app
    """
    with opened(home) as catalog:
        found = catalog.distributions.get(path)
        drop_distribution(catalog, path)
    _tell(found, "deleted", as_json=as_json)


def check_cache_path(path: str, others: Iterable[str]) -> None:
    """Raise Conflict where another path lies below that of a cache."""
    from oci.errors import Conflict

    for other in others:
        if other.startswith(f"{path}/"):
            raise Conflict(f"{other} lies below {path}; a cache needs a path for itself")


def write_distribution(catalog: "Catalog", made: "Distribution", history_from: int | None) -> "Distribution":
    """Write it with its audit event; raise NameUnknown or VersionUnknown for what could not be served."""
    old = catalog.distributions.find(made.path)
    is_other = old is None or (old.repository, old.version) != (made.repository, made.version)
    if not made.remote and is_other:
        catalog.snapshots.get(made.repository, made.version)
    written = catalog.distributions.put(made, actor=ACTOR, history_from=history_from)
    _record(catalog, "set-distribution", made.path)
    return written


def drop_distribution(catalog: "Catalog", path: str) -> None:
    """Delete it with its audit event; raise DistributionUnknown."""
    catalog.distributions.delete(path, actor=ACTOR)
    _record(catalog, "delete-distribution", path)


def _record(catalog: "Catalog", action: str, path: str) -> None:
    from catalog.audit import Event

    catalog.events.record([Event(datetime.now(UTC), ACTOR, action, path)])


def _read_labels(texts: list[str] | None) -> dict[str, str]:
    from oci.errors import InvalidInput

    pairs = dict(text.partition("=")[::2] for text in texts or ())
    if not all(pairs):
        raise InvalidInput("a label is KEY=VALUE")
    return pairs


def _tell(made: "Distribution", what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(row_json(made))
    else:
        print_line(f"{what}: {made.path} serves {_served_text(made)}, {_version_text(made)}, {_access_text(made)}")


def _history_fields(found: "Distribution") -> dict[str, str]:
    """From which version on everybody may pull the past; nothing where nobody may, or only what is served."""
    if found.private or found.remote or found.version is not None:
        return {}
    return {"history": f"open from version {found.history_from} on"}


def login_of_cache(catalog: "Catalog", remote: str) -> str:
    """Return the login that the cache of a registry would use, as words; empty for none."""
    from catalog.remotes.cache_logins import login_of
    from catalog.remotes.clients import make_keychain

    return login_of(remote, make_keychain(catalog.settings), catalog.remotes)


def _served_text(found: "Distribution") -> str:
    return f"cache of {found.remote}" if found.remote else found.repository


def _version_text(found: "Distribution") -> str:
    from catalog.units import format_duration

    if found.remote:
        return f"fresh for {format_duration(timedelta(seconds=found.fresh_seconds))}"
    return "latest" if found.version is None else f"version {found.version}"


def _access_text(found: "Distribution") -> str:
    return "private" if found.private else "public"
