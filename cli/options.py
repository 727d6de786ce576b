"""Options that many commands take, the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from cli import completion

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Folder of all local state; default: ENTREPOT_HOME.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say for each tag whether it is selected, and by which rule; do nothing.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report what would change, and change nothing.")]
Repository = Annotated[
    str, typer.Argument(metavar="NAME", help="A repository's name.", autocompletion=completion.repositories)
]
PathPatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Paths: team/app, team/* (one part) or team/** (any).")
]


def new_group(help_text: str) -> typer.Typer:
    """Return a command group: a noun whose commands are verbs."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)
