"""Reads YAML into plain values and remembers where each stands; bounded, since a file may come from anywhere.

Source: YAML 1.1 as PyYAML's safe loader reads it; dates stay text, and a key that stands twice is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it carries no types

from oci.errors import InvalidInput

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 500_000
MAX_DEPTH = 30

Place = tuple[int | str, ...]
"""Where a value stands in a document: keys and numbers from the top."""

_STRING, _TIMESTAMP, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SIMPLE = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}


@dataclass(frozen=True, slots=True, order=True)
class DocumentFault:
    """One thing that is wrong, at a line of the file, counted from 1; it says what to do."""

    line: int
    column: int
    where: str
    text: str

    def show(self, file: str) -> str:
        """Return `FILE:LINE:COLUMN: WHERE: TEXT`."""
        where = f"{self.where}: " if self.where else ""
        return f"{file}:{self.line}:{self.column}: {where}{self.text}"


@dataclass(slots=True)
class ConfigDocument:
    """The value of a file, and where each part of it stands."""

    value: Any
    positions: dict[Place, tuple[int, int]] = field(default_factory=dict)
    faults: list[DocumentFault] = field(default_factory=list)

    def fault(self, place: Sequence[int | str], text: str) -> DocumentFault:
        """Return a fault at a place, or at the nearest place around it; parts that are no keys of the file are left out."""
        known: Place = ()
        for part in place:
            if (*known, part) in self.positions:
                known = (*known, part)
        line, column = self.positions.get(known, (1, 1))
        return DocumentFault(line, column, show_place(known), text)


def show_place(place: Sequence[int | str]) -> str:
    """Return a place for people: `deployments.nightly.request.remotes[0]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).removeprefix(".")


def read_config_file(file: Path) -> ConfigDocument:
    """Read a file that is one document of YAML; raise InvalidInput for one that cannot be read at all."""
    return parse_document_text(read_document_bytes(file), str(file))


def read_document_bytes(file: Path) -> bytes:
    """Return the bytes of a file, one more than may be; raise InvalidInput."""
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None


def parse_document_text(raw: bytes, name: str) -> ConfigDocument:
    """Read one document; raise InvalidInput, which names the line, for what is no YAML, too large, or too deep."""
    found = parse_documents(raw, name)
    if len(found) > 1:
        line = found[1].positions.get((), (1, 1))[0]
        raise InvalidInput(f"{name}:{line}: a second document begins; write one document, without `---`")
    return found[0] if found else ConfigDocument({})


def parse_documents(raw: bytes, name: str) -> list[ConfigDocument]:
    """Read all documents of a text, those that `---` parts; raise InvalidInput as `parse_document_text` does."""
    if len(raw) > MAX_BYTES:
        raise InvalidInput(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MiB; split it")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        _check_bounds(text, name)
        roots = list(yaml.compose_all(text, _LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InvalidInput(f"{name}{line}: {getattr(error, 'problem', None) or 'is not YAML'}") from None
    documents = []
    for root in roots:
        document = ConfigDocument({})
        document.value = _Reader(document, name).read(root, (), ())
        documents.append(document)
    return documents


def _check_bounds(text: str, name: str) -> None:
    """Count what the parser sees before anything is built of it; raise InvalidInput."""
    depth = count = 0
    for event in yaml.parse(text, _LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{name}:{event.start_mark.line + 1}: nested deeper than {MAX_DEPTH} levels")
        if count > MAX_VALUES:
            raise InvalidInput(f"{name} has more than {MAX_VALUES} values; split it")


class _Reader:
    """Makes plain values of nodes. Each use of an alias counts again, so that aliases of aliases stay bounded."""

    def __init__(self, document: ConfigDocument, name: str) -> None:
        self._document, self._name, self._count = document, name, 0
        self._scalars = yaml.SafeLoader("")

    def read(self, node: Any, place: Place, above: tuple[int, ...]) -> Any:
        """Return the value of a node; its position is kept."""
        self._count += 1
        if self._count > MAX_VALUES or len(above) > MAX_DEPTH or id(node) in above:
            line = node.start_mark.line + 1
            raise InvalidInput(f"{self._name}:{line}: aliases make the file too large; write the values out")
        self._document.positions.setdefault(place, _position(node))
        above = (*above, id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*place, number), above) for number, item in enumerate(node.value)]
        return self._mapping(node, place, above)

    def _scalar(self, node: Any, place: Place) -> Any:
        if node.tag not in _SIMPLE:
            self._tell(node, place, "YAML tags are not supported; write plain text or a number")
            return None
        if node.tag in {_STRING, _TIMESTAMP}:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, KeyError, OverflowError):
            self._tell(node, place, "invalid value; put it in quotes if it is text")
            return None

    def _mapping(self, node: Any, place: Place, above: tuple[int, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged = list(self._merged(node, place, above))  # before the keys of its own, whose positions count
        for key, value in ((key, value) for key, value in node.value if key.tag != _MERGE):
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self._tell(key, place, "expected plain text as key")
            elif name in made:
                first = self._document.positions[(*place, name)][0]
                self._tell(key, (*place, name), f"duplicate key, first at line {first}; keep one of them")
            else:
                self._document.positions[(*place, name)] = _position(key)
                made[name] = self.read(value, (*place, name), above)
        for others in merged:
            made = {**others, **made}
        return made

    def _merged(self, node: Any, place: Place, above: tuple[int, ...]) -> Iterator[dict[str, Any]]:
        """Yield the mappings that `<<` names, the first of them before the others."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(one, yaml.MappingNode):
                    yield self.read(one, place, above)
                else:
                    self._tell(key, place, "`<<` merges mappings only")

    def _tell(self, node: Any, place: Place, text: str) -> None:
        self._document.faults.append(DocumentFault(*_position(node), show_place(place), text))


def _position(node: Any) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
