"""Registries that list without end: what is held of it is bounded, and what is left out is counted."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import httpx
import pytest

from oci.errors import RemoteCorrupt
from oci.remote.discovery import bounds
from oci.remote.discovery.bounds import BoundedReasons, BoundedRemarks
from oci.remote.discovery.discovery import discover
from oci.remote.discovery.harbor import discover_harbor
from oci.remote.discovery.inventory import Inventory
from oci.remote.discovery.pulp_inventory import inventory_of_pulp
from oci.remote.discovery.quay import discover_quay

Read = Callable[[Any], Awaitable[Any]]


class Lister:
    """A transport to a registry that answers by a function of the path."""

    host = "registry.example"

    def __init__(self, answer: Callable[[str, int], object]) -> None:
        self.answer, self.asked = answer, 0

    async def request(self, method: str, path: str, **_options: object) -> httpx.Response:
        self.asked += 1
        document = self.answer(path, self.asked)
        headers = {"x-total-count": "999999999"} if isinstance(document, list) else {}
        request = httpx.Request(method, f"https://{self.host}{path}")
        return httpx.Response(200, content=json.dumps(document), headers=headers, request=request)

    async def __aenter__(self) -> "Lister":
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass


def harbor(path: str, asked: int) -> object:
    if path.startswith("/api/v2.0/projects?"):
        return [{"name": f"p{asked}-{number}", "metadata": {"public": "true"}} for number in range(2)]
    project = path.removeprefix("/api/v2.0/projects/").partition("/")[0]
    return [{"name": f"{project}/{asked}-{number}"} for number in range(10)]


def harbor_of_rules(path: str, asked: int) -> object:
    if path.startswith("/api/v2.0/projects?"):
        return [{"name": "p", "metadata": {"public": "true"}}] if asked == 1 else []
    if "immutabletagrules" in path:
        many = [{"pattern": "x"}] * 20
        return [{"scope_selectors": {"repository": many}, "tag_selectors": many}]
    return []


def quay(_path: str, asked: int) -> object:
    listed = [{"name": f"{asked}-{number}", "namespace": "n"} for number in range(10)]
    return {"repositories": listed, "next_page": f"token{asked}"}


def pulp(path: str, asked: int) -> object:
    listed = [{"base_path": f"{asked}/{number}", "repository": "r", "pulp_href": "h"} for number in range(10)]
    return {"results": listed, "next": f"https://registry.example{path.partition('?')[0]}?page={asked}"}


def pulp_of_manifests(path: str, asked: int) -> object:
    if "/distributions/" in path:
        return {"results": [{"base_path": "team/app", "repository_version": "/v/"}]}
    if "/content/container/manifests/" not in path:
        return {"results": []}
    listed = [{"pulp_href": f"/{asked}", "digest": "x", "listed_manifests": ["y"] * 10}] * 2
    return {"results": listed, "next": f"https://elsewhere.example{path.partition('?')[0]}?page={asked}"}


def catalog(path: str, asked: int) -> object:
    return {"repositories": [f"{asked}/{number}" for number in range(10)]}


def discovering(kind: Any) -> Callable[[Lister], Coroutine[Any, Any, object]]:
    async def read(lister: Lister) -> object:
        async def connect(_login: bool) -> Any:
            return lister

        return await discover(lister.host, connect, kinds=(kind,))

    return read


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (harbor, discover_harbor),
        (harbor_of_rules, discover_harbor),
        (quay, lambda lister: discover_quay(lister, ["n"])),
        (pulp, inventory_of_pulp),
        (pulp_of_manifests, lambda lister: inventory_of_pulp(lister, untagged=True)),
        (pulp, discovering("pulp")),
        (catalog, discovering("catalog")),
    ],
    ids=["harbor", "rules", "quay", "pulp-inventory", "pulp-manifests", "pulp", "catalog"],
)
def test_a_list_without_end_is_not_held(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, int], object], read: Read
) -> None:
    from oci.remote.discovery import discovery

    for module in (bounds, discovery):
        monkeypatch.setattr(module, "MOST_ENTRIES", 100)
    lister = Lister(answer)

    async def whole() -> None:
        async with asyncio.timeout(20):
            await read(lister)

    with pytest.raises(RemoteCorrupt, match=r"more than 100 entries|without end"):
        asyncio.run(whole())
    assert lister.asked < 60


def test_of_many_remarks_and_reasons_some_are_kept_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_REMARKS", 3)
    remarks, reasons = BoundedRemarks(), BoundedReasons()
    for number in range(3):
        remarks.append(str(number))
        reasons[str(number)] = "why"
    assert remarks == ["0", "1", "2"]
    assert dict(reasons) == {"0": "why", "1": "why", "2": "why"}
    for number in range(3, 10):
        remarks.append(str(number))
        reasons[str(number)] = "why"
    reasons["0"] = "another"
    assert remarks == ["0", "1", "2", "7 more remarks are not shown"]
    assert dict(reasons) == {"0": "another", "1": "why", "2": "why", "and others": "7 more are not named"}


def test_a_harbor_of_nameless_and_unclear_projects_is_told_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_REMARKS", 5)

    def answer(path: str, asked: int) -> object:
        if not path.startswith("/api/v2.0/projects?"):
            return []
        listed = [{"name": f"p{number}", "registry_id": number % 2} for number in range(40)]
        return listed if asked == 1 else []

    found: Inventory = asyncio.run(discover_harbor(Lister(answer)))  # type: ignore[arg-type]
    assert len(found.remarks) == 6
    assert found.remarks[-1] == "15 more remarks are not shown"
    assert len(found.left_out) == 6
    assert found.left_out["and others"] == "15 more are not named"
