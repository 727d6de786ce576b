"""Checks of this machine: settings, home, disks, ports, TLS certificate, tools."""

import os
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.units import format_size
from cli.doctor.finding import Finding, ok

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from catalog.settings import Settings

_SOON, _NOW = timedelta(days=30), timedelta(days=7)


def check_settings(settings: "Settings", environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the settings: mistyped names, and what the registry would refuse to start with."""
    from catalog.settings import check_address, mistyped_settings
    from oci.errors import SettingsInvalid

    warnings = mistyped_settings(environment)
    yield from (Finding("settings", "warning", text, "correct the name, or unset the variable") for text in warnings)
    try:
        check_address(settings)
    except SettingsInvalid as error:
        yield Finding("settings", "failure", error.message)
    else:
        count = sum(name.startswith("ENTREPOT_") for name in environment)
        if not warnings:
            yield ok("settings", f"{count} in the environment, all valid")


def check_home(settings: "Settings") -> Iterator[Finding]:
    """Look at the folder of local state: there, ours, and nobody else's to enter."""
    root = settings.root
    try:
        found = root.stat()
    except FileNotFoundError:
        yield Finding(
            "home", "warning", f"{root} does not exist", "run `entrepot up`, or give another folder by --home"
        )
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "home",
            "failure",
            f"{root} cannot be written by this user",
            "run as the owner of the folder, or change its owner",
        )
    elif stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding(
            "home", "warning", f"other users can access {root}", f"run `chmod 700 {root}`; `entrepot up` does it too"
        )
    else:
        yield ok("home", f"only this user can access {root}")


def check_disks(settings: "Settings") -> Iterator[Finding]:
    """Look at the room on each disk that is written to, against the reserve that uploads leave."""
    from catalog.disk_reserve import WHAT_FREES, reserve_of

    folders = [settings.root, settings.catalog_file.parent, *filter(None, [settings.storage_folder])]
    seen: set[int] = set()
    for folder in folders:
        there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
        if there.stat().st_dev in seen:
            continue
        seen.add(there.stat().st_dev)
        found = os.statvfs(there)
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        reserve = reserve_of(settings.disk_reserve, total)
        text = f"{format_size(free)} free of {format_size(total)} at {folder}; the reserve is {format_size(reserve)}"
        if free < reserve or not free:
            yield Finding("disk", "failure", f"{text}: uploads are refused", WHAT_FREES)
        elif free < 3 * reserve:
            yield Finding("disk", "warning", f"{text}: almost full", WHAT_FREES)
        else:
            yield ok("disk", text)
        if found.f_files and found.f_favail * 50 < found.f_files:
            text = f"{found.f_favail} of {found.f_files} inodes are free at {folder}"
            yield Finding("disk", "warning", text, "delete small files, or move the folder to a larger disk")


def check_port(settings: "Settings") -> Iterator[Finding]:
    """Look at where the registry listens: it answers there, or the address is free."""
    from catalog.running_instance import find_running

    host, port = settings.listen_address
    running = find_running(settings)
    url = (running.registry_url if running else "") or f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"
    if _is_listening(host, port) or (running and running.registry_url):
        status = _readiness(url, settings)
        if status == 200:
            whose = "the registry" if running else "a registry that `entrepot up` of this home did not start"
            yield ok("ports", f"{whose} is ready at {url}")
        elif status:
            yield Finding("ports", "failure", f"{url}/readyz answers {status}", "read the registry's log")
        else:
            text = f"{host}:{port} is used by another program"
            yield Finding("ports", "failure", text, "stop it, or set another address by ENTREPOT_LISTEN")
        return
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        text = f"the registry cannot listen on {host}:{port}: {error.strerror}"
        yield Finding("ports", "failure", text, "set another address by ENTREPOT_LISTEN")
    else:
        yield ok("ports", f"{host}:{port} is free; no registry runs there")


def _is_listening(host: str, port: int) -> bool:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # asked, not bound
    try:
        with socket.create_connection((target, port), timeout=3):
            return True
    except OSError:
        return False


def _readiness(url: str, settings: "Settings") -> int:
    """Return the status of `/readyz`; 0 where nothing of ours answers. The certificate is looked at by another check."""
    import httpx

    address = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    del settings
    try:
        with httpx.Client(trust_env=False, timeout=5, verify=False) as client:  # noqa: S501  # of this machine, without a login
            if client.get(f"{address}/healthz").status_code != 200:
                return 0
            return client.get(f"{address}/readyz").status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return 0


def check_certificate(settings: "Settings", now: datetime) -> Iterator[Finding]:
    """Look at the registry's certificate: it can be read, fits its key, is good for long enough, and names the registry."""
    import ssl

    from cryptography import x509

    if settings.tls_cert is None or settings.tls_key is None:
        yield ok("tls", "no certificate is set: the registry speaks plain HTTP, or a proxy ends TLS")
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert, settings.tls_key, password=""
        )
        certificate = x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())[0]
    except (OSError, ValueError) as error:  # ssl's errors are of OSError
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = f"{settings.tls_cert} and {settings.tls_key} cannot be loaded: {reason}"
        yield Finding("tls", "failure", text, "use a PEM chain and its unencrypted key, both readable by this user")
        return
    left = certificate.not_valid_after_utc - now
    text = f"{settings.tls_cert} is valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        text = f"{settings.tls_cert} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        yield Finding("tls", "failure", text, "set the clock, or use another certificate")
    elif left < timedelta():
        yield Finding("tls", "failure", f"{text}: expired", "renew it; the registry reads it at its next start")
    elif left < _SOON:
        verdict = "failure" if left < _NOW else "warning"
        yield Finding("tls", verdict, text, "renew it; the registry reads it at its next start")  # type: ignore[arg-type]
    else:
        yield ok("tls", text)
    yield from _check_names(settings, certificate)


def _check_names(settings: "Settings", certificate: "Certificate") -> Iterator[Finding]:
    from urllib.parse import urlsplit

    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        text = f"{settings.tls_cert} names no host (subjectAltName)"
        yield Finding("tls", "failure", text, "use a certificate with the registry's names")
        return
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    wanted = [urlsplit(settings.public_url).hostname or "", *settings.hosts]
    for name in filter(None, wanted):
        if "*" in name or name in addresses or _covers(hosts, name.lower()):
            continue
        text = f"{settings.tls_cert} does not name {name}, the name that clients use"
        yield Finding(
            "tls", "failure", text, "use a certificate with that name, or correct ENTREPOT_HOSTS or ENTREPOT_PUBLIC_URL"
        )


def _covers(hosts: list[str], name: str) -> bool:
    """Return whether one of the certificate's names is the name, or a wildcard of its first part (RFC 6125)."""
    return name in hosts or f"*.{name.partition('.')[2]}" in hosts


def check_tools(settings: "Settings") -> Iterator[Finding]:
    """Look for the programs that flows call, and what they need."""
    del settings
    found = shutil.which("buildah")
    if found:
        yield ok("tools", f"buildah is at {found}")
    else:
        text = "buildah is not installed: build-image and the build of a pipeline fail"
        yield Finding("tools", "warning", text, "run `apt-get install buildah` on machines that build")


def now_utc() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)
