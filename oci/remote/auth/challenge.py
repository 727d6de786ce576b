"""WWW-Authenticate challenges. Source: RFC 9110 section 11.6.1; distribution token specification."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*({_NAME})(?=\s|,|$)")
_PARAMETER = re.compile(rf"""\s*({_NAME})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)""")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way of authenticating that a server offers; `scheme` and the names of parameters in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read all challenges of all WWW-Authenticate lines; what is not one is passed over."""
    found: list[Challenge] = []
    for header in headers:
        position = 0
        while match := _SCHEME.match(header, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(header, position):
                name, quoted, plain = parameter.groups()
                parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                position = parameter.end()
            found.append(Challenge(match[1].lower(), parameters))
            while position < len(header) and header[position] in ", \t":
                position += 1
    return found
