"""`entrepot policy gate`, `ungate`, `gates`, `report`: where trust policies are evaluated, and what they have refused."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.administration.policy import NameArgument, group
from cli.administrator import ACTOR
from cli.catalog import opened
from cli.options import Home, Json, PathPatternArgument
from cli.output import print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.policy.gate_rules import PolicyGateRule


@group.command("gate")
def set_gate(
    pattern: PathPatternArgument,
    name: NameArgument,
    *,
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="POINTS", help="Some of pull, push, sync, promote, export, import; comma between."
        ),
    ] = "pull",
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="On a refusal: refuse, warn or dry-run.")
    ] = "refuse",
    quarantine: Annotated[
        bool,
        typer.Option("--quarantine/--no-quarantine", help="Accept pushes before they are signed; refuse their pulls."),
    ] = True,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Gate content of these paths by a policy.

    Example: entrepot policy gate 'team/**' release --at pull,sync
    """
    from catalog.path_patterns import parse_path_pattern
    from catalog.policy.gate_rules import PolicyGateRule, parse_mode, parse_points
    from catalog.policy.store import check_policy_name

    parse_path_pattern(pattern)
    check_policy_name(name)
    points, now = parse_points(at), datetime.now(UTC)
    rule = PolicyGateRule(
        pattern=pattern,
        policy=name,
        at=points,
        mode=parse_mode(mode),
        quarantine=quarantine,
        set_by=ACTOR,
        set_at=now,
    )
    with opened(home) as catalog:
        write_gate(catalog, rule)
    if as_json:
        print_json(_gate_json(rule))
    else:
        print_fields(_gate_json(rule))


@group.command("ungate")
def unset_gate(pattern: PathPatternArgument, name: NameArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a gate of these paths.

    Example: entrepot policy ungate 'team/**' release
    """
    with opened(home) as catalog:
        drop_gate(catalog, pattern, name)
    if as_json:
        print_json({"unset": pattern, "policy": name})
    else:
        print_line(f"deleted the gate of {pattern} by the policy {name}")


@group.command("gates")
def list_gates(*, home: Home = None, as_json: Json = False) -> None:
    """List all gates by trust policies.

    Example: entrepot policy gates
    """
    with opened(home) as catalog:
        found = [_gate_json(rule) for rule in catalog.policies.records.gates]
    if as_json:
        print_json(found)
        return
    rows = [(one["pattern"], one["policy"], one["at"], one["mode"], one["set_by"]) for one in found]
    print_table(("PATTERN", "POLICY", "AT", "MODE", "SET BY"), rows)


@group.command("report")
def report_refusals(
    *,
    since: Annotated[str, typer.Option("--since", metavar="AGE", help="How far to look back: 12h, 7d.")] = "7d",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what policies have refused, or would have.

    Requests are counted in audit events, which are up to an hour late.

    Example: entrepot policy report --since 7d
    """
    from catalog.policy_gates.reports import read_refusals, report_start
    from catalog.units import parse_duration

    start = report_start(datetime.now(UTC), parse_duration(since))
    with opened(home) as catalog:
        found = read_refusals(catalog.events, start)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    rows = [(one.path, one.digest, one.policy, one.mode, one.at, one.requests, one.reason) for one in found]
    print_table(("PATH", "DIGEST", "POLICY", "MODE", "AT", "REQUESTS", "REASON"), rows)


def write_gate(catalog: "Catalog", rule: "PolicyGateRule") -> None:
    """Write a gate with its audit event; raise PolicyUnknown, InvalidInput."""
    catalog.policies.set_gate(rule)


def drop_gate(catalog: "Catalog", pattern: str, name: str) -> None:
    """Delete a gate with its audit event; raise RuleUnknown."""
    from catalog.audit import Event

    catalog.policies.unset_gate(pattern, name)
    catalog.events.record([Event(datetime.now(UTC), ACTOR, "unset-policy-gate", pattern, detail={"policy": name})])


def _gate_json(rule: "PolicyGateRule") -> dict[str, str | bool]:
    from catalog.units import format_time

    return {
        "pattern": rule.pattern,
        "policy": rule.policy,
        "at": ",".join(rule.at),
        "mode": rule.mode,
        "quarantine": rule.quarantine,
        "set_by": rule.set_by,
        "set_at": format_time(rule.set_at),
    }
