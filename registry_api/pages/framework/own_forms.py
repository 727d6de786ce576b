"""Forms that our own pages made for a visitor; those of other sites and other visitors are refused."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from fastapi import Request

from oci.errors import Denied, InvalidInput
from registry_api.http.bodies import read_whole
from registry_api.http.messages import announced_length
from registry_api.pages.framework.sessions import is_own_form
from registry_api.pages.framework.visits import Visit

_LARGEST = 32 * 1024
_MOST_FIELDS = 150
_TOO_OLD = "this form is too old, or was not made by this site; open its page again"


class OwnForm:
    """The fields of a form that was checked."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str:
        """Return a field's first value, empty where there is none."""
        return self._fields.get(name, ("",))[0]

    def all(self, name: str) -> Sequence[str]:
        """Return all values of a field."""
        return self._fields.get(name, ())

    def number(self, name: str) -> int:
        """Return a field that is a version's number; raise InvalidInput."""
        text = self.get(name)
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise InvalidInput(f"invalid {name} {text[:40]!r}: expected a number")
        return int(text)


async def read_session_form(request: Request, visit: Visit) -> OwnForm:
    """Return the fields of a form that takes a session; where there is none, raise Denied before its body is read."""
    if visit.session is None:
        raise Denied(_TOO_OLD)
    return await read_own_form(request, visit)


async def read_own_form(request: Request, visit: Visit) -> OwnForm:
    """Return a form's fields; raise Denied unless one of our own pages made it for this visitor, InvalidInput for no form."""
    raw = await read_whole(request.receive, limit=_LARGEST, announced=announced_length(request.scope))
    try:
        fields = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InvalidInput(f"invalid form: expected UTF-8 and at most {_MOST_FIELDS} fields") from None
    form = OwnForm(fields)
    if any("\0" in value for values in fields.values() for value in values):
        raise InvalidInput("the form holds a NUL; send it without")
    if not is_own_form(visit.registry.access.store.policy, visit.form_id, form.get("form_token")):
        raise Denied(_TOO_OLD)
    return form


def is_cross_site(request: Request) -> bool:
    """Return whether a page of another site has made the browser ask (Fetch Metadata). Pure."""
    return request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
