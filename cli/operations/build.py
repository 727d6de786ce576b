"""`entrepot build`: an image from a Containerfile."""

from pathlib import Path
from typing import Annotated

import typer

from cli.flow_runs import read_form, run_here, show_operation
from cli.options import Home, Json
from oci.errors import InvalidInput


def build(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="What the image is called here.")],
    folder: Annotated[Path, typer.Argument(metavar="CONTEXT", help="Folder whose files the build may use.")],
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="Default: Containerfile or Dockerfile in CONTEXT."),
    ] = None,
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="May be repeated; put no secrets here."),
    ] = None,
    target: Annotated[str, typer.Option("--target", metavar="STAGE", help="Stage of a multi-stage file.")] = "",
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="OS/ARCH", help="Default: this machine's.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Key that signs the provenance; else it is unsigned.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Build an image with buildah and commit it as a version.

    The version holds its tag and a SLSA provenance.

    Example: entrepot build team/app:1.0 .
    """
    from flows.image_build.request import BuildRequest

    repository, _colon, tag = name.partition(":")
    pairs = [text.partition("=") for text in build_arg or ()]
    if any(not equals for _name, equals, _value in pairs):
        raise InvalidInput("--build-arg needs NAME=VALUE")
    request = read_form(
        BuildRequest,
        repository=repository,
        tag=tag or "latest",
        context=folder.absolute(),
        containerfile=file,
        arguments={argument: value for argument, _equals, value in pairs},
        target=target,
        platform=platform,
        key=key.absolute() if key else None,
    )
    show_operation(run_here(context, home, "flows.image_build.flow", "build_image", request), as_json=as_json)
