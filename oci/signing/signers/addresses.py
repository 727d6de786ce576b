"""What names a signer: a path, or a URI. Pure; a URI holds no secret, and one that does is refused.

Sources: RFC 7512 (pkcs11); cosign, "KMS" (awskms, azurekms, gcpkms, hashivault).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from oci.signing.keys import KeyInvalid

FILE, ENV, PKCS11, EXEC, GNUPG = "file", "env", "pkcs11", "exec", "gnupg"
AWS, AZURE, GOOGLE, VAULT = "awskms", "azurekms", "gcpkms", "hashivault"
SCHEMES = (FILE, ENV, PKCS11, AWS, AZURE, GOOGLE, VAULT, GNUPG, EXEC)

_LONGEST = 1000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_VAULT_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_AWS_KEY = re.compile(r"[A-Za-z0-9:/_-]+")
_AZURE = re.compile(r"([A-Za-z0-9-]{3,24})\.vault\.azure\.net/([A-Za-z0-9-]{1,127})")
_GOOGLE = re.compile(
    r"(projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+)/(?:versions|cryptoKeyVersions)/([0-9]+)",
    re.ASCII,
)
_TOKEN_PATH = frozenset({"token", "manufacturer", "serial", "model", "object", "type", "id", "slot-id"})
_TOKEN_QUERY = frozenset({"module-path", "pin-source"})


@dataclass(frozen=True, slots=True)
class SignerAddress:
    """A scheme of SCHEMES, the text as it was given, and what it names: `name`, and attributes of a `pkcs11:` URI."""

    scheme: str
    text: str
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def parse_signer(text: str) -> SignerAddress:
    """Read a path or a URI; raise KeyInvalid, which repeats nothing that may be a secret."""
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise KeyInvalid(f"invalid signer: expected a path or a URI of at most {_LONGEST} characters, on one line")
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    scheme = GNUPG if scheme == "gpg" else scheme
    if found is None or scheme not in SCHEMES:
        if _AUTHORITY.match(text):
            raise KeyInvalid(
                f"invalid signer: the scheme {scheme!r} is not known; expected a path, {', '.join(f'{one}:' for one in SCHEMES)}"
            )
        return SignerAddress(FILE, text, text)
    _refuse_secrets(text, scheme)
    rest = text[found.end() :]
    return _PARSERS[scheme](text, rest)


def _refuse_secrets(text: str, scheme: str) -> None:
    plain = unquote(text)
    if "pin-value" in plain:
        raise KeyInvalid(
            "invalid signer: a URI holds no PIN; leave out pin-value and set ENTREPOT_SIGNING_PASSWORD, "
            "or name a file by pin-source"
        )
    if scheme not in (FILE, EXEC, PKCS11) and ("@" in plain or "?" in plain or "#" in plain):
        raise KeyInvalid(
            f"invalid signer: a URI holds no login and no parameters; expected {_EXPECTED[scheme]}, "
            "with credentials in the worker's environment"
        )


def _invalid(scheme: str) -> KeyInvalid:
    return KeyInvalid(f"invalid signer: expected {_EXPECTED[scheme]}")


def _parse_path(scheme: str) -> Callable[[str, str], SignerAddress]:
    def parse(text: str, rest: str) -> SignerAddress:
        if rest.startswith("//"):
            host, slash, path = rest[2:].partition("/")
            if host not in ("", "localhost"):
                raise _invalid(scheme)
            rest = slash + path
        path = unquote(rest)
        if not path or "\0" in path or (scheme == EXEC and not Path(path).is_absolute()):
            raise _invalid(scheme)
        return SignerAddress(scheme, text, path)

    return parse


def _parse_matching(
    scheme: str, form: re.Pattern[str], *, prefixes: tuple[str, ...] = ("//",), name: Callable[[re.Match[str]], str]
) -> Callable[[str, str], SignerAddress]:
    def parse(text: str, rest: str) -> SignerAddress:
        prefix = next((one for one in prefixes if rest.startswith(one)), "")
        found = form.fullmatch(rest.removeprefix(prefix))
        if found is None or (prefix == "" and "" not in prefixes):
            raise _invalid(scheme)
        return SignerAddress(scheme, text, name(found))

    return parse


def _parse_aws(text: str, rest: str) -> SignerAddress:
    if rest.startswith("//") and not rest.startswith("///"):
        raise KeyInvalid(
            f"invalid signer: expected {_EXPECTED[AWS]}; set another endpoint by AWS_ENDPOINT_URL_KMS on the worker's machine"
        )
    key = rest.removeprefix("///")
    if not _AWS_KEY.fullmatch(key):
        raise _invalid(AWS)
    return SignerAddress(AWS, text, key)


def _parse_gnupg(text: str, rest: str) -> SignerAddress:
    key = rest.removeprefix("//").replace(" ", "").upper().removeprefix("0X")
    if not _FINGERPRINT.fullmatch(key):
        raise _invalid(GNUPG)
    return SignerAddress(GNUPG, text, key)


def _parse_token(text: str, rest: str) -> SignerAddress:
    path, _, query = rest.partition("?")
    found: dict[str, str] = {}
    for separator, part, known in ((";", path, _TOKEN_PATH), ("&", query, _TOKEN_QUERY)):
        for pair in filter(None, part.split(separator)):
            name, equals, value = pair.partition("=")
            if name.startswith("x-"):
                continue
            if not equals or name not in known or name in found:
                raise _invalid(PKCS11)
            found[name] = unquote(value, encoding="latin-1") if name == "id" else unquote(value)
    is_private = found.get("type", "private") == "private"
    if not is_private or not ({"object", "id"} & found.keys()) or not found.get("slot-id", "0").isdecimal():
        raise _invalid(PKCS11)
    return SignerAddress(PKCS11, text, found.get("object", ""), found)


_EXPECTED: Mapping[str, str] = {
    FILE: "file:PATH",
    ENV: "env://NAME",
    EXEC: "exec:/ABSOLUTE/PATH of a command",
    PKCS11: "pkcs11:token=TOKEN;object=LABEL, or ;id=%01, as RFC 7512 has it",
    AWS: "awskms:///KEY, where KEY is an id, an ARN or alias/NAME",
    AZURE: "azurekms://VAULT.vault.azure.net/KEY",
    GOOGLE: "gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/versions/V",
    VAULT: "hashivault://KEY",
    GNUPG: "gnupg:FINGERPRINT, with all of its 40 or 64 hexadecimal digits",
}

_PARSERS: Mapping[str, Callable[[str, str], SignerAddress]] = {
    FILE: _parse_path(FILE),
    EXEC: _parse_path(EXEC),
    ENV: _parse_matching(ENV, _VARIABLE, name=lambda found: found[0]),
    PKCS11: _parse_token,
    AWS: _parse_aws,
    AZURE: _parse_matching(AZURE, _AZURE, name=lambda found: f"{found[1]}/{found[2]}"),
    GOOGLE: _parse_matching(
        GOOGLE, _GOOGLE, prefixes=("//", ""), name=lambda found: f"{found[1]}/cryptoKeyVersions/{found[2]}"
    ),
    VAULT: _parse_matching(VAULT, _VAULT_KEY, name=lambda found: found[0]),
    GNUPG: _parse_gnupg,
}


def absolute_signer(text: str) -> str:
    """Return a path as an absolute one, and a URI as it is; raise KeyInvalid."""
    address = parse_signer(text)
    if address.scheme != FILE:
        return text
    path = Path(address.name)
    return str((path.expanduser() if address.name != text else path).absolute())
