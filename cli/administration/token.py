"""`entrepot token`: secrets that stand for an account's password, narrower and for a time."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.administrator import administering
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table, say, time_text
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from catalog.access.policy import Token

_LONGEST = timedelta(days=10_000)
group = new_group("Manage tokens, the revocable logins of an account.")


@group.command("add")
def add_token(
    owner: Annotated[str, typer.Argument(metavar="ACCOUNT", help="User or robot that the token logs in as.")],
    *,
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="ACTIONS:PATTERN", help="Limit the token to this scope: `pull,push:team/**`. Repeatable."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends: 90d, 12h or 2027-01-31; default: never."),
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a token and show its secret once.

    The secret is the password to log in with; it is kept nowhere.

    Example: entrepot token add alice
    """
    from catalog.access.policy import parse_grant

    grants = [parse_grant(text) for text in scopes or ()]
    lifetime = None if expires is None else _read_lifetime(expires, datetime.now(UTC))
    with administering(home) as (admin, _):
        made = admin.add_token(owner, grants=grants, lifetime=lifetime, note=note)
    if as_json:
        print_json({**token_json(made.token), "secret": made.secret})
        return
    print_fields({"id": made.token.id, "user name": owner, "password": made.secret, "expires": _expiry(made.token)})
    say("keep the password now: it cannot be shown again")


@group.command("list")
def list_tokens(
    owner: Annotated[str, typer.Argument(metavar="[ACCOUNT]", help="Only this account's.")] = "",
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List tokens without their secrets.

    Example: entrepot token list
    """
    with administering(home) as (admin, _):
        found = [token for token in admin.policy.tokens.values() if owner in {"", token.owner}]
    if as_json:
        print_json([token_json(one) for one in found])
        return
    print_table(
        ("ID", "ACCOUNT", "SCOPES", "EXPIRES", "NOTE"),
        [(one.id, one.owner, "; ".join(map(str, one.grants)) or "all", _expiry(one), one.note) for one in found],
    )


@group.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Revoke a token at once.

    Example: entrepot token revoke TOKEN_ID
    """
    with administering(home) as (admin, _):
        admin.revoke_token(token_id)
    print_json({"revoked": token_id}) if as_json else print_line(f"revoked: {token_id}")


def token_json(token: "Token") -> dict[str, object]:
    """Return a token as JSON, without its secret."""
    return {
        "id": token.id,
        "owner": token.owner,
        "scopes": [str(grant) for grant in token.grants],
        "note": token.note,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }


def _read_lifetime(text: str, now: datetime) -> timedelta:
    """Return for how long from now on a token is good; raise InvalidInput."""
    from catalog.units import parse_age

    parsed = parse_age(text)
    lifetime = parsed - now if isinstance(parsed, datetime) else parsed
    if not timedelta() < lifetime <= _LONGEST:
        raise InvalidInput(f"invalid expiry {text[:40]!r}: expected a moment to come, such as 90d or 2027-01-31")
    return lifetime


def _expiry(token: "Token") -> str:
    return time_text(token.expires_at) if token.expires_at else "never"
