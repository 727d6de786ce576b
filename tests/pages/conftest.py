"""One registry with some of everything, which the tests of pages share and do not change, and visitors with browsers' headers."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from oci.digest import Digest
from tests.api.conftest import Api, serve
from tests.pages.content import PASSWORD, add_account, fill_registry
from tests.servers import ROOT, tool

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
AXE = ROOT / ".tools" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
_FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@dataclass
class Shown:
    """A running registry whose content is known, and the digests of what is looked at."""

    api: Api
    digests: dict[str, Digest]
    opened: list[httpx.Client] = field(default_factory=list)

    def close(self) -> None:
        """Close all browsers."""
        for client in self.opened:
            client.close()

    def visitor(self) -> httpx.Client:
        """A browser without a login."""
        client = httpx.Client(base_url=self.api.url, headers=BROWSER, trust_env=False, timeout=30)
        self.opened.append(client)
        return client

    def with_session(self, session: str) -> httpx.Client:
        """A new browser with a copy of a session's cookie."""
        client = self.visitor()
        client.headers["Cookie"] = f"entrepot-session={session}"
        return client

    def logged_in(self, name: str, password: str = PASSWORD) -> httpx.Client:
        """A browser with a session."""
        client = self.visitor()
        answer = log_in(client, name, password)
        assert answer.status_code == 303, answer.text
        return client

    def administrator(self) -> httpx.Client:
        """A browser with the administrator's session."""
        return self.logged_in("admin", self.api.password)


def form_token_of(page: str) -> str:
    """The token of the first form of a page that has one."""
    found = _FORM_TOKEN.search(page)
    assert found is not None, page
    return found[1]


def log_in(client: httpx.Client, name: str, password: str, *, to: str = "/") -> httpx.Response:
    """Send the form of the login page."""
    token = form_token_of(client.get("/login", params={"next": to}).text)
    return client.post("/login", data={"username": name, "password": password, "next": to, "form_token": token})


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A registry with some of everything."""
    with serve(tmp_path_factory.mktemp("pages") / "entrepot") as api, contextlib.closing(Shown(api, {})) as found:
        found.digests |= fill_registry(api.catalog, datetime.now(UTC))
        api.catalog.search.refresh()
        yield found


@pytest.fixture
def count_queries(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the questions that the registry asks of its lake."""
    lake, count = shown.api.catalog._lake, 0
    read = lake.read

    def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(lake, "read", counted)
    return lambda: count


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A registry with some of everything, which the tests of one module change, each in a repository of its own."""
    with serve(tmp_path_factory.mktemp("changes") / "entrepot") as api, contextlib.closing(Shown(api, {})) as found:
        found.digests |= fill_registry(api.catalog, datetime.now(UTC))
        add_account(api.catalog, "dave", "pull,push:team/**")
        add_account(api.catalog, "carol", "pull,push,delete:team/**")
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = tool("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A context of one test."""
    found = browser.new_context()
    yield found
    found.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which judges accessibility."""
    if not AXE.exists() and shutil.which("npm") is None:
        pytest.skip("npm, which brings axe-core, is not installed")
    if not AXE.exists():
        tool("axe-core of npm")  # skips, or fails where tools are required
    return AXE.read_text()
