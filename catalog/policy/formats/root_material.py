"""The certificate authorities and logs of a trust configuration, for formats that carry them."""

import base64
import json
import textwrap
from dataclasses import dataclass

from oci.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class RootMaterial:
    """Certificates of authorities, and keys of logs, in PEM, each without blanks around it."""

    authorities: tuple[str, ...]
    logs: tuple[str, ...]


def read_root_material(trust_config: str) -> RootMaterial:
    """Read a client trust configuration; raise InvalidInput."""
    try:
        root = json.loads(trust_config)["trustedRoot"]
        authorities = [
            as_pem(base64.b64decode(one["rawBytes"]), "CERTIFICATE")
            for authority in root["certificateAuthorities"]
            for one in authority["certChain"]["certificates"]
        ]
        logs = [as_pem(base64.b64decode(one["publicKey"]["rawBytes"]), "PUBLIC KEY") for one in root["tlogs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the trust configuration cannot be read: {type(error).__name__}") from None
    return RootMaterial(tuple(authorities), tuple(logs))


def as_pem(der: bytes, label: str) -> str:
    """Return DER as PEM. Source: RFC 7468."""
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


def split_pem(text: str) -> tuple[str, ...]:
    """Return the blocks of a text, each without blanks around it."""
    parts = text.split("-----BEGIN ")[1:]
    return tuple(f"-----BEGIN {part}".strip() for part in parts)
