"""Records of remotes under /api/v1/remotes, for administrators: address, login, TLS, mirrors and limits of each."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from catalog.blobs.origins import Policy
from catalog.remotes.options import check_files
from catalog.remotes.records import NO_PROXY, RemoteRecord, check_record, parse_key
from oci.errors import Denied, InvalidInput
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute
from registry_api.management.named_files import check_named

_FILE = Field("", max_length=1000)
_FILES = ("ca_file", "client_cert", "client_key")
ENVIRONMENT = "REMOTE_SECRET_"
"""Prefix of the environment variables that a record made over HTTP may name; its files lie below HOME/secrets. An
administrator of the registry need not be one of the machine."""

KeyPath = Annotated[
    str,
    Path(
        description="host[:port], or host[:port]/prefix, slashes included.",
        max_length=500,
        json_schema_extra={"pattern": r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$"},
    ),
]


class RemoteIn(BaseModel):
    """The connection to a registry; the settings are the defaults. Values of headers are references."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    description: str = Field("", max_length=1000)
    policy: Policy | Literal[""] = ""
    proxy: str = Field("", max_length=1000)
    ca_file: str = _FILE
    client_cert: str = _FILE
    client_key: str = _FILE
    headers: dict[str, str] = Field(default_factory=dict, max_length=100)
    concurrency: int = Field(0, ge=0, le=10_000)
    mirrors: tuple[str, ...] = Field((), max_length=100)
    rate: str = Field("", max_length=40)
    bandwidth: int = Field(0, ge=0, le=2**53)
    lookaside: str = Field("", max_length=1000)


class RemoteOut(RemoteIn):
    """The record of a registry."""

    key: str
    created_at: datetime
    updated_at: datetime


router = APIRouter(prefix="/api/v1", tags=["remotes"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/remotes", response_model=list[RemoteOut])
async def list_remotes(context: Context) -> list[RemoteOut]:
    """List all records, by registry."""
    context.check_administrator()
    return [_out(record) for record in context.catalog.remotes.all()]


@router.get("/remotes/{key:path}", response_model=RemoteOut)
async def show_remote(context: Context, key: KeyPath) -> RemoteOut:
    """Show one record."""
    context.check_administrator()
    return _out(context.catalog.remotes.get(parse_key(key)))


@router.put("/remotes/{key:path}", response_model=RemoteOut)
async def put_remote(context: Context, key: KeyPath, body: RemoteIn) -> RemoteOut:
    """Record how to connect to a registry; it replaces an earlier record."""
    context.check_administrator()
    now, name = context.registry.now(), parse_key(key)
    old = context.catalog.remotes.find(name)
    fields = {**body.model_dump(), "headers": tuple(body.headers.items())}
    record = check_record(RemoteRecord(name, old.created_at if old else now, now, **fields))
    check_references(body.headers, body.proxy, context.catalog.settings.root / "secrets")
    for field in _FILES:
        check_named(context.catalog.settings, field, getattr(record, field), recorded=getattr(old, field, ""))
    await context.threads.run(_check_files, record)
    await context.threads.commit(context.catalog.remotes.put, record, actor=context.account)
    await context.threads.commit(context.registry.access.events.record, [context.record("set-remote", name)])
    return _out(record)


@router.delete("/remotes/{key:path}", status_code=204)
async def delete_remote(context: Context, key: KeyPath) -> None:
    """Delete a record."""
    context.check_administrator()
    name = parse_key(key)
    await context.threads.commit(context.catalog.remotes.delete, name, actor=context.account)
    await context.threads.commit(context.registry.access.events.record, [context.record("delete-remote", name)])


def check_references(headers: Mapping[str, str], proxy: str, secrets: FilePath) -> None:
    """Raise Denied when a reference names a variable or file that only administrators of the machine may use."""
    for reference in (*headers.values(), proxy if proxy != NO_PROXY else ""):
        kind, _, name = reference.partition(":")
        if kind == "env" and not name.startswith(ENVIRONMENT):
            raise Denied(f"invalid variable {name[:80]!r}: over HTTP its name must begin with {ENVIRONMENT}")
        if kind == "file" and not FilePath(name).resolve().is_relative_to(secrets.resolve()):
            raise Denied("invalid file: over HTTP it must lie below HOME/secrets of this installation")


def _check_files(record: RemoteRecord) -> None:
    """Raise InvalidInput with the same message whether a file is missing, unreadable or invalid."""
    try:
        check_files(record)
    except InvalidInput:
        raise InvalidInput(
            f"a file of the record is missing, unreadable or invalid; run `entrepot remote set {record.key}` on the registry's "
            "machine to see which"
        ) from None


def _out(record: RemoteRecord) -> RemoteOut:
    fields = {name: getattr(record, name) for name in RemoteOut.model_fields}
    return RemoteOut.model_validate({**fields, "headers": dict(record.headers)})
