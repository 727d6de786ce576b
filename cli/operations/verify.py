"""`entrepot verify`: whether content is signed by a key or an identity, or as a policy requires."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.catalog import opened, settings_of
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_json, print_table
from cli.policy_output import explain_decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.catalog import Catalog
    from catalog.policy.explanation import PolicyDecision
    from catalog.versions.snapshot import Snapshot
    from flows.sign.verifiers import Check
    from flows.sign.verify_request import VerifyRequest
    from oci.digest import Digest


def verify_form() -> "type[VerifyRequest]":
    """Return the form of `verify`, which runs no flow."""
    from flows.sign.verify_request import VerifyRequest

    return VerifyRequest


@from_form(verify_form)
def verify(_context: typer.Context, request: "VerifyRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Verify content by a key, an identity or a policy.

    The exit code is 1 when any of it is not signed as required. With a policy, an index is verified with its children.

    Example: entrepot verify team/app:v1 --policy release --explain
    """
    from catalog.filters.selector import Selector
    from catalog.signing.plan import select_manifests

    selector = Selector.parse(request.source)
    with opened(home) as catalog:
        snapshot = catalog.snapshots.get(selector.repository)
        digests = select_manifests(snapshot, selector, include=request.include, exclude=request.exclude)
        if request.policy:
            _verify_by_policy(catalog, request, snapshot, digests, as_json=as_json)
        else:
            _verify_by_signer(home, catalog, request, snapshot, digests, as_json=as_json)


def _verify_by_policy(
    catalog: "Catalog", request: "VerifyRequest", snapshot: "Snapshot", digests: "Sequence[Digest]", *, as_json: bool
) -> None:
    from flows.sign.policy_check import check_allowed, decide_all, find_policy

    now = datetime.now(UTC)
    named = find_policy(catalog, request.policy)
    decisions = decide_all(catalog, named, snapshot, digests, now, trust_config=request.trust_config)
    if request.vsa:
        _write_summary(catalog, request, decisions, request.vsa, now)
    if request.explain and not as_json:
        for one in decisions:
            explain_decision(one)
    check_allowed(decisions, named.name)
    if as_json:
        print_json([one.to_json() for one in decisions])
    elif not request.explain:
        print_table(
            ("DIGEST", "VERDICT", "SIGNED BY"),
            [(one.digest, one.outcome, ", ".join(_signers(one))) for one in decisions],
        )


def _signers(decision: "PolicyDecision") -> list[str]:
    return sorted({name for one in decision.signatures if one.accepted for name in one.signers})


def _write_summary(
    catalog: "Catalog", request: "VerifyRequest", decisions: "Sequence[PolicyDecision]", file: Path, now: datetime
) -> None:
    """Write the verdict on one manifest, signed where a key is given."""
    from catalog.policy.summary import make_summary
    from flows.sign.signers import read_signer
    from oci.errors import InvalidInput
    from oci.signing.sigstore_bundle import sign_statement

    if len(decisions) != 1:
        raise InvalidInput(
            f"a verification summary is about one manifest; {request.source} selects {len(decisions)}: "
            "choose an image, rather than an index, by NAME@DIGEST; `--explain` without `--vsa` lists the digests"
        )
    statement = make_summary(decisions[0], now)
    if request.vsa_key:
        statement = sign_statement(statement, read_signer(catalog.settings, request.vsa_key))
    try:
        file.write_bytes(statement + b"\n")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from None


def _verify_by_signer(
    home: Path | None,
    catalog: "Catalog",
    request: "VerifyRequest",
    snapshot: "Snapshot",
    digests: "Sequence[Digest]",
    *,
    as_json: bool,
) -> None:
    from catalog.signing.verification import SignatureMissing

    check, by = _check_by(home, request)
    found = [check(catalog, snapshot, digest) for digest in digests]
    unsigned = [one for one in found if not one.is_signed]
    if unsigned:
        others = sum(one.tagged + one.bundled + one.atomic for one in unsigned)
        rest = f" and {len(unsigned) - 1} more" if len(unsigned) > 1 else ""
        raise SignatureMissing(
            f"{len(unsigned)} of {len(found)} manifests are not signed by {by}: {unsigned[0].digest}{rest}; "
            f"they have {others} signatures by others, or that do not verify",
            detail={"unsigned": [str(one.digest) for one in unsigned]},
        )
    if as_json:
        print_json(
            [
                {
                    "digest": one.digest,
                    "tagged": {"found": one.tagged, "good": one.tagged_good},
                    "bundled": {"found": one.bundled, "good": one.bundled_good},
                    "atomic": {"found": one.atomic, "good": one.atomic_good},
                    "predicate_types": list(one.predicate_types),
                    "references": list(one.references),
                }
                for one in found
            ]
        )
        return
    print_table(
        ("DIGEST", "BY TAG", "BY BUNDLE", "ATOMIC"),
        [
            (
                one.digest,
                f"{one.tagged_good} of {one.tagged}",
                f"{one.bundled_good} of {one.bundled}",
                f"{one.atomic_good} of {one.atomic}",
            )
            for one in found
        ],
    )


def _check_by(home: Path | None, request: "VerifyRequest") -> "tuple[Check, str]":
    """Return how one manifest is checked, and by what; raise KeyInvalid."""
    from flows.sign.verifiers import check_by_identity, check_by_key

    if request.key is None:
        checked = check_by_identity(settings_of(home), request.identity, request.issuer, request.trust_config)
        return checked, request.identity
    return check_by_key(settings_of(home), request.key), str(request.key)
