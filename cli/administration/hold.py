"""`entrepot hold`: the age that content below a path must reach, and decisions on single digests."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.administrator import ACTOR
from cli.catalog import opened
from cli.options import Home, Json, PathPatternArgument, new_group
from cli.output import Cell, print_fields, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.holds.held import HeldContent
    from catalog.holds.rules import HoldAction, HoldDecision, HoldRule

group = new_group("Refuse pulls of new content until it has reached an age.")
DigestArgument = Annotated[str, typer.Argument(metavar="DIGEST", help="Digest of a manifest or an index.")]
PathOption = Annotated[
    str, typer.Option("--path", metavar="PATTERN", help="Paths of the decision: team/app, team/** (any).")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason; clients read it.")]
OwnerOption = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who is responsible for the decision.")]
ForOption = Annotated[
    str | None, typer.Option("--for", metavar="DURATION", help="End the decision after this: 12h, 30d.")
]


@group.command("set")
def set_hold(
    pattern: PathPatternArgument,
    duration: Annotated[str, typer.Argument(metavar="DURATION", help="Age that content must reach: 12h, 7d, 1w2d.")],
    *,
    trust_created: Annotated[
        bool, typer.Option("--trust-created", help="Count the age from the date that an image states, if earlier.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Hold new content below these paths until it has an age.

    A tag resolves to the newest of its digests that is not held.

    Example: entrepot hold set 'dockerhub/**' 7d
    """
    from catalog.holds.rules import HoldRule
    from catalog.units import parse_duration

    with opened(home, may_be_new=True) as catalog:
        rule = HoldRule(pattern, parse_duration(duration), ACTOR, datetime.now(UTC), trust_created)
        catalog.holds.put_rule(rule)
        pushed = _pushed_to(catalog, rule)
    if pushed:
        names = ", ".join(pushed[:5]) + (", …" if len(pushed) > 5 else "")
        say(f"warning: clients push to {names}; what they push is held too")
    if as_json:
        print_json(_rule_json(rule))
    else:
        print_fields(_rule_json(rule))


@group.command("unset")
def unset_hold(pattern: PathPatternArgument, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a hold; its content can be pulled at once.

    Example: entrepot hold unset 'dockerhub/**'
    """
    with opened(home) as catalog:
        catalog.holds.delete_rule(pattern, actor=ACTOR, now=datetime.now(UTC))
    if as_json:
        print_json({"unset": pattern})
    else:
        print_line(f"deleted the hold of {pattern}")


@group.command("list")
def list_holds(
    *,
    held: Annotated[bool, typer.Option("--held", help="List the content that is held now, and until when.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List holds, releases and blocks.

    Example: entrepot hold list --held
    """
    from catalog.holds.held import held_content

    now = datetime.now(UTC)
    with opened(home) as catalog:
        rules, decisions = catalog.holds.rules(), catalog.holds.decisions()
        found = (
            list(held_content(catalog.holds, catalog.snapshots, catalog.distributions, catalog.facts, now))
            if held
            else []
        )
    if as_json:
        listed = {"rules": list(map(_rule_json, rules)), "decisions": [_decision_json(one, now) for one in decisions]}
        print_json({**listed, "held": list(map(_held_json, found))} if held else listed)
    elif held:
        rows = [(one.path, ", ".join(one.tags), one.digest, _text(one.until) or "-", one.reason) for one in found]
        print_table(("PATH", "TAGS", "DIGEST", "UNTIL", "REASON"), rows)
    else:
        print_table(
            ("PATTERN", "DURATION", "TRUST CREATED"),
            [
                (one["pattern"], one["duration"], "yes" if one["trust_created"] else "no")
                for one in map(_rule_json, rules)
            ],
        )
        if decisions:
            print_line("")
            shown = [_decision_json(one, now) for one in decisions]
            columns = ("action", "digest", "path", "state", "expires_at", "owner", "reason")
            print_table(
                [name.upper().replace("_", " ") for name in columns], [[one[name] for name in columns] for one in shown]
            )


@group.command("release")
def release(
    digest: DigestArgument,
    *,
    reason: ReasonOption,
    path: PathOption = "**",
    owner: OwnerOption = "",
    duration: ForOption = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Release a held digest and its parts at once.

    Example: entrepot hold release sha256:… --reason 'fixes CVE-2026-1'
    """
    _decide("release", digest, path, reason, owner, duration, home, as_json=as_json)


@group.command("block")
def block(
    digest: DigestArgument,
    *,
    reason: ReasonOption,
    path: PathOption = "**",
    owner: OwnerOption = "",
    duration: ForOption = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Block a digest, whatever its age.

    A block takes precedence over a release.

    Example: entrepot hold block sha256:… --reason malware --for 30d
    """
    _decide("block", digest, path, reason, owner, duration, home, as_json=as_json)


@group.command("withdraw")
def withdraw(digest: DigestArgument, *, path: PathOption = "**", home: Home = None, as_json: Json = False) -> None:
    """Withdraw the release or block of a digest.

    Example: entrepot hold withdraw sha256:…
    """
    from oci.digest import Digest

    now = datetime.now(UTC)
    with opened(home) as catalog:
        gone = catalog.holds.withdraw(Digest.parse(digest), path, actor=ACTOR, now=now)
    if as_json:
        print_json([_decision_json(one, now) for one in gone])
    else:
        print_line(f"withdrew the {' and the '.join(one.action for one in gone)} of {digest}")


def _decide(
    action: "HoldAction",
    digest: str,
    path: str,
    reason: str,
    owner: str,
    duration: str | None,
    home: "Home",
    *,
    as_json: bool,
) -> None:
    from catalog.holds.rules import HoldDecision, expiry_of, parse_decided_digest

    now = datetime.now(UTC)
    decision = HoldDecision(
        parse_decided_digest(digest, action), action, path, reason, ACTOR, now, owner, expiry_of(duration, now)
    )
    with opened(home, may_be_new=True) as catalog:
        decision = catalog.holds.decide(decision)
    if as_json:
        print_json(_decision_json(decision, now))
    else:
        print_fields(_decision_json(decision, now))


def _pushed_to(catalog: "Catalog", rule: "HoldRule") -> list[str]:
    """Return the repositories that clients push to and that a rule is about."""
    from catalog.holds.rules import fits

    return [name for name in catalog.history.made_by("push") if fits(rule.pattern, name, name)]


def _rule_json(rule: "HoldRule") -> dict[str, Cell]:
    from catalog.units import format_duration

    return {
        "pattern": rule.pattern,
        "duration": format_duration(rule.duration),
        "trust_created": rule.trust_created,
        "actor": rule.actor,
        "set_at": _text(rule.set_at),
    }


def _decision_json(decision: "HoldDecision", now: datetime) -> dict[str, Cell]:
    return {
        "action": decision.action,
        "digest": str(decision.digest),
        "path": decision.pattern,
        "reason": decision.reason,
        "owner": decision.owner,
        "actor": decision.actor,
        "decided_at": _text(decision.decided_at),
        "expires_at": _text(decision.expires_at),
        "state": "in force" if decision.is_in_force(now) else "expired",
    }


def _held_json(held: "HeldContent") -> dict[str, object]:
    return {
        "path": held.path,
        "digest": str(held.digest),
        "tags": list(held.tags),
        "reason": held.reason,
        "until": _text(held.until),
    }


def _text(moment: datetime | None) -> str | None:
    from catalog.units import format_time

    return None if moment is None else format_time(moment.replace(microsecond=0))
