"""The form of a curation: the parameters of the flow, the options of the command."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from catalog.content.edits import Edits, TagEdit
from catalog.filters.filter import Filter
from catalog.filters.selector import Selector
from catalog.parsed_text import checked
from flows.forms.faults import misfit
from flows.forms.fields import RepositoryName, SelectorText, TagName, TagPatternField
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Metavar, Option
from flows.forms.shapes import DIGEST, TAG_EDIT, Shape
from flows.forms.shared_fields import DryRun, Expect
from oci.digest import Digest


class CurateSource(Filters):
    """A repository with filters of its own, as a list of sources holds it."""

    repository: RepositoryName = Field(title="Repository", description="Repository to select from.")
    tags: tuple[TagName, ...] = Field(
        default=(), title="Tags", description="Select these tags, besides what the filters select."
    )
    digests: tuple[Annotated[str, AfterValidator(checked(Digest.parse)), Shape(DIGEST)], ...] = Field(
        default=(), title="Digests", description="Select these manifests."
    )

    @model_validator(mode="after")
    def _check_platforms(self) -> "CurateSource":
        if self.platforms:
            raise misfit("{platforms} hold for all sources: set them beside the list")
        return self

    @property
    def selectors(self) -> list[Selector]:
        """Return what is selected: what is named, and what the filters select if there are any or nothing is named."""
        named = [Selector(self.repository, tag) for tag in self.tags]
        named += [Selector(self.repository, digest=Digest(text)) for text in self.digests]
        filtered = [Selector(self.repository, wanted=self.wanted)] if not named or self.wanted != Filter() else []
        return named + filtered


class CurateRequest(Filters):
    """Make a version of a repository from tags and digests of repositories here. Nothing is copied."""

    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("sources", "include", "exclude", "newest", "platforms", "mode", "dry_run", "tag", "untag", "remove"),
        ("allow_empty", "expect"),
    )

    repository: Annotated[RepositoryName, Argument("NAME", completes="repository")] = Field(
        title="Repository", description="Repository that gets the new version."
    )
    sources: Annotated[tuple[SelectorText | CurateSource, ...], Argument("SOURCE", completes="tag")] = Field(
        default=(),
        title="Sources",
        description="Content to select: `NAME` (filtered), `NAME:TAG`, `NAME@DIGEST` or `NAME:TAG@DIGEST`. "
        "Default: edit the latest version.",
    )
    mode: Mode = Field(
        default="mirror",
        title="Mode",
        description="`mirror` makes the version exactly the selection; `additive` keeps what is there.",
    )
    tag: Annotated[
        tuple[
            Annotated[
                str, AfterValidator(checked(TagEdit.parse)), Shape(TAG_EDIT, ("stable=v1.4",)), Metavar("NEW=TAG")
            ],
            ...,
        ],
        Option("--tag"),
    ] = Field(
        default=(), title="Tag", description="Set a tag after the selection: `NEW=TAG` or `NEW=DIGEST`. Repeatable."
    )
    untag: tuple[TagPatternField, ...] = Field(
        default=(), title="Untag", description="Remove tags that match; their content stays. Repeatable."
    )
    remove: tuple[TagPatternField, ...] = Field(
        default=(),
        title="Remove",
        description="Remove tags that match, or a digest, with content that belongs to them alone. Repeatable.",
    )
    allow_empty: bool = Field(default=False, title="Allow empty", description="Allow a version without content.")
    expect: Expect = ""
    dry_run: DryRun = False

    @model_validator(mode="after")
    def _check_sources(self) -> "CurateRequest":
        if not self.sources and not self.edits:
            raise misfit("expected {sources}, or an edit: {tag}, {untag}, {remove}")
        if not self.sources and (self.wanted != Filter() or self.platforms):
            raise misfit("filters need {sources}")
        return self

    @property
    def edits(self) -> Edits:
        """Return the edits of the content after the selection."""
        return Edits(tuple(map(TagEdit.parse, self.tag)), self.untag, self.remove)

    @property
    def selectors(self) -> list[Selector]:
        """Return what is selected."""
        return [
            selector
            for one in self.sources
            for selector in (one.selectors if isinstance(one, CurateSource) else [Selector.parse(one)])
        ]
