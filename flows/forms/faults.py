"""Faults that concern several fields of a form: what reads the form names each field in its own way."""

import re
from collections.abc import Callable

from pydantic_core import PydanticCustomError

MISFIT = "fields_misfit"


def misfit(text: str) -> PydanticCustomError:
    """Return an error for a validator to raise; `{newest}` in `text` stands for the field of that name.

    A form shows `newest_by needs newest`; a command line shows `--newest-by needs --newest`.
    """
    return PydanticCustomError(MISFIT, "{shown}", {"shown": fill_names(text, lambda name: name), "text": text})


def fill_names(text: str, name_of: Callable[[str], str]) -> str:
    """Return the text with each field in braces as `name_of` names it."""
    return re.sub(r"\{(\w+)\}", lambda found: name_of(found[1]), text)


def credentials_left_out(what: str) -> str:
    """Return the message for an address that holds a login, which Prefect would show; `what` names the address."""
    return f"leave credentials out of the {what}; they are read from auth.json, config.json or ENTREPOT_LOGINS"
