"""`entrepot user` and `entrepot group`: who there is."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.administrator import PasswordStdin, administering, read_password
from cli.options import Home, Json, new_group
from cli.output import print_json, print_line, print_table, time_text

if TYPE_CHECKING:
    from catalog.access.policy import Account, Policy

group = new_group("Manage users, and robots that log in by tokens only.")
groups = new_group("Manage groups of users and robots for access rules.")
Account_ = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
Certificate = Annotated[
    str | None,
    typer.Option(
        metavar="SUBJECT", help="Subject of the client certificate that logs in as this account: `CN=bob,O=Acme`."
    ),
]


@group.command("list")
def list_users(*, home: Home = None, as_json: Json = False) -> None:
    """List users and robots.

    Example: entrepot user list
    """
    with administering(home) as (admin, _):
        policy = admin.policy
    found = [policy.accounts[name] for name in sorted(policy.accounts)]
    if as_json:
        print_json([account_json(policy, one) for one in found])
        return
    print_table(
        ("NAME", "KIND", "STATE", "GROUPS", "TOKENS", "CREATED"),
        [
            (
                one.name,
                "robot" if one.robot else "user",
                "disabled" if one.disabled else "",
                " ".join(_groups_of(policy, one.name)),
                sum(token.owner == one.name for token in policy.tokens.values()),
                time_text(one.created_at),
            )
            for one in found
        ],
    )


@group.command("add")
def add_user(
    name: Account_,
    *,
    robot: Annotated[
        bool, typer.Option("--robot", help="Without a password; `entrepot token add` makes its logins.")
    ] = False,
    certificate: Certificate = None,
    password_stdin: PasswordStdin = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Add a user or a robot.

    A user's password is asked for. Rules (`entrepot access allow`) say what the account may do.

    Example: entrepot user add alice
    """
    password = None if robot else read_password(from_stdin=password_stdin)
    with administering(home) as (admin, _):
        made = admin.add_account(name, password=password, certificate=certificate or "")
        policy = admin.policy
    _tell(policy, made, "created", as_json=as_json)


@group.command("set")
def set_user(
    name: Account_,
    *,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new password.")] = False,
    password_stdin: PasswordStdin = False,
    certificate: Certificate = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable", help="Refuse or allow logins.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change an account.

    A new password, and disabling the account, end its logins.

    Example: entrepot user set alice --disable
    """
    new = read_password(from_stdin=password_stdin) if password or password_stdin else None
    with administering(home) as (admin, _):
        made = admin.change_account(name, password=new, certificate=certificate, disabled=disabled)
        policy = admin.policy
    _tell(policy, made, "changed", as_json=as_json)


@group.command("delete")
def delete_user(name: Account_, *, home: Home = None, as_json: Json = False) -> None:
    """Delete an account, its tokens, memberships and rules.

    Example: entrepot user delete alice
    """
    with administering(home) as (admin, _):
        admin.remove_account(name)
    print_json({"deleted": name}) if as_json else print_line(f"deleted: {name}")


@groups.command("list")
def list_groups(*, home: Home = None, as_json: Json = False) -> None:
    """List groups and their members.

    Example: entrepot group list
    """
    with administering(home) as (admin, _):
        found = admin.policy.groups
    if as_json:
        print_json({name: list(found[name]) for name in sorted(found)})
        return
    print_table(("NAME", "MEMBERS"), [(name, " ".join(found[name])) for name in sorted(found)])


@groups.command("set")
def set_group(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The group's name.")],
    members: Annotated[list[str] | None, typer.Argument(metavar="[MEMBER]...", help="All its members.")] = None,
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a group or replace its members.

    Example: entrepot group set developers alice
    """
    from catalog.access.policy import parse_account

    with administering(home) as (admin, _):
        admin.set_group(parse_account(name), members or [])
    print_json({"name": name, "members": members or []}) if as_json else print_line(
        f"{name}: {' '.join(members or ['nobody'])}"
    )


@groups.command("delete")
def delete_group(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The group's name.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete a group, and the rules that name nobody else.

    Example: entrepot group delete developers
    """
    with administering(home) as (admin, _):
        admin.remove_group(name)
    print_json({"deleted": name}) if as_json else print_line(f"deleted: {name}")


def account_json(policy: "Policy", one: "Account") -> dict[str, object]:
    """Return an account as JSON, without secrets."""
    return {
        "name": one.name,
        "robot": one.robot,
        "disabled": one.disabled,
        "certificate": one.certificate,
        "groups": _groups_of(policy, one.name),
        "tokens": [token.id for token in policy.tokens.values() if token.owner == one.name],
        "created_at": one.created_at,
    }


def _groups_of(policy: "Policy", name: str) -> list[str]:
    return sorted(one for one, members in policy.groups.items() if name in members)


def _tell(policy: "Policy", made: "Account", what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(account_json(policy, made))
    else:
        print_line(f"{what}: {'robot' if made.robot else 'user'} {made.name}{' (disabled)' if made.disabled else ''}")
