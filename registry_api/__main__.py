"""`python -m registry_api`: serve the registry alone. Exit codes: 0 stopped as told, 1 failed, 2 wrong settings."""

import argparse
import os
import sys
from collections.abc import Sequence

from catalog.access.store import ADMINISTRATOR, ensure_administrator, password_file
from catalog.catalog import open_catalog
from catalog.settings import Settings, check_address, mistyped_settings, read_settings
from oci.errors import EntrepotError, SettingsInvalid
from registry_api.metrics import siblings
from registry_api.server.logs import set_up_logging
from registry_api.server.process import ServerOptions, listening_url, open_listener, run_server
from registry_api.server.workers import run_workers


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m registry_api", description="Serve the registry.")
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: ENTREPOT_LISTEN; port 0 takes a free one")
    parser.add_argument("--home", metavar="DIR", help="folder of all local state; default: ENTREPOT_HOME")
    parser.add_argument("--tls-cert", metavar="FILE", help="PEM file of the certificate chain")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM file of the certificate's private key")
    parser.add_argument(
        "--allow-plain-http", action="store_true", help="listen without TLS on an address other than loopback"
    )
    parser.add_argument("--access-log", action="store_true", help="log each request")
    return parser.parse_args(arguments)


def _read(options: argparse.Namespace) -> ServerOptions:
    settings = read_settings(
        listen=options.listen,
        home=options.home,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        allow_plain_http=options.allow_plain_http or None,
        access_log="common" if options.access_log and "ENTREPOT_ACCESS_LOG" not in os.environ else None,
    )
    check_address(settings)
    for warning in mistyped_settings(os.environ):
        sys.stderr.write(f"warning: {warning}\n")
    return ServerOptions(settings)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _introduce(settings: Settings) -> None:
    """Create the administrator at the first start, and print the password once."""
    password = ensure_administrator(settings)
    if password is not None:
        _say(f"administrator: {ADMINISTRATOR}, password: {password} (kept in {password_file(settings)})")


def _run(options: ServerOptions) -> int:
    settings = options.settings
    _introduce(settings)
    with open_listener(settings) as listener:
        address = listening_url(options, listener)

        def announce() -> None:
            _say(f"registry: {address}")

        if settings.server_processes == 1:
            run_server(options, listener, announce)
            return 0
        siblings.begin(settings.root)
        open_catalog(settings).close()  # created or migrated once, by one process, which also reports a failure once
        return run_workers(options, listener, settings.server_processes, announce)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = _parse(arguments)
    try:
        told = _read(options)
        set_up_logging(told.settings)
        return _run(told)
    except SettingsInvalid as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except (EntrepotError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
