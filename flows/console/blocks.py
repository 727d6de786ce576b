"""Blocks of Prefect's that forms take in the place of a text: where a signing key or a login is. None holds a secret.

A block is a name for a reference, such as a file on the workers' machines. What it refers to is read by the flow, under the same
rules as a text of the form: a worker reads files below ENTREPOT_WORK_ROOTS alone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from oci.errors import InvalidInput

_REFERENCE = "$ref"
_ONE_LINE = r"^[^\n\r]{1,1000}$"


class FileBlock(Block):
    """A file on the workers' machines, by its path; what kind of file is the type of the block."""

    file: str = Field(title="File", pattern=_ONE_LINE)

    def as_field(self) -> str:
        """Return the text that a form takes."""
        return self.file


class SigningKeyBlock(FileBlock):
    """Where a signing key is. The key itself stays on the machines that sign."""

    _block_type_name: ClassVar[str] = "Entrepôt signing key"
    _block_type_slug: ClassVar[str] = "entrepot-signing-key"
    _description: ClassVar[str] = (
        "File of a private key on the workers' machines, for the forms of Entrepôt. It holds no key."
    )

    file: str = Field(
        title="File",
        pattern=_ONE_LINE,
        description="Private key, PEM or OpenPGP, below ENTREPOT_WORK_ROOTS of the worker, or a signer's URI.",
        examples=["release.key"],
    )


class UpstreamLoginBlock(FileBlock):
    """Where the login for an upstream is. The login itself stays on the machines that sync."""

    _block_type_name: ClassVar[str] = "Entrepôt upstream login"
    _block_type_slug: ClassVar[str] = "entrepot-upstream-login"
    _description: ClassVar[str] = (
        "File of logins on the workers' machines, for the forms of Entrepôt. It holds no login."
    )

    file: str = Field(
        title="File",
        pattern=_ONE_LINE,
        description="File of logins, as `podman login --authfile` writes it, below ENTREPOT_WORK_ROOTS of the worker.",
        examples=["upstream-auth.json"],
    )


BLOCKS: Mapping[str, type[FileBlock]] = {
    "entrepot-signing-key": SigningKeyBlock,
    "entrepot-upstream-login": UpstreamLoginBlock,
}


def register_blocks() -> None:
    """Make our types of blocks known to the server of PREFECT_API_URL, so that its page offers them."""
    for kind in BLOCKS.values():
        kind.register_type_and_schema()


async def resolve_blocks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a form with the texts of blocks that they name; raise InvalidInput for a block of another type."""
    return {name: await _resolve(name, value) for name, value in fields.items()}


async def _resolve(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or value.keys() != {_REFERENCE}:
        return value
    try:
        found: object = await Block.aload_from_ref(value[_REFERENCE])
    except (ValueError, RuntimeError, TypeError):
        raise InvalidInput(f"{name}: the block is not there any more") from None
    if not isinstance(found, FileBlock) or type(found) not in BLOCKS.values():
        raise InvalidInput(f"{name}: expected a block of the type {' or '.join(BLOCKS)}")
    return found.as_field()
