"""How a remote is spoken to, of the settings and its record; the files and variables that a record names are read here."""

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from catalog.remotes.records import NO_PROXY, REFERENCE, RemoteRecord
from catalog.settings import Settings
from oci.errors import InvalidInput, RemoteUnusable, SettingsInvalid
from oci.remote.options import RemoteOptions

Stamps = tuple[int, ...]
"""When the files of a record were last changed, in nanoseconds; 0 for one that is not there."""

HEADS_PER_TRANSFER = 2
"""How many times more tags are asked for by HEAD than blobs are moved at once: the responses carry no content."""


def settings_options(settings: Settings) -> RemoteOptions:
    """The settings that concern upstreams; raise SettingsInvalid."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise SettingsInvalid(f"ENTREPOT_CA_FILE is {settings.ca_file}, which is not a file")
    return RemoteOptions(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        total_timeout=settings.total_timeout,
        silence_timeout=settings.silence_timeout,
        attempts=settings.upstream_attempts,
        connections=HEADS_PER_TRANSFER * settings.copy_concurrency,
        proxy=settings.proxy,
        ca_file=settings.ca_file,
        insecure_registries=settings.insecure_registries,
        internal_hosts=settings.internal_hosts,
    )


def record_options(base: RemoteOptions, record: RemoteRecord, environ: Mapping[str, str]) -> RemoteOptions:
    """The same with what a record says; raise RemoteUnusable, which tells neither paths nor secrets to clients."""
    proxy = record.proxy
    if REFERENCE.fullmatch(proxy):
        proxy = _value(record, "proxy", proxy, environ)
    return replace(
        base,
        connections=record.concurrency or base.connections,
        proxy="" if proxy == NO_PROXY else proxy or base.proxy,
        direct=proxy == NO_PROXY,
        own_ca_file=Path(record.ca_file) if record.ca_file else None,
        client_cert=Path(record.client_cert) if record.client_cert else None,
        client_key=Path(record.client_key) if record.client_key else None,
        headers=tuple((name, _value(record, f"header {name}", text, environ)) for name, text in record.headers),
    )


def file_stamps(record: RemoteRecord) -> Stamps:
    """Return when what the record names was changed, so that a renewed certificate or secret counts with the next request."""
    return tuple(_stamp(path) for path in record_files(record))


def record_files(record: RemoteRecord) -> Iterator[Path]:
    """Every file that a record names."""
    named = (record.ca_file, record.client_cert, record.client_key)
    yield from (Path(path) for path in named if path)
    references = (record.proxy, *(reference for _, reference in record.headers))
    yield from (Path(text.removeprefix("file:")) for text in references if text.startswith("file:"))


def check_files(record: RemoteRecord) -> None:
    """Raise InvalidInput, which names the file, when one that the record names is not there or is of no use."""
    for path in record_files(record):
        if not path.is_file() or not os.access(path, os.R_OK):
            raise InvalidInput(f"{path} is no file that can be read")
    if not record.ca_file and not record.client_cert:
        return  # a context reads all authorities of the system, a tenth of a second
    context = ssl.create_default_context()
    try:
        if record.ca_file:
            context.load_verify_locations(cafile=record.ca_file)
    except ssl.SSLError:
        raise InvalidInput(f"{record.ca_file} holds no certificates in PEM") from None
    try:
        if record.client_cert:
            context.load_cert_chain(record.client_cert, record.client_key or None, password="")
    except ssl.SSLError:
        raise InvalidInput(
            f"{record.client_cert} and {record.client_key or 'itself'} are no certificate in PEM with its key, unencrypted"
        ) from None


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _value(record: RemoteRecord, what: str, reference: str, environ: Mapping[str, str]) -> str:
    """Return what a reference of a record stands for."""
    try:
        return value_of_reference(reference, environ, what=f"the {what}")
    except RemoteUnusable as error:
        raise unusable(record, error.message) from None


def value_of_reference(reference: str, environ: Mapping[str, str], *, what: str) -> str:
    """Return what `env:NAME` or `file:/PATH` stands for, one line of printable ASCII; raise RemoteUnusable without it."""
    kind, _, name = reference.partition(":")
    try:
        value = environ[name] if kind == "env" else Path(name).read_text(encoding="ascii")
    except (KeyError, OSError, UnicodeDecodeError):
        raise RemoteUnusable(f"{what} cannot be read from where its reference says") from None
    value = value.strip()
    if not value or not value.isprintable():
        raise RemoteUnusable(f"{what} is empty, or more than one line")
    return value


def unusable(record: RemoteRecord, what: str) -> RemoteUnusable:
    """The error for a record that cannot be used."""
    return RemoteUnusable(f"{what}; see `entrepot remote show {record.key}`", registry=record.key)
