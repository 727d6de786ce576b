"""`entrepot access`: the rules, what decides, and whose identity tokens are taken."""

from typing import Annotated

import typer

from cli.administrator import administering
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, print_table

group = new_group("Manage access rules and trusted identity tokens.")
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="ACTIONS:PATTERN", help="Limit the login to these actions and paths. Repeatable."),
]


@group.command("allow")
def allow(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="user:NAME, robot:NAME, group:NAME, users (logged in) or anyone.")
    ],
    actions: Annotated[
        str, typer.Argument(metavar="ACTIONS", help="Actions to allow: pull, push, delete, admin, separated by commas.")
    ],
    patterns: Annotated[
        list[str],
        typer.Argument(metavar="PATTERN...", help="Paths: team/app, team/* (one part), team/** (all below), **."),
    ],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Add a rule that allows actions on paths.

    Only rules allow anything, besides pulls of public distributions.

    Example: entrepot access allow user:alice pull,push 'team/**'
    """
    from catalog.access.policy import Grant, parse_actions, parse_subject
    from catalog.path_patterns import parse_path_glob

    grant = Grant(actions=parse_actions(actions), patterns=tuple(map(parse_path_glob, patterns)))
    with administering(home) as (admin, _):
        made = admin.add_rule([parse_subject(subject)], grant)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        print_line(f"rule {made.id}: {subject} may {grant}")


@group.command("list")
def list_rules(*, home: Home = None, as_json: Json = False) -> None:
    """List the rules.

    Example: entrepot access list
    """
    with administering(home) as (admin, _):
        rules = admin.policy.rules
    if as_json:
        print_json([rule.model_dump(mode="json") for rule in rules])
        return
    print_table(
        ("ID", "SUBJECTS", "ACTIONS", "PATTERNS"),
        [
            (rule.id, " ".join(rule.subjects), ",".join(rule.grant.actions), " ".join(rule.grant.patterns))
            for rule in rules
        ],
    )


@group.command("remove")
def remove(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="The rule's id.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remove a rule, from the next request on.

    Example: entrepot access remove RULE_ID
    """
    with administering(home) as (admin, _):
        admin.remove_rule(rule_id)
    print_json({"removed": rule_id}) if as_json else print_line(f"removed: rule {rule_id}")


@group.command("explain")
def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="User or robot; `anyone` for an anonymous caller.")],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="pull, push, delete or admin.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Path as clients write it after the registry's host.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Explain whether a user may act, and which rule decides.

    Example: entrepot access explain alice push team/app
    """
    from catalog.access.administration import find_account
    from catalog.access.policy import ANYONE, Caller, decide_access, parse_actions
    from oci.errors import InvalidInput
    from oci.reference import parse_name

    wanted = parse_actions(action)
    if len(wanted) != 1:
        raise InvalidInput("ask about one action at a time")
    account = "" if user == ANYONE else user
    with administering(home) as (admin, catalog):
        policy = admin.policy
        if account:
            find_account(policy, account)
        past = catalog.time_travel.parse(parse_name(name))
        path = past.path if past is not None else name
        found = catalog.distributions.find(path) or catalog.distributions.find_cache(path)
        public = catalog.time_travel.is_open(past) if past is not None else found is not None and not found.private
        decided = decide_access(policy, Caller(account), wanted[0], path, public=public)
    if as_json:
        print_json({"user": user, "action": action, "name": name, "allowed": decided.allowed, "reason": decided.reason})
        return
    print_fields({"answer": "allowed" if decided.allowed else "denied", "because": decided.reason})


@group.command("trust")
def trust(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the trust.")],
    issuer: Annotated[
        str, typer.Argument(metavar="ISSUER", help="URL of the OpenID Connect issuer, as in the tokens' iss.")
    ],
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="User or robot that the token logs in as.")],
    *,
    audience: Annotated[str, typer.Option(metavar="TEXT", help="Required `aud` claim of the tokens.")],
    claims: Annotated[
        list[str],
        typer.Option("--claim", metavar="NAME=GLOB", help="Require this claim. Repeatable; at least one."),
    ],
    scopes: Scopes = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Trust identity tokens of a CI system as logins.

    The user name is `oidc` and the token the password; or the token is exchanged at /token.

    Example: entrepot access trust ci https://ci.a ci --audience a --claim sub=b
    """
    from catalog.access.policy import Trust, parse_account, parse_grant
    from oci.errors import InvalidInput

    pairs = dict(text.partition("=")[::2] for text in claims)
    if not all(pairs) or not all(pairs.values()):
        raise InvalidInput("a claim is NAME=GLOB, such as repository_owner=acme")
    made = Trust(
        name=parse_account(name),
        issuer=issuer,
        audience=audience,
        claims=pairs,
        account=parse_account(account),
        grants=tuple(parse_grant(text) for text in scopes or ()),
    )
    with administering(home) as (admin, _):
        admin.add_trust(made)
    print_json(made.model_dump(mode="json")) if as_json else print_line(f"tokens of {issuer} log in as {account}")


@group.command("untrust")
def untrust(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The trust's name.")],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Stop trusting such identity tokens.

    Example: entrepot access untrust ci
    """
    with administering(home) as (admin, _):
        admin.remove_trust(name)
    print_json({"removed": name}) if as_json else print_line(f"removed: trust {name}")


@group.command("rotate-key")
def rotate_key(
    *,
    retire: Annotated[
        bool, typer.Option("--retire", help="Forget the older keys, and so end all bearer tokens.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Rotate the key that signs bearer tokens.

    It happens by itself each 90 days.

    Example: entrepot access rotate-key
    """
    with administering(home) as (admin, _):
        made = admin.rotate_key(retire=retire)
    print_json({"key": made.id, "created_at": made.created_at}) if as_json else print_line(f"new key: {made.id}")
