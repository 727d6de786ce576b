"""What a push is asked to do: the parameters of the flow, and the form that Prefect's UI makes of them."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from catalog.filters.filter import Filter
from catalog.filters.pick import Pick
from catalog.parsed_text import checked, explained
from catalog.path_patterns import PathPattern
from flows.forms.fields import COMPANIONS, PATH_PATTERNS, CompanionText, LabelText
from flows.forms.filters import Filters
from flows.forms.modes import Mode, OnError
from oci.remote.address import Remote, parse_remote


class PushRequest(Filters):
    """Make another registry hold what paths here serve. It holds no credentials: those come from settings."""

    target: str = Field(
        title="Target",
        description="The other registry, `registry.example[/prefix]`, below which every path keeps its name; with a source, the "
        "repository itself.",
        examples=["registry.example/mirror"],
        json_schema_extra={"pattern": r"^([a-z]+://)?[^/@]+(/[^@]*)?$"},
    )
    source: Annotated[str, AfterValidator(lambda text: text and checked(Pick.parse)(text))] = Field(
        default="",
        title="Source",
        description="One path or repository here instead of many, `team/app`; with `:tag` or `@digest`, that one.",
    )
    paths: tuple[PathPattern, ...] = Field(
        default=(), title="Paths", description=f"Paths to push; none: every path. {PATH_PATTERNS}"
    )
    exclude_paths: tuple[PathPattern, ...] = Field(
        default=(), title="Exclude paths", description="Paths to leave out, as patterns; stronger than paths."
    )
    path_labels: tuple[LabelText, ...] = Field(
        default=(), title="Path labels", description="Labels that a path must have, `KEY` or `KEY=VALUE`; all of them."
    )
    private: bool = Field(
        default=False,
        title="Private",
        description="Take private paths too; without, they are left out unless named as the source.",
    )
    companions: tuple[CompanionText, ...] = Field(default=("*",), title="Companions", description=COMPANIONS)
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`additive` leaves other tags at the target; `mirror` deletes them there, where the registry deletes.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would be pushed, and push nothing.")
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a tag's content cannot be pushed: `fail` sets and deletes no tag at all, `skip` sets the others.",
    )

    @field_validator("target")
    @classmethod
    def _check_target(cls, text: str) -> str:
        if "@" in text:
            raise ValueError(
                "leave credentials out of the target; they are read from auth.json, config.json or ENTREPOT_LOGINS"
            )
        text = text.rstrip("/")
        explained(parse_remote, text if _has_path(text) else f"{text}/name")
        return text

    @model_validator(mode="after")
    def _check_together(self) -> "PushRequest":
        if not self.source:
            if _has_path(self.target) and parse_remote(self.target).reference.tag:
                raise ValueError("a target below which paths are pushed has no tag")
            return self
        if self.paths or self.exclude_paths or self.path_labels or self.private:
            raise ValueError("a source is one path, so that there are no paths, labels or private ones to choose")
        if not _has_path(self.target):
            raise ValueError(
                f"name the repository that the source goes to, such as {self.target}/{self.pick.repository}"
            )
        if self.remote("").reference.tag and not self.is_pinned:
            raise ValueError("a target's tag is for a source that names one tag or digest")
        if self.is_pinned and self.wanted != Filter():
            raise ValueError("a source that names one tag or digest has no tags to choose from")
        return self

    @model_validator(mode="after")
    def _check_platforms(self) -> "PushRequest":
        if self.platforms:
            raise ValueError("a push sends images whole; curate a repository of the platforms first, and push that")
        return self

    @property
    def pick(self) -> Pick:
        """The source, parsed; only where there is one."""
        return Pick.parse(self.source)

    @property
    def is_pinned(self) -> bool:
        """True where the source names one tag or digest."""
        return bool(self.source) and bool(self.pick.tag or self.pick.digest)

    def remote(self, path: str) -> Remote:
        """Return where a path goes: below the target, or with a source to the target itself."""
        return parse_remote(self.target if self.source else f"{self.target}/{path}")

    @property
    def host(self) -> str:
        """host[:port] of the target."""
        return self.remote("name").host


def _has_path(target: str) -> bool:
    return "/" in target.rpartition("://")[2]
