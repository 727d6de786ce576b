"""`entrepot sign`, `attest` and `verify`: who vouches for content."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.catalog import opened, settings_of
from cli.flow_runs import run_here, show_operation
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_json, print_table
from flows.all_flows import ATTEST, SIGN

if TYPE_CHECKING:
    from flows.sign.request import AttestRequest, SignRequest, VerifyRequest
    from flows.sign.verifiers import Check


@from_form(SIGN.form)
def sign(context: typer.Context, request: "SignRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Sign content with a PEM key or an OpenPGP key.

    A PEM key signs as cosign does, by a signature tag and a bundle; an OpenPGP key as skopeo does.

    Example: entrepot sign team/app:1.0 --key cosign.key
    """
    show_operation(run_here(context, home, SIGN, request), as_json=as_json)


@from_form(ATTEST.form)
def attest(context: typer.Context, request: "AttestRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Attach a signed attestation to an image.

    The document, an SBOM, a provenance or another, becomes an in-toto attestation.

    Example: entrepot attest team/app:1.0 sbom.json --key cosign.key
    """
    show_operation(run_here(context, home, ATTEST, request), as_json=as_json)


def verify_form() -> "type[VerifyRequest]":
    """Return the form of `verify`, which runs no flow."""
    from flows.sign.request import VerifyRequest

    return VerifyRequest


@from_form(verify_form)
def verify(_context: typer.Context, request: "VerifyRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Verify that content is signed by a key or an identity.

    The exit code is 1 when any of it is not.

    Example: entrepot verify team/app:1.0 --key cosign.pub
    """
    from catalog.filters.selector import Selector
    from catalog.signing.plan import select_manifests
    from catalog.signing.verification import SignatureMissing

    check, by = _check_by(home, request)
    selector = Selector.parse(request.source)
    with opened(home) as catalog:
        snapshot = catalog.snapshots.get(selector.repository)
        digests = select_manifests(snapshot, selector, include=request.include, exclude=request.exclude)
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
