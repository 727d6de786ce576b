"""Every command of `entrepot`, by the module that has it; a module is loaded when its command is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module

import typer

from cli.help_panels import ACCESS, ASK, CONTENT, OPERATE, STORAGE


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them: `attribute` of `module`. `has_form`: its options are those of a flow's form."""

    module: str
    attribute: str
    panel: str
    has_form: bool = False

    def add_to(self, app: typer.Typer, name: str) -> None:
        """Load the module, and register what it has."""
        found = getattr(import_module(self.module), self.attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=self.panel)
        elif self.has_form:
            from cli.forms.command import FormCommand

            app.command(name, cls=FormCommand, rich_help_panel=self.panel)(found)
        else:
            app.command(name, rich_help_panel=self.panel)(found)


COMMANDS: Mapping[str, Command] = {
    "up": Command("cli.up", "up", OPERATE, has_form=True),
    "serve": Command("cli.serve", "serve", OPERATE),
    "worker": Command("cli.worker", "worker", OPERATE),
    "doctor": Command("cli.doctor.doctor", "doctor", OPERATE),
    "apply": Command("cli.configuration.apply", "apply", OPERATE),
    "export-config": Command("cli.configuration.export_config", "export_config", OPERATE),
    "import-config": Command("cli.imports.import_config", "import_config", OPERATE),
    "sync": Command("cli.operations.sync", "sync", CONTENT, has_form=True),
    "sync-many": Command("cli.operations.sync_many", "sync_many", CONTENT, has_form=True),
    "watch": Command("cli.operations.watch", "watch", CONTENT, has_form=True),
    "replicate": Command("cli.operations.replicate", "replicate", CONTENT, has_form=True),
    "push": Command("cli.operations.push", "push", CONTENT, has_form=True),
    "copy": Command("cli.operations.copy", "copy", CONTENT, has_form=True),
    "build": Command("cli.operations.build", "build", CONTENT, has_form=True),
    "curate": Command("cli.operations.curate", "curate", CONTENT, has_form=True),
    "promote": Command("cli.operations.promote", "promote", CONTENT, has_form=True),
    "export": Command("cli.operations.bundles", "export", CONTENT, has_form=True),
    "import": Command("cli.operations.bundles", "import_", CONTENT, has_form=True),
    "migrate": Command("cli.operations.migrate", "group", CONTENT),
    "repository": Command("cli.content.repository", "group", CONTENT),
    "version": Command("cli.content.version", "group", CONTENT),
    "tag": Command("cli.content.tag", "group", CONTENT),
    "sbom": Command("cli.content.sbom", "group", CONTENT),
    "inspect": Command("cli.content.inspect", "inspect", CONTENT),
    "distribution": Command("cli.content.distribution", "group", CONTENT),
    "remote": Command("cli.administration.remote", "group", OPERATE),
    "user": Command("cli.administration.user", "group", ACCESS),
    "group": Command("cli.administration.user", "groups", ACCESS),
    "token": Command("cli.administration.token", "group", ACCESS),
    "access": Command("cli.administration.access", "group", ACCESS),
    "quota": Command("cli.administration.quota", "group", STORAGE),
    "hold": Command("cli.administration.hold", "group", ACCESS),
    "lifecycle": Command("cli.administration.lifecycle", "group", CONTENT),
    "policy": Command("cli.administration.policy_gate", "group", ACCESS),
    "retention": Command("cli.administration.retention", "group", STORAGE),
    "event": Command("cli.administration.audit_event", "group", ASK),
    "hook": Command("cli.administration.hook", "group", OPERATE),
    "subscription": Command("cli.administration.subscription", "group", OPERATE),
    "automation": Command("cli.administration.automation", "group", OPERATE),
    "sign": Command("cli.operations.sign", "sign", CONTENT, has_form=True),
    "attest": Command("cli.operations.sign", "attest", CONTENT, has_form=True),
    "key": Command("cli.operations.key", "group", CONTENT),
    "verify": Command("cli.operations.verify", "verify", CONTENT, has_form=True),
    "catalog": Command("cli.storage.catalog", "group", STORAGE),
    "usage": Command("cli.storage.gc", "usage", STORAGE),
    "gc": Command("cli.storage.gc", "gc", STORAGE, has_form=True),
    "scrub": Command("cli.storage.scrub", "scrub", STORAGE, has_form=True),
    "maintain": Command("cli.storage.maintain", "maintain", STORAGE, has_form=True),
    "prefetch": Command("cli.storage.prefetch", "prefetch", STORAGE, has_form=True),
    "reclaim": Command("cli.storage.reclaim", "reclaim", STORAGE, has_form=True),
    "evict": Command("cli.storage.evict", "evict", STORAGE, has_form=True),
    "query": Command("cli.content.query", "query", ASK),
}


def names_for(arguments: Iterable[str]) -> Iterable[str]:
    """Return the names that a command line needs: of the command that it starts with, else all, for help and completion."""
    first = next((one for one in arguments if not one.startswith("-")), "")
    return [first] if first in COMMANDS else COMMANDS
