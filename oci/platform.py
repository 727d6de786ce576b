"""Platforms of an index's children. Source: image-spec, image-index.md, "platform"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from oci.errors import InvalidInput

_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, in Go's names (`linux`, `amd64`)."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `os/architecture[/variant]`; raise InvalidInput for another form."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidInput(f"invalid platform {text!r}: expected os/architecture[/variant], such as linux/arm64/v8")
        return cls(parts[0], _ALIASES.get(parts[1], parts[1]), parts[2] if len(parts) == 3 else "")

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Read a descriptor's `platform` object; unknown fields are left alone."""
        features = value.get("os.features")
        return cls(
            os=_text(value.get("os")),
            architecture=_text(value.get("architecture")),
            variant=_text(value.get("variant")),
            os_version=_text(value.get("os.version")),
            os_features=tuple(map(_text, features)) if isinstance(features, list) else (),
        )

    def to_json(self) -> dict[str, object]:
        """Return the object a descriptor holds, empty fields left out."""
        pairs = {
            "architecture": self.architecture,
            "os": self.os,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
            "variant": self.variant,
        }
        return {name: value for name, value in pairs.items() if value}

    def matches(self, pattern: "Platform") -> bool:
        """Return whether this platform fits another; where that names no variant, any fits."""
        if (self.os, self.architecture) != (pattern.os, pattern.architecture):
            return False
        return not pattern.variant or self.variant == pattern.variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
