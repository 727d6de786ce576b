"""`entrepot sign`, `attest` and `verify`: who vouches for content."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import completion
from cli.catalog import opened
from cli.flow_runs import read_form, run_here, show_operation
from cli.options import Exclude, Home, Include, Json
from cli.output import print_json, print_table

if TYPE_CHECKING:
    from flows.sign.verifiers import Check

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="NAME:TAG or NAME@DIGEST; NAME: its tags, filtered.", autocompletion=completion.tags_of
    ),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Private key in PEM, cosign's too; default: ENTREPOT_SIGNING_KEY."),
]
TrustConfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Trust configuration of a private sigstore; default: ENTREPOT_SIGSTORE_TRUST_CONFIG."
    ),
]
AnyKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Private key, PEM or OpenPGP; default: ENTREPOT_SIGNING_KEY."),
]


def sign(
    context: typer.Context,
    source: Source,
    *,
    key: AnyKey = None,
    identity: Annotated[
        str, typer.Option(metavar="NAME", help="With an OpenPGP key: what clients call it, registry.example/team/app.")
    ] = "",
    keyless: Annotated[
        bool,
        typer.Option(
            "--keyless", help="By an identity token: ENTREPOT_IDENTITY_TOKEN_FILE, SIGSTORE_ID_TOKEN, or CI's."
        ),
    ] = False,
    trust_config: TrustConfig = None,
    include: Include = None,
    exclude: Exclude = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Sign the children of indexes too.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign content with a PEM key or an OpenPGP key.

    A PEM key signs as cosign does, by a signature tag and a bundle; an OpenPGP key as skopeo does.

    Example: entrepot sign team/app:1.0 --key cosign.key
    """
    from flows.sign.request import SignRequest

    request = read_form(
        SignRequest,
        source=source,
        key=key.absolute() if key else None,
        identity=identity,
        keyless=keyless,
        trust_config=trust_config.absolute() if trust_config else None,
        include=include or (),
        exclude=exclude or (),
        recursive=recursive,
    )
    show_operation(run_here(context, home, "flows.sign.flow", "sign_content", request), as_json=as_json)


def attest(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="NAME:TAG or NAME@DIGEST.", autocompletion=completion.tags_of)
    ],
    document: Annotated[Path, typer.Argument(metavar="FILE", help="The SBOM or other document, JSON.")],
    *,
    kind: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="spdxjson, cyclonedx, slsaprovenance1, vuln, or a URI.")
    ] = "spdxjson",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Attach it as it is, not as an attestation.")] = False,
    key: Key = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Attach a signed attestation to an image.

    The document, an SBOM, a provenance or another, becomes an in-toto attestation.

    Example: entrepot attest team/app:1.0 sbom.json --key cosign.key
    """
    from flows.sign.request import AttestRequest

    request = read_form(
        AttestRequest,
        source=source,
        document=document.absolute(),
        type=kind,
        signed=not unsigned,
        key=key.absolute() if key else None,
    )
    show_operation(run_here(context, home, "flows.sign.flow", "attest_content", request), as_json=as_json)


def verify(
    source: Source,
    *,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="By a public key, PEM or OpenPGP.")] = None,
    identity: Annotated[str, typer.Option(metavar="NAME", help="By an identity that has signed keyless.")] = "",
    issuer: Annotated[str, typer.Option(metavar="URL", help="Whom the identity's token must be from.")] = "",
    trust_config: TrustConfig = None,
    include: Include = None,
    exclude: Exclude = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Verify that content is signed by a key or an identity.

    The exit code is 1 when any of it is not.

    Example: entrepot verify team/app:1.0 --key cosign.pub
    """
    from catalog.filters.pick import Pick
    from catalog.signing.plan import choose
    from catalog.signing.verification import SignatureMissing

    check, by = _check_by(home, key, identity, issuer, trust_config)
    pick = Pick.parse(source)
    with opened(home) as catalog:
        snapshot = catalog.snapshots.get(pick.repository)
        digests = choose(snapshot, pick, include=include or (), exclude=exclude or ())
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


def _check_by(
    home: Path | None, key: Path | None, identity: str, issuer: str, trust_config: Path | None
) -> "tuple[Check, str]":
    """How one manifest is checked, and by what; raise InvalidInput, KeyInvalid."""
    from cli.catalog import settings_of
    from flows.sign.verifiers import check_by_identity, check_by_key
    from oci.errors import InvalidInput

    if bool(key) == bool(identity) or bool(identity) != bool(issuer):
        raise InvalidInput("verify by --key FILE, or by --identity NAME and --issuer URL")
    if key is None:
        return check_by_identity(settings_of(home), identity, issuer, trust_config), identity
    return check_by_key(settings_of(home), key), str(key)
