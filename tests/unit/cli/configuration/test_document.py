"""YAML as plain values with their positions, within bounds whoever wrote it."""

import pytest

from cli.configuration.document import MAX_BYTES, parse_document_text
from cli.configuration.export_config import to_yaml
from oci.errors import InvalidInput


def test_values_are_plain_and_know_where_they_stand() -> None:
    document = parse_document_text(b"a: &x {p: 1, q: 2026-01-31}\nb:\n  <<: *x\n  q: [1, yes, '1']\n", "f")
    assert document.value == {"a": {"p": 1, "q": "2026-01-31"}, "b": {"p": 1, "q": [1, True, "1"]}}
    assert document.positions["b", "q"] == (4, 3)
    assert document.positions["b", "q", 2] == (4, 15)
    assert document.fault(("b", "SyncRequest", "q", 7), "no").show("f") == "f:4:3: b.q: no"
    assert document.fault(("c",), "no").show("f") == "f:1:1: no"


def test_an_empty_file_wishes_for_nothing() -> None:
    assert parse_document_text(b"# nothing\n", "f").value == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("users:\n  alice: {}\n  alice: {}\n", 3, "duplicate key, first at line 2"),
        ("a: !!python/object:os.system x\n", 1, "YAML tags are not supported"),
        ("a: !!int x\n", 1, "put it in quotes"),
        ("[1]: 2\n", 1, "expected plain text as key"),
        ("a:\n  <<: 1\n", 2, "`<<` merges mappings only"),
    ],
)
def test_what_is_wrong_with_one_value_is_told_with_its_line(text: str, line: int, message: str) -> None:
    (fault,) = parse_document_text(text.encode(), "f").faults
    assert fault.line == line
    assert message in fault.text


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"b{n}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: [", "did not find expected node content"),
        (b"a: 1\n--- \nb: 2", "f:3: a second document begins"),
        (b"a: \xff", "is not UTF-8"),
        (b"[" * 100_000, "nested deeper than 30 levels"),
        (b"[" * 31 + b"]" * 31, "nested deeper than 30 levels"),
        (BOMB.encode(), "aliases make the file too large"),
        (b"a: &a\n  b: *a\n", "aliases make the file too large"),
        (b"[" + b"1," * 600_000 + b"]", "more than 500000 values"),
        (b"#" * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else None,
)
def test_what_is_no_yaml_or_too_much_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_document_text(raw, "f")
    assert message in refused.value.message


def test_a_key_is_exported_as_its_file_shows_it() -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
    text = to_yaml({"keys": [pem], "message": "one line"})
    assert "- |\n  -----BEGIN PUBLIC KEY-----\n  MFkw\n  -----END" in text
    assert "message: one line\n" in text
    assert parse_document_text(text.encode(), "x").value == {"keys": [pem], "message": "one line"}
