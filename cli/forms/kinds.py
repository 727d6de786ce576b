"""What typer is told of the type of a form's field, and how a value of the command line becomes the field's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.forms.parameters import Metavar
from oci.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What typer is told of a field's type."""

    plain: Any
    metavar: str
    is_list: bool = False
    is_pairs: bool = False
    is_text: bool = False

    @classmethod
    def of(cls, field: FieldInfo) -> "FieldKind":
        """Read the type of a field."""
        return cls._of(field.annotation).called(field.metadata)

    @classmethod
    def _of(cls, annotation: Any) -> "FieldKind":
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return cls._of(parts[0]).called(parts[1:])
        if origin in (Union, UnionType):
            return cls._of(next(part for part in parts if not _is_form_or_none(part)))
        if origin is tuple:
            item = cls._of(parts[0])
            return cls(list[item.plain], item.metavar, is_list=True)  # type: ignore[name-defined]  # made at run time
        if origin is dict:
            return cls(list[str], "NAME=VALUE", is_list=True, is_pairs=True)
        if origin is Literal:
            return cls(annotation, "")
        metavar = {Path: "FILE", int: "NUMBER", float: "NUMBER", str: "TEXT"}.get(annotation, "")
        return cls(annotation, metavar)

    def called(self, metadata: Iterable[object]) -> "FieldKind":
        """Return the same with the word that the type has for its values."""
        words = [one for one in metadata if isinstance(one, Metavar)]
        if not words:
            return self
        plain = str if words[0].is_text else self.plain
        return replace(self, metavar=words[0].text, plain=plain, is_text=words[0].is_text)

    def reader(self, label: str, *, absolute: bool) -> Callable[[Any], object]:
        """Return what makes a field's value of one of the command line."""
        if self.is_pairs:
            return lambda texts: _pairs(texts, label)
        if self.is_list and absolute:
            return lambda paths: [path.absolute() for path in paths] or None
        if self.is_list:
            return lambda values: values or None
        if not absolute:
            return lambda value: value
        return _absolute_signer if self.plain is str else lambda path: path.absolute()


def _absolute_signer(text: str) -> str:
    from oci.signing.signers.addresses import absolute_signer  # it loads cryptography

    try:
        return absolute_signer(text)
    except InvalidInput:
        return text  # the form says what is wrong, with the option's name


def _is_form_or_none(part: Any) -> bool:
    return part is type(None) or (isinstance(part, type) and issubclass(part, BaseModel))


def _pairs(texts: list[str], label: str) -> dict[str, str] | None:
    """Read `NAME=VALUE`; raise InvalidInput."""
    pairs = [text.partition("=") for text in texts]
    if any(not equals for _name, equals, _value in pairs):
        raise InvalidInput(f"{label}: expected NAME=VALUE")
    return {name: value for name, _equals, value in pairs} or None
