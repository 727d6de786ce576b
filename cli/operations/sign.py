"""`entrepot sign` and `entrepot attest`: make signatures and attestations."""

from typing import TYPE_CHECKING

import typer

from cli.flow_runs import run_here, show_operation
from cli.forms.command import from_form
from cli.options import Home, Json
from flows.all_flows import ATTEST, SIGN

if TYPE_CHECKING:
    from flows.sign.request import AttestRequest, SignRequest


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

    The document, such as an SBOM or a provenance, becomes an in-toto attestation.

    Example: entrepot attest team/app:1.0 sbom.json --key cosign.key
    """
    show_operation(run_here(context, home, ATTEST, request), as_json=as_json)
