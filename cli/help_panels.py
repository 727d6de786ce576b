"""Command groups of `entrepot --help`: each command under the heading of its panel, its first line never cut."""

from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import HelpFormatter

OPERATE, CONTENT, ACCESS, STORAGE, ASK = PANELS = ("Operate", "Content", "Access", "Storage", "Ask")


class PanelGroup(TyperGroup):
    """A command group whose plain help lists the commands by panel."""

    def format_commands(self, ctx: object, formatter: "HelpFormatter") -> None:  # noqa: ARG002  # the name is typer's
        """Write one section for each panel, in the order of PANELS."""
        for panel in PANELS:
            rows = [
                (name, (command.help or "").partition("\n")[0])
                for name, command in self.commands.items()
                if panel_of(command) == panel and not command.hidden
            ]
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)


def panel_of(command: object) -> str | None:
    """Return the panel that a command was registered under."""
    panel = getattr(command, "rich_help_panel", None) if isinstance(command, TyperCommand | TyperGroup) else None
    return panel if isinstance(panel, str) else None
