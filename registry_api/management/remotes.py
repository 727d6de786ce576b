"""How upstreams are spoken to, under /api/v1/remotes, for administrators."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from catalog.blobs.origins import Policy
from catalog.remotes.options import check_files
from catalog.remotes.records import NO_PROXY, RemoteRecord, check_record, parse_key
from oci.errors import Denied, InvalidInput
from registry_api.context import Registry
from registry_api.management.dependencies import FAILURES, Asker, ToldErrors, asker_of
from registry_api.management.named_files import check_named

_FILE = Field("", max_length=1000)
_FILES = ("ca_file", "client_cert", "client_key")
ENVIRONMENT = "REMOTE_SECRET_"
"""What the variables begin with that a record made over HTTP may name; its files lie below HOME/secrets. An administrator of the
registry need not be one of the machine."""

KeyPath = Annotated[
    str,
    Path(
        description="host[:port], or host[:port]/prefix, slashes included.",
        max_length=500,
        json_schema_extra={"pattern": r"^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$"},
    ),
]


class RemoteIn(BaseModel):
    """How a registry is spoken to; what is left out is as the settings say. Values of headers are references."""

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
    """What is recorded about a registry."""

    key: str
    created_at: datetime
    updated_at: datetime


def remote_routes(registry: Registry) -> APIRouter:
    """Records of remotes."""
    router = APIRouter(prefix="/api/v1", tags=["remotes"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    remotes, commit, run = registry.catalog.remotes, registry.threads.commit, registry.threads.run

    @router.get("/remotes", response_model=list[RemoteOut])
    async def list_remotes(asker: Asker = asking) -> list[RemoteOut]:
        """All records, by registry."""
        asker.administration()
        return [_out(one) for one in remotes.all()]

    @router.get("/remotes/{key:path}", response_model=RemoteOut)
    async def show_remote(key: KeyPath, asker: Asker = asking) -> RemoteOut:
        """One record."""
        asker.administration()
        return _out(remotes.get(parse_key(key)))

    @router.put("/remotes/{key:path}", response_model=RemoteOut)
    async def put_remote(key: KeyPath, wanted: RemoteIn, asker: Asker = asking) -> RemoteOut:
        """Record how a registry is spoken to, in place of what was recorded."""
        asker.administration()
        now, name = registry.now(), parse_key(key)
        old = remotes.find(name)
        fields = {**wanted.model_dump(), "headers": tuple(wanted.headers.items())}
        made = check_record(RemoteRecord(name, old.created_at if old else now, now, **fields))
        check_references(wanted.headers, wanted.proxy, registry.catalog.settings.root / "secrets")
        for what in _FILES:
            check_named(registry.catalog.settings, what, getattr(made, what), recorded=getattr(old, what, ""))
        await run(_check_files, made)
        await commit(remotes.put, made, actor=asker.caller.account)
        await commit(registry.gate.events.record, [asker.record("set-remote", name)])
        return _out(made)

    @router.delete("/remotes/{key:path}", status_code=204)
    async def delete_remote(key: KeyPath, asker: Asker = asking) -> None:
        """Forget a record."""
        asker.administration()
        name = parse_key(key)
        await commit(remotes.delete, name, actor=asker.caller.account)
        await commit(registry.gate.events.record, [asker.record("delete-remote", name)])

    return router


def check_references(headers: Mapping[str, str], proxy: str, secrets: FilePath) -> None:
    """Raise Denied when a reference names what only those may use who administer the machine."""
    for reference in (*headers.values(), proxy if proxy != NO_PROXY else ""):
        kind, _, name = reference.partition(":")
        if kind == "env" and not name.startswith(ENVIRONMENT):
            raise Denied(f"a variable that is named over HTTP must begin with {ENVIRONMENT}")
        if kind == "file" and not FilePath(name).resolve().is_relative_to(secrets.resolve()):
            raise Denied("a file that is named over HTTP must lie below HOME/secrets of this installation")


def _check_files(record: RemoteRecord) -> None:
    """Raise InvalidInput in the same words whether a file is absent, unreadable or of no use."""
    try:
        check_files(record)
    except InvalidInput:
        raise InvalidInput(
            f"a file that the record names is not there, not readable, or not what it should be; on the registry's machine, "
            f"`entrepot remote set {record.key}` says which"
        ) from None


def _out(one: RemoteRecord) -> RemoteOut:
    fields = {name: getattr(one, name) for name in RemoteOut.model_fields}
    return RemoteOut.model_validate({**fields, "headers": dict(one.headers)})
