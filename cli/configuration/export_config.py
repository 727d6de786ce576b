"""`entrepot export-config`: the current state as a file for `entrepot apply`."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.catalog import settings_of
from cli.options import Home, Json
from cli.output import print_json, print_line, say
from oci.errors import CatalogUnusable, LocalError

if TYPE_CHECKING:
    from catalog.desired_state.present import PresentEntry
    from cli.configuration.apply_context import ApplyContext, CurrentState

_EXACT = ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)


def export_config(
    typer_context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write this file. Default: standard output.")
    ] = None,
    *,
    deployments: Annotated[
        bool, typer.Option("--deployments/--no-deployments", help="Export the deployments in Prefect too.")
    ] = True,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the current state as a file for `entrepot apply`.

    The file has references in place of secrets; `entrepot apply` reads them. Notes on standard error name what the file cannot
    hold.

    Example: entrepot export-config --output entrepot.yaml
    """
    from cli.configuration.apply_context import open_apply_context

    settings = settings_of(home)
    if not settings.has_catalog:  # opening would make it
        raise CatalogUnusable(f"there is no catalogue in {settings.root}; give another folder by --home")
    with open_apply_context(home, needs_prefect=lambda _ledger: deployments, debug=bool(typer_context.obj)) as context:
        value = write_configuration(context.look())
        notes = [*_unsaid(context.look(), value), *_untold_schedules(context)]
    if as_json:
        print_json(value)
    elif output is None:
        print_line(to_yaml(value).rstrip())
    else:
        try:
            with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(to_yaml(value))  # a subscription's URL may be a secret
        except OSError as error:
            raise LocalError(f"{output} cannot be written: {error.strerror}") from None
        say(f"written: {output}")
    for note in notes:
        say(f"note: {note}")


def to_yaml(value: Mapping[str, Any]) -> str:
    """Return a configuration as YAML, its sections in the order of the model."""
    import yaml  # type: ignore[import-untyped]  # it carries no types

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # it carries no types
        pass

    def represent(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, represent)  # keys in PEM are read by people
    text: str = yaml.dump(dict(value), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Desired state for `entrepot apply`; docs/configuration.md explains it.\n{text}"


def write_configuration(seen: "CurrentState") -> dict[str, Any]:
    """Return the configuration that an apply finds unchanged; what is by default is left out."""
    value: dict[str, Any] = {"version": 1}
    for one in seen.state.entries():
        if (written := _written(one, seen)) is None:
            continue
        if one.kind == "repositories":
            value.setdefault("repositories", []).append(one.key)
        elif one.kind == "gates":
            pattern = one.key.removesuffix(f" {written['policy']}")
            value.setdefault("gates", {}).setdefault(pattern, []).append(written)
        else:
            value.setdefault(one.kind, {})[one.key] = written
    for deployment in seen.deployments:
        if deployment.name not in value.get("deployments", {}):
            entry = deployment.entry.model_dump(mode="json", exclude_defaults=True, warnings=False)
            fields = {"flow": deployment.flow, **entry, "request": deployment.entry.request}
            value.setdefault("deployments", {})[deployment.name] = fields
    return _ordered(value)


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    from catalog.desired_state.plan import KINDS

    return {name: value[name] for name in ("version", *KINDS) if name in value}


def _written(one: "PresentEntry", seen: "CurrentState") -> Any:
    """Return an entry as the file has it; None for what replication made, which makes it wherever it runs."""
    fields = one.entry.model_dump(mode="json", exclude_defaults=True, warnings=False)
    if one.kind in {"distributions", "caches"}:
        found = next(item for item in seen.state.distributions if item.path == one.key)
        if found.replica_of:
            return None
        fields.pop("history_from", None)
        if fields.get("repository") == one.key:
            del fields["repository"]
    if one.kind == "groups":
        return fields.get("members", [])
    if one.kind == "users" and not fields.get("robot") and one.key != _ADMINISTRATOR:
        fields = {"password": f"env:{secret_variable('PASSWORD', one.key)}", **fields}
    if one.kind == "hooks":
        fields["secret"] = f"env:{secret_variable('HOOK_SECRET', one.key)}"
    if one.kind in {"quotas", "caches", "remotes"}:
        fields = {name: _size(part) if name in _SIZES else part for name, part in fields.items()}
    return fields


_ADMINISTRATOR = "admin"
_SIZES = frozenset({"bytes", "warn_bytes", "max_size", "bandwidth"})


def secret_variable(kind: str, key: str) -> str:
    """Return the variable that an export names for a secret: `ALICE_PASSWORD` of the account `alice`."""
    plain = "".join(letter.upper() if letter.isalnum() else "_" for letter in key)
    return f"{plain}_{kind}" if plain[0].isalpha() else f"_{plain}_{kind}"


def _size(count: Any) -> Any:
    """Return a number of bytes with the largest unit that fits without a rest."""
    if isinstance(count, int):
        for unit, factor in _EXACT:
            if count and count % factor == 0:
                return f"{count // factor}{unit}"
    return count


def _unsaid(seen: "CurrentState", value: Mapping[str, Any]) -> Iterator[str]:
    replicas = sum(bool(one.replica_of) for one in seen.state.distributions)
    if replicas:
        yield f"{replicas} paths of a replication are left out: a deployment of replicate-registry creates them"
    robots = sorted(name for name, one in seen.state.policy.accounts.items() if one.robot)
    if robots:
        yield f"tokens are left out: create those of {', '.join(robots[:10])} by `entrepot token add`"
    for name, one in value.get("subscriptions", {}).items():
        if "?" in one["url"]:
            yield f"the URL of subscription {name} has a query that may hold a secret: keep the file secret"
    for name, one in value.get("distributions", {}).items():
        if "version" in one:
            yield f"the path {name} serves version {one['version']}, which another installation may not have"
    for deployment in seen.deployments:
        kept = value.get("deployments", {}).get(deployment.name, {})
        if kept.get("flow") != deployment.flow:
            yield f"the deployment {deployment.flow}/{deployment.name} is left out: the file has another deployment of this name"
        elif deployment.note:
            yield f"the deployment {deployment.flow}/{deployment.name} is written without {deployment.note}"


def _untold_schedules(context: "ApplyContext") -> Iterator[str]:
    if context.prefect is not None:
        for name in context.prefect.deployments.unlisted_schedules():
            yield f"the schedules of the built-in deployment {name} are left out: write them as a deployment of another name"
