"""`entrepot serve`: the registry alone."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.catalog import settings_of
from cli.options import Home, Json
from cli.output import print_json


def serve(
    *,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Default: ENTREPOT_LISTEN.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of the certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of its private key.")] = None,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Listen without TLS on an address other than loopback.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Serve the registry alone until Ctrl-C, without Prefect.

    Example: entrepot serve --listen 127.0.0.1:5000
    """
    from catalog.settings import check_address

    settings = settings_of(
        home, listen=listen, tls_cert=tls_cert, tls_key=tls_key, allow_plain_http=allow_plain_http or None
    )
    check_address(settings)
    arguments = ["--home", str(settings.root), "--listen", settings.listen]
    for option, file in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
        arguments += [option, str(file)] if file else []
    if settings.allow_plain_http:
        arguments.append("--allow-plain-http")
    if as_json:
        scheme = "https" if settings.tls_cert else "http"
        print_json({"registry": f"{scheme}://{settings.listen}", "home": str(settings.root)})
    sys.stdout.flush()
    command = [sys.executable, "-m", "registry_api", *arguments]
    os.execv(command[0], command)  # noqa: S606  # to become the registry is what this command is for
