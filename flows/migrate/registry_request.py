"""The forms of a migration from another product's registry: one for each product, with what all have in common."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from catalog.parsed_text import explained
from flows.forms.faults import credentials_left_out
from flows.forms.parameters import Argument, Metavar, Option, SetBy
from flows.migrate.folder_request import MigrationForm
from oci.remote.address import Remote, parse_remote

REFERENCE_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)?$"


def _check_url(text: str) -> str:
    if "@" in text:
        raise ValueError(credentials_left_out("URL"))
    text = text.rstrip("/")
    if "/" in text.rpartition("://")[2]:
        raise ValueError("expected a host without a path: https://registry.example")
    explained(parse_remote, f"{text}/name")
    return text


Untagged = Annotated[bool, Field(title="Untagged", description="Take manifests along that no tag leads to.")]

AccessFile = Annotated[
    Path | None,
    Option("--access", metavar="FILE", absolute=True),
    Field(
        title="Access",
        description="Write a new file for `entrepot apply` that proposes users, groups, robots and rules like those there. "
        "It has no secrets, and nothing of it is applied.",
    ),
]


class RegistryMigrationForm(MigrationForm):
    """Copy the repositories of another registry, found by its management API. Credentials come from the settings."""

    kind: Annotated[Literal["harbor", "pulp", "quay"], SetBy("command")] = Field(
        title="Kind", description="Whose API the registry has."
    )
    url: Annotated[str, AfterValidator(_check_url), Argument("URL")] = Field(
        title="URL",
        description="The registry: `https://registry.example[:port]`.",
        examples=["https://registry.example"],
        json_schema_extra={"pattern": r"^([a-z]+://)?[^/@]+/?$"},
    )

    def remote(self, path: str) -> Remote:
        """Return a repository there."""
        return parse_remote(f"{self.url}/{path}")

    @property
    def host(self) -> str:
        """host[:port] of the registry."""
        return self.remote("name").host


class HarborMigrationRequest(RegistryMigrationForm):
    """Copy the repositories of a Harbor, with what its projects say of them."""

    kind: Annotated[Literal["harbor"], SetBy("command")] = Field(
        title="Kind", description="Whose API the registry has."
    )
    rules: Annotated[bool, Option("--rules/--no-rules")] = Field(
        default=True, title="Rules", description="Take rules of retention and immutability, and quotas along."
    )
    untagged: Untagged = False
    access: AccessFile = None


class PulpMigrationRequest(RegistryMigrationForm):
    """Copy what the distributions of a Pulp serve."""

    kind: Annotated[Literal["pulp"], SetBy("command")] = Field(title="Kind", description="Whose API the registry has.")
    pulp_api: Annotated[str, Option(metavar="PATH")] = Field(
        default="",
        max_length=200,
        title="Pulp API",
        description="Path of Pulp's API, such as `/pulp/default/api/v3/`. Default: its usual place.",
        json_schema_extra={"pattern": r"^(/[A-Za-z0-9._~-]+)*/?$"},
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
    )
    untagged: Untagged = False
    access: AccessFile = None


class QuayMigrationRequest(RegistryMigrationForm):
    """Copy the repositories of namespaces of a Quay."""

    kind: Annotated[Literal["quay"], SetBy("command")] = Field(title="Kind", description="Whose API the registry has.")
    namespaces: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255), Metavar("NAME")], ...], Option("--namespace")
    ] = Field(
        default=(),
        title="Namespaces",
        description="Migrate this namespace: an organization or a user. Default: those of the token's user. Repeatable.",
    )
    api_token: Annotated[str, Option(metavar="REFERENCE")] = Field(
        default="",
        title="API token",
        description="Where the token of an OAuth application is read: `env:NAME` or `file:/PATH`. Default: none, public "
        "repositories only.",
        json_schema_extra={"pattern": REFERENCE_PATTERN},
    )

    access: AccessFile = None

    @field_validator("api_token")
    @classmethod
    def _check_token(cls, text: str) -> str:
        if not re.fullmatch(REFERENCE_PATTERN, text):
            raise ValueError("expected a reference, env:NAME or file:/PATH, not the token")
        return text


RegistryMigrationRequest = HarborMigrationRequest | PulpMigrationRequest | QuayMigrationRequest
"""The form of any of these products."""
