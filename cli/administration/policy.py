"""`entrepot policy`: trust policies, which state who must sign content and what must be attested about it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.administrator import ACTOR
from cli.catalog import opened, settings_of
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table, say, time_text
from cli.policy_output import explain_decision

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.policy.document import TrustPolicy
    from catalog.policy.formats.root_material import RootMaterial
    from catalog.policy.store import StoredPolicy
    from catalog.settings import Settings

group = new_group("Manage trust policies: who must sign content.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the policy: a-z, 0-9, '.', '_' and '-'.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File of the policy; `-` reads standard input.")]


@group.command("set")
def set_policy(name: NameArgument, file: FileArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Create or replace a policy from a file, YAML or JSON.

    Example: entrepot policy set release policy.yaml
    """
    from catalog.policy.document import parse_policy

    policy = parse_policy(_read(file), where=str(file))
    with opened(home, may_be_new=True) as catalog:
        _show(name, write_policy(catalog, name, policy), as_json=as_json)


@group.command("list")
def list_policies(*, home: Home = None, as_json: Json = False) -> None:
    """List all policies.

    Example: entrepot policy list
    """
    from catalog.policy.store import policy_facts

    with opened(home) as catalog:
        found = [policy_facts(name, one) for name, one in catalog.policies.all().items()]
    if as_json:
        print_json(found)
        return
    rows = [(one["name"], one["rules"], one["default"], one["set_by"], one["digest"]) for one in found]
    print_table(("NAME", "RULES", "DEFAULT", "SET BY", "DIGEST"), rows)


@group.command("show")
def show_policy(name: NameArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Show one policy.

    Example: entrepot policy show release
    """
    with opened(home) as catalog:
        _show(name, catalog.policies.get(name), as_json=as_json)


@group.command("remove")
def remove_policy(name: NameArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Remove a policy.

    Example: entrepot policy remove release
    """
    with opened(home) as catalog:
        drop_policy(catalog, name)
    if as_json:
        print_json({"removed": name})
    else:
        print_line(f"removed the policy {name}")


@group.command("export")
def export_policy(
    name: NameArgument,
    *,
    target: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="policy.json, kyverno, policy-controller or notation.")
    ],
    registry: Annotated[
        str, typer.Option("--registry", metavar="HOST", help="Host and port by which clients pull.")
    ] = "",
    home: Home = None,
) -> None:
    """Print a policy in the language of another program.

    What that language cannot express is an error, or a note on standard error.

    Example: entrepot policy export release --format policy.json
    """
    from catalog.policy.document import make_policy
    from catalog.policy.formats.exports import POLICY_FORMATS, export_trust_policy
    from oci.errors import InvalidInput

    if target not in POLICY_FORMATS:
        raise InvalidInput(f"invalid format {target!r}: expected {', '.join(POLICY_FORMATS)}")
    with opened(home) as catalog:
        policy, settings = catalog.policies.get(name).policy, catalog.settings
    if registry:
        policy = make_policy({**policy.model_dump(mode="json"), "registry": registry}, where=f"policy {name}")
    made = export_trust_policy(policy, name, target, roots=_roots(settings))  # type: ignore[arg-type]  # checked above
    for note in made.notes:
        say(f"note: {note}")
    print_line(made.text.rstrip())


@group.command("import")
def import_policy(
    file: FileArgument,
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the policy.")] = "imported",
    registry: Annotated[str, typer.Option("--registry", metavar="HOST", help="Host and port by which clients pull.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create or replace a policy from containers' policy.json.

    Example: entrepot policy import policy.json --registry r.example
    """
    from catalog.policy.formats.policy_json_import import import_policy_json

    settings = settings_of(home)
    policy, notes = import_policy_json(
        _read(file),
        registry=registry,
        read_file=lambda path: _read(Path(path)),
        roots=_roots(settings),
        where=str(file),
    )
    for note in notes:
        say(f"note: {note}")
    with opened(home, may_be_new=True) as catalog:
        _show(name, write_policy(catalog, name, policy), as_json=as_json)


@group.command("test")
def try_policy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a policy, or a file of one.")],
    reference: Annotated[str, typer.Argument(metavar="REF", help="Content: NAME:TAG or NAME@DIGEST.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Evaluate a policy for an image, and show each step.

    The exit code is 1 when it refuses the image.

    Example: entrepot policy test release team/app:v1
    """
    from catalog.filters.selector import Selector
    from catalog.signing.plan import select_manifests
    from flows.sign.policy_check import check_allowed, decide_all, find_policy

    selector = Selector.parse(reference)
    with opened(home) as catalog:
        named = find_policy(catalog, name)
        snapshot = catalog.snapshots.get(selector.repository)
        decisions = decide_all(catalog, named, snapshot, select_manifests(snapshot, selector), datetime.now(UTC))
    for one in () if as_json else decisions:
        explain_decision(one)
    check_allowed(decisions, named.name)
    if as_json:
        print_json([one.to_json() for one in decisions])


def write_policy(catalog: "Catalog", name: str, policy: "TrustPolicy") -> "StoredPolicy":
    """Write a policy with its audit event; raise InvalidInput."""
    from catalog.policy.store import check_policy_name

    check_policy_name(name)
    return catalog.policies.set(name, policy, actor=ACTOR, now=datetime.now(UTC))


def drop_policy(catalog: "Catalog", name: str) -> None:
    """Remove a policy with its audit event; raise PolicyUnknown."""
    from catalog.audit import Event

    catalog.policies.remove(name)
    catalog.events.record([Event(datetime.now(UTC), ACTOR, "remove-policy", name)])


def _roots(settings: "Settings") -> "RootMaterial | None":
    """Return the roots of the installation's own trust configuration; None for the public sigstore."""
    from catalog.policy.formats.root_material import read_root_material

    own = settings.sigstore_trust_config
    return None if own is None else read_root_material(_read(own).decode("utf-8", "replace"))


def _read(file: Path) -> bytes:
    from flows.sign.policy_check import read_policy_file

    if str(file) == "-":
        import sys

        return sys.stdin.buffer.read()
    return read_policy_file(file)


def _show(name: str, stored: "StoredPolicy", *, as_json: bool) -> None:
    from catalog.policy.store import policy_facts

    facts = policy_facts(name, stored)
    if as_json:
        print_json({**facts, "document": stored.policy.model_dump(mode="json", exclude_defaults=True)})
        return
    policy = stored.policy
    print_fields(
        {
            "name": name,
            "digest": policy.digest,
            "description": policy.description,
            "registry": policy.registry,
            "signers": ", ".join(sorted(policy.signers)),
            "default": policy.default,
            "set": f"{time_text(stored.set_at)} by {stored.set_by}",
        }
    )
    rows = [
        (
            number,
            ", ".join(rule.paths),
            rule.action,
            _required(rule.signatures),
            _required(rule.attestations),
            rule.index,
        )
        for number, rule in enumerate(policy.rules, 1)
    ]
    print_table(("RULE", "PATHS", "ACTION", "SIGNATURES", "ATTESTATIONS", "INDEX"), rows)


def _required(requirements: "object") -> str:
    told = []
    for one in requirements:  # type: ignore[attr-defined]  # of either kind
        kind = f"{one.type} by " if hasattr(one, "type") else ""
        told.append(f"{kind}{one.threshold} of {', '.join(one.signers)}")
    return "; ".join(told)
