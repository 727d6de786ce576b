"""`entrepot doctor`: whether all is well with an installation, and what to do where it is not."""

import os
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from cli import exit_codes
from cli.catalog import settings_of
from cli.doctor.finding import DoctorCheck, Finding, run_checks
from cli.options import Home, Json
from cli.output import print_json, print_line, print_table
from oci.errors import SettingsInvalid


def doctor(
    *,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Time limit of all checks together.", min=1)] = 30.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check an installation and say what to fix.

    Exit code 0: no check fails. Exit code 1: a check fails. The command writes a probe to the blob store and deletes it. It
    changes nothing else.

    Example: entrepot doctor
    """
    try:
        settings = settings_of(home)
    except SettingsInvalid as error:
        found = [Finding("settings", "failure", error.message, "correct the setting; the other checks need it")]
    else:
        from cli.doctor import machine, network, stores

        checks = [
            DoctorCheck("settings", partial(machine.check_settings, settings, dict(os.environ))),
            DoctorCheck("home", partial(machine.check_home, settings)),
            DoctorCheck("disk", partial(machine.check_disks, settings)),
            DoctorCheck("catalogue", partial(stores.check_catalog_opens, settings)),
            DoctorCheck("lock", partial(stores.check_write_lock, settings)),
            DoctorCheck("storage", partial(stores.check_storage, settings)),
            DoctorCheck("clock", partial(stores.check_database_clock, settings)),
            DoctorCheck("upstreams", partial(network.check_upstreams, settings)),
            DoctorCheck("prefect", partial(network.check_prefect, settings)),
            DoctorCheck("dead runs", partial(network.check_dead_runs, settings)),
            DoctorCheck("tools", partial(machine.check_tools, settings)),
            DoctorCheck("ports", partial(machine.check_port, settings)),
            DoctorCheck("tls", partial(machine.check_certificate, settings, machine.now_utc())),
        ]
        found = run_checks(checks, seconds=timeout)
    _show(found, as_json=as_json)
    if any(one.state == "failure" for one in found):
        raise typer.Exit(exit_codes.FAILED)


def _show(found: list[Finding], *, as_json: bool) -> None:
    counts = Counter(one.state for one in found)
    if as_json:
        well = not counts["failure"]
        print_json({"well": well, "counts": dict(counts), "findings": [asdict(one) for one in found]})
        return
    print_table(
        ("CHECK", "STATE", "FOUND", "WHAT TO DO"), [(one.check, one.state, one.found, one.advice) for one in found]
    )
    print_line(f"ok: {counts['ok']}, warnings: {counts['warning']}, failures: {counts['failure']}")
