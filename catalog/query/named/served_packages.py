"""The question of served images that hold a package: by the command, and within paths and page by page for requests.

It is the named query `images-with-package`; a page of it is the same query with conditions around it.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Self

from catalog.distributions.records import Distribution
from catalog.query.named import find_named
from catalog.query.question import Question
from oci.errors import InvalidInput
from oci.unicode import is_fit

_NAME = "images-with-package"
_ALL = 2**31
"""Rows of which a page is a part; what a question copies is fewer."""

_PAGE = """SELECT path, tags, image, purl, version, sbom FROM ({named})
WHERE path IN (SELECT unnest(string_split($paths, ' ')))
    AND (path, image, purl, version, sbom) > ($last_path, $last_image, $last_purl, $last_version, $last_sbom)
ORDER BY path, image, purl, version, sbom LIMIT $rows"""


class PackageRow(NamedTuple):
    """What tells one row of the answer from the others, in their order."""

    path: str = ""
    image: str = ""
    purl: str = ""
    version: str = ""
    sbom: str = ""

    def dump(self) -> str:
        """Return it as text that a URL may hold."""
        return base64.urlsafe_b64encode(json.dumps(list(self)).encode()).decode()

    @classmethod
    def load(cls, text: str) -> Self:
        """Read what `dump` wrote, the row before all others for an empty text; raise InvalidInput."""
        try:
            values = json.loads(base64.b64decode(text, altchars=b"-_", validate=True)) if text else [""] * 5
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or len(values) != len(cls._fields) or not all(map(_is_text, values)):
            raise InvalidInput("invalid last: expected `last` of the page before")
        return cls(*values)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_fit(value)


def ask_served_packages(package: str, versions: str, limit: int) -> Question:
    """Return the question of all served images that hold a package. Pure."""
    return find_named(_NAME).question({"package": package, "versions": versions, "limit": limit})


def ask_packages_of(
    served: Iterable[Distribution], package: str, versions: str, *, after: PackageRow, limit: int
) -> Question:
    """Return the question of a page of the images that some paths serve. Pure.

    The repositories of other paths are not looked at.
    """
    whole = ask_served_packages(package, versions, _ALL)
    shown = list(served)
    more = {f"last_{name}": value for name, value in after._asdict().items()}
    return replace(
        whole,
        sql=_PAGE.format(named=whole.sql),
        parameters={**whole.parameters, **more, "paths": " ".join(one.path for one in shown), "rows": limit},
        within=tuple(sorted({one.repository for one in shown})),
    )
