"""Packages of documents: texts made fit, and limits that are told."""

import json

import pytest

from catalog.documents.packages import (
    MOST_NAMES,
    MOST_VERSIONS,
    PackageCollector,
    PackageList,
    packages_in,
)
from catalog.documents.purls import LONGEST_TEXT


def spdx(*packages: tuple[object, object]) -> dict[str, object]:
    return {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": name, "versionInfo": version} for name, version in packages],
    }


@pytest.mark.parametrize("kind", ["spdx", "cyclonedx"])
def test_texts_are_made_fit_and_short(kind: str) -> None:
    pairs = [("x\ud800", "1\0"), ("y" * 5000, "2"), ([["no text"]], "3"), ("z", {"no": "text"}), ("n", 4)]
    document = (
        spdx(*pairs)
        if kind == "spdx"
        else {"bomFormat": "CycloneDX", "components": [{"name": name, "version": version} for name, version in pairs]}
    )
    found = packages_in(document)
    assert found is not None
    assert found.packages == {
        "n": frozenset({"4"}),
        "x\ufffd": frozenset({"1\ufffd"}),
        "y" * LONGEST_TEXT: frozenset({"2"}),
        "z": frozenset({""}),
    }
    assert found.is_cut
    json.dumps(list(found.packages), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("packages", "is_cut"),
    [
        ([("a", str(number)) for number in range(MOST_VERSIONS)], False),
        ([("a", str(number)) for number in range(MOST_VERSIONS + 1)], True),
        ([(str(number), "1") for number in range(MOST_NAMES)], False),
        ([(str(number), "1") for number in range(MOST_NAMES + 1)], True),
    ],
    ids=["versions", "one version more", "names", "one name more"],
)
def test_limits_are_told(packages: list[tuple[str, str]], is_cut: bool) -> None:
    found = packages_in(spdx(*packages, packages[0]))
    assert found is not None
    assert found.is_cut is is_cut
    assert sum(map(len, found.packages.values())) == len(packages) - is_cut


def test_lists_of_several_documents_share_the_limits() -> None:
    collector = PackageCollector()
    for part in range(3):
        versions = frozenset(
            str(number) for number in range(part * MOST_VERSIONS // 2, (part + 1) * MOST_VERSIONS // 2)
        )
        assert not collector.is_cut
        collector.add_list(PackageList({"a": versions}))
    found = collector.finish()
    assert (len(found.packages["a"]), found.is_cut) == (MOST_VERSIONS, True)
    collector = PackageCollector()
    collector.add_list(PackageList({"a": frozenset({"1"})}, is_cut=True))
    assert collector.finish().is_cut
