"""The form of a migration from a folder: the parameters of the flow, the options of the commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.parsed_text import explained
from flows.forms.fields import PathPatternField
from flows.forms.modes import OnError
from flows.forms.parameters import Argument, Option, SetBy
from flows.forms.shared_fields import DryRun
from oci.reference import parse_name

if TYPE_CHECKING:
    from oci.folders.docker_registry import RegistryStorage
    from oci.folders.image_layouts import ImageLayouts

FolderKind = Literal["docker-registry", "oci-layouts"]
"""What a folder is: the storage of docker-registry, or a folder of OCI image layouts."""

Include = Annotated[
    tuple[PathPatternField, ...],
    Field(
        title="Include",
        description="Migrate repositories that match this path pattern. Default: every repository. Repeatable.",
    ),
]
Exclude = Annotated[
    tuple[PathPatternField, ...],
    Field(title="Exclude", description="Exclude repositories that match; takes precedence. Repeatable."),
]
Prefix = Annotated[
    str,
    Option(metavar="NAME"),
    Field(
        title="Prefix",
        description="Put this before the names of repositories here: `moved` makes `moved/team/app`.",
    ),
]
Private = Annotated[
    bool,
    Field(title="Private", description="Make new repositories private, as with ENTREPOT_NEW_REPOSITORIES=private."),
]
Skipping = Annotated[
    OnError,
    Field(
        title="On error",
        description="When part of a repository is broken: `fail` leaves that repository out; `skip` takes the rest of it.",
    ),
]
AtOnce = Annotated[
    int, Option(metavar="N"), Field(ge=1, le=64, title="At once", description="Copy this many repositories at once.")
]


class MigrationForm(BaseModel):
    """Say which repositories move in, and under which names: what all migrations have."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    include: Include = ()
    exclude: Exclude = ()
    prefix: Prefix = ""
    private: Private = False
    on_error: Skipping = "fail"
    at_once: AtOnce = 4
    dry_run: DryRun = False

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, text: str) -> str:
        if text:
            explained(parse_name, text)
        return text

    def target(self, name: str) -> str:
        """Return the name here of a repository there; raise NameInvalid for one that is too long."""
        return parse_name(f"{self.prefix}/{name}" if self.prefix else name)


class FolderMigrationRequest(MigrationForm):
    """Copy repositories out of a folder that another registry or tool has left."""

    kind: Annotated[FolderKind, SetBy("command")] = Field(title="Kind", description="What the folder is.")
    folder: Annotated[Path, Argument("FOLDER", absolute=True)] = Field(
        title="Folder", description="The folder; it is only read. Links in it are not followed."
    )
    untagged: Annotated[bool, Option("--untagged/--no-untagged")] = Field(
        default=True, title="Untagged", description="Take manifests along that no tag leads to."
    )

    def open(self, folder: Path) -> "RegistryStorage | ImageLayouts":
        """Return the folder, opened as what it is; raise LayoutInvalid."""
        from oci.folders.docker_registry import RegistryStorage
        from oci.folders.image_layouts import ImageLayouts

        return RegistryStorage(folder) if self.kind == "docker-registry" else ImageLayouts(folder)
