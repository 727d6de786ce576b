"""Digests: content's name made of its bytes. Source: image-spec, descriptor.md, "Digests"."""

import hashlib
import re
from typing import Protocol, Self

from oci.errors import DigestInvalid

HEX_LENGTH = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class Hasher(Protocol):
    """What hashlib's objects offer."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Digest(str):
    """A checked `algorithm:hex` text; being a str, it is its own key in dictionaries, JSON and SQL."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return text as a digest; raise DigestInvalid unless it is lower-case hex of a known algorithm."""
        algorithm, _, encoded = text.partition(":")
        length = HEX_LENGTH.get(algorithm)
        if length is None:
            if _FORM.fullmatch(text):
                raise DigestInvalid(f"digest algorithm {algorithm!r} is not known; use sha256 or sha512")
            raise DigestInvalid(f"invalid digest {text[:200]!r}: expected sha256:<64 hex> or sha512:<128 hex>")
        if len(encoded) != length or encoded.strip("0123456789abcdef"):
            raise DigestInvalid(f"not a {algorithm} digest: {text[:200]!r}; expected {length} lower-case hex digits")
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of data."""
        hasher = new_hasher(algorithm)
        hasher.update(data)
        return cls.from_hasher(algorithm, hasher)

    @classmethod
    def from_hasher(cls, algorithm: str, hasher: Hasher) -> Self:
        """Return the digest a hasher of that algorithm has come to."""
        return cls(f"{algorithm}:{hasher.hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The hex digits."""
        return self.partition(":")[2]


def check_algorithm(algorithm: str) -> None:
    """Raise DigestInvalid for an unknown algorithm."""
    if algorithm not in HEX_LENGTH:
        raise DigestInvalid(f"digest algorithm {algorithm[:50]!r} is not known; use sha256 or sha512")


def new_hasher(algorithm: str) -> Hasher:
    """Return an empty hasher; raise DigestInvalid for an unknown algorithm."""
    check_algorithm(algorithm)
    return hashlib.new(algorithm)
