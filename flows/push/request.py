"""The form of a push: the parameters of the flow, the options of the command."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from catalog.filters.filter import Filter
from catalog.filters.selector import Selector
from catalog.parsed_text import checked, explained
from flows.forms.faults import credentials_left_out, misfit
from flows.forms.fields import LabelText, PathPatternField
from flows.forms.filters import Filters
from flows.forms.modes import Mode, OnError
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Option
from flows.forms.shapes import CONTENT_OR_NOTHING, TARGET, Shape
from flows.forms.shared_fields import Companions, DryRun
from oci.remote.address import Remote, parse_remote


class PushRequest(Filters):
    """Push what paths here serve to another registry. Credentials come from the settings."""

    field_order: ClassVar[FieldOrder] = FieldOrder(
        (
            "source",
            "paths",
            "exclude_paths",
            "include",
            "exclude",
            "mode",
            "dry_run",
            "private",
            "path_labels",
            "on_error",
        )
    )

    source: Annotated[
        str,
        Shape(CONTENT_OR_NOTHING, ("team/app:v1.4",)),
        AfterValidator(lambda text: text and checked(Selector.parse)(text)),
        Argument("[SOURCE]", is_required=False, completes="tag"),
    ] = Field(
        default="",
        title="Source",
        description="Push this path only: `NAME[:TAG][@DIGEST]`. Default: every path that the path filters select.",
    )
    target: Annotated[str, Shape(TARGET, ("registry.example/mirror",)), Argument("TARGET", is_required=False)] = Field(
        title="Target",
        description="The other registry: `registry.example/team/app[:tag]` for one path, `registry.example[/prefix]` for many.",
    )
    paths: Annotated[tuple[PathPatternField, ...], Option("--path")] = Field(
        default=(),
        title="Paths",
        description="Push paths that match this path pattern. Default: every path. Repeatable.",
    )
    exclude_paths: Annotated[tuple[PathPatternField, ...], Option("--exclude-path")] = Field(
        default=(), title="Exclude paths", description="Exclude paths that match; takes precedence. Repeatable."
    )
    path_labels: Annotated[tuple[LabelText, ...], Option("--path-label")] = Field(
        default=(), title="Path labels", description="Push paths that have this label. Repeatable: all must hold."
    )
    private: bool = Field(default=False, title="Private", description="Push private paths too.")
    companions: Companions = ("*",)
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`mirror` deletes tags at the target that are not here; `additive` keeps them.",
    )
    dry_run: DryRun = False
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a tag cannot be pushed: `fail` sets no tag at all; `skip` sets the other tags.",
    )

    @field_validator("target")
    @classmethod
    def _check_target(cls, text: str) -> str:
        if "@" in text:
            raise ValueError(credentials_left_out("target"))
        text = text.rstrip("/")
        explained(parse_remote, text if _has_path(text) else f"{text}/name")
        return text

    @model_validator(mode="after")
    def _check_together(self) -> "PushRequest":
        if not self.source:
            if _has_path(self.target) and parse_remote(self.target).reference.tag:
                raise misfit("{target}: expected no tag, unless {source} names one path")
            return self
        if self.paths or self.exclude_paths or self.path_labels or self.private:
            raise misfit("{source} excludes {paths}, {exclude_paths}, {path_labels} and {private}")
        if not _has_path(self.target):
            raise misfit(f"{{target}}: expected a repository, such as {self.target}/{self.selector.repository}")
        if self.remote("").reference.tag and not self.is_pinned:
            raise misfit("{target}: expected no tag, unless {source} names one tag or digest")
        if self.is_pinned and self.wanted != Filter():
            raise misfit("{source} names one tag or digest: expected no filters")
        return self

    @model_validator(mode="after")
    def _check_platforms(self) -> "PushRequest":
        if self.platforms:
            raise misfit(
                "{platforms}: a push sends whole images; curate a repository of these platforms, and push that"
            )
        return self

    @property
    def selector(self) -> Selector:
        """Return the source, parsed; only where there is one."""
        return Selector.parse(self.source)

    @property
    def is_pinned(self) -> bool:
        """Return whether the source names one tag or digest."""
        return bool(self.source) and bool(self.selector.tag or self.selector.digest)

    def remote(self, path: str) -> Remote:
        """Return where a path goes: below the target, or with a source to the target itself."""
        return parse_remote(self.target if self.source else f"{self.target}/{path}")

    @property
    def host(self) -> str:
        """host[:port] of the target."""
        return self.remote("name").host


def _has_path(target: str) -> bool:
    return "/" in target.rpartition("://")[2]
