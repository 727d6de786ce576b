"""Opens what commands on accounts and rules work with; the first of them makes the administrator, as the first start does."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.catalog import opened
from cli.output import say
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from catalog.access.administration import Administration
    from catalog.catalog import Catalog
    from catalog.webhooks.administration import WebhookAdministration

ACTOR = "command line"
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
]


@contextmanager
def administering(home: Path | None) -> "Iterator[tuple[Administration, Catalog]]":
    """Yield the administration of accounts and rules, and the open catalogue."""
    from catalog.access.administration import Administration
    from catalog.access.store import ADMINISTRATOR, AccessStore, ensure_administrator, password_file

    with opened(home, may_be_new=True) as catalog:
        if ensure_administrator(catalog.settings, catalog.state):
            say(f"made the administrator {ADMINISTRATOR}; the password is in {password_file(catalog.settings)}")
        access = AccessStore(catalog.settings, catalog.state)
        yield Administration(access, catalog.events, actor=ACTOR, now=lambda: datetime.now(UTC)), catalog


@contextmanager
def administering_webhooks(home: Path | None) -> "Iterator[tuple[WebhookAdministration, Catalog]]":
    """Yield the administration of hooks and subscriptions, and the open catalogue."""
    from catalog.webhooks.administration import WebhookAdministration
    from catalog.webhooks.queue import open_queue
    from catalog.webhooks.records import open_event_records

    with opened(home, may_be_new=True) as catalog, open_queue(catalog.settings, catalog.state) as queue:
        records = open_event_records(catalog.settings, catalog.state)
        yield WebhookAdministration(records, queue, catalog.events, actor=ACTOR, now=lambda: datetime.now(UTC)), catalog


def read_password(*, from_stdin: bool) -> str:
    """Ask for a new password twice, or take the first line of standard input; raise InvalidInput."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask for the password; give it by --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidInput("the two passwords differ")
    return password
