"""Options that many commands take, the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from cli import completion

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Folder of all local state; default: ENTREPOT_HOME.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Tags to take: a glob, re:REGEX, semver:RANGE or a digest; may be repeated.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Tags to leave out; stronger than those to take."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say for each tag whether it is selected, and by which rule; do nothing.")
]
CompanionTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--companions",
        metavar="TYPE",
        help="Of companions only these: signature, attestation, sbom, or globs of artifact types.",
    ),
]
NoCompanions = Annotated[
    bool, typer.Option("--no-companions", help="Leave signatures, SBOMs and attestations where they are.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Repository = Annotated[
    str, typer.Argument(metavar="NAME", help="A repository's name.", autocompletion=completion.repositories)
]


def new_group(help_text: str) -> typer.Typer:
    """A noun: its commands are the verbs."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)
