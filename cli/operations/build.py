"""`entrepot build`: an image from a Containerfile."""

from typing import TYPE_CHECKING, Any

import typer

from cli.flow_runs import run_here, show_operation
from cli.forms.command import from_form
from cli.options import Home, Json
from flows.all_flows import BUILD

if TYPE_CHECKING:
    from flows.image_build.request import BuildRequest


def _split_name(said: dict[str, Any]) -> dict[str, Any]:
    """Return what is said with `NAME[:TAG]` as repository and tag."""
    repository, _colon, tag = said["repository"].partition(":")
    return {**said, "repository": repository, **({"tag": tag} if tag else {})}


@from_form(BUILD.form, adapt=_split_name)
def build(context: typer.Context, request: "BuildRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Build an image with buildah and commit it as a version.

    The version holds its tag and a SLSA provenance.

    Example: entrepot build team/app:1.0 .
    """
    show_operation(run_here(context, home, BUILD, request), as_json=as_json)
