"""`entrepot sign`, `attest` and `verify`: who vouches for content."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.flow_runs import read_form, run_here, show_operation
from flows.cli.opening import opened
from flows.cli.options import Exclude, Home, Include, Json
from flows.cli.output import print_json, print_table

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="NAME:TAG or NAME@DIGEST; NAME: its tags, filtered.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Private key in PEM, cosign's too; default: ENTREPOT_SIGNING_KEY."),
]


def sign(
    context: typer.Context,
    source: Source,
    *,
    key: Key = None,
    include: Include = None,
    exclude: Exclude = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Sign the children of indexes too.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign content with a key, as cosign does: by a signature tag, and by a bundle that refers to it."""
    from flows.sign_request import SignRequest

    request = read_form(
        SignRequest,
        source=source,
        key=key.absolute() if key else None,
        include=include or (),
        exclude=exclude or (),
        recursive=recursive,
    )
    show_operation(run_here(context, home, "flows.sign", "sign_content", request), as_json=as_json)


def attest(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="NAME:TAG or NAME@DIGEST.")],
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
    """Attach an SBOM, a provenance or another document to an image, as a signed in-toto attestation."""
    from flows.sign_request import AttestRequest

    request = read_form(
        AttestRequest,
        source=source,
        document=document.absolute(),
        type=kind,
        signed=not unsigned,
        key=key.absolute() if key else None,
    )
    show_operation(run_here(context, home, "flows.sign", "attest_content", request), as_json=as_json)


def verify(
    source: Source,
    *,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Public key in PEM.")],
    include: Include = None,
    exclude: Exclude = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check that content is signed by a key; exit code 1 when any of it is not."""
    from catalog.curation import Pick
    from catalog.sign import choose
    from catalog.signatures import SignatureMissing, check_signatures
    from oci.signing.keys import KeyInvalid, load_verifier

    try:
        verifier = load_verifier(key.read_bytes(), where=str(key))
    except OSError as error:
        raise KeyInvalid(f"the key {key} cannot be read: {error.strerror}") from None
    pick = Pick.parse(source)
    with opened(home) as catalog:
        snapshot = catalog.snapshot(pick.repository)
        digests = choose(snapshot, pick, include=include or (), exclude=exclude or ())
        found = [check_signatures(catalog, snapshot, digest, verifier) for digest in digests]
    unsigned = [one for one in found if not one.is_signed]
    if unsigned:
        others = sum(one.tagged + one.bundled for one in unsigned)
        raise SignatureMissing(
            f"{len(unsigned)} of {len(found)} manifests are not signed by {key}: {unsigned[0].digest} and so on; "
            f"they have {others} signatures that do not verify with it",
            detail={"unsigned": [str(one.digest) for one in unsigned]},
        )
    if as_json:
        print_json(
            [
                {
                    "digest": one.digest,
                    "tagged": {"found": one.tagged, "good": one.tagged_good},
                    "bundled": {"found": one.bundled, "good": one.bundled_good},
                    "predicate_types": list(one.predicate_types),
                }
                for one in found
            ]
        )
        return
    print_table(
        ("DIGEST", "BY TAG", "BY BUNDLE"),
        [(one.digest, f"{one.tagged_good} of {one.tagged}", f"{one.bundled_good} of {one.bundled}") for one in found],
    )
