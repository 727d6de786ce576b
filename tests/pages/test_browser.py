"""Pages in a real browser: light and dark, phone and desktop, with and without JavaScript; by keyboard, and judged by axe."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.pages.conftest import Shown
from tests.pages.content import PASSWORD
from tests.pages.test_pages import OWN, PAGES
from tests.servers import ROOT, tool

AXE = ROOT / ".tools" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESKTOP = ViewportSize(width=390, height=844), ViewportSize(width=1280, height=800)


class View(NamedTuple):
    """A way to look at pages."""

    colors: Literal["light", "dark"]
    size: ViewportSize
    scripts: bool = True

    def open_in(self, browser: Browser) -> BrowserContext:
        """Open a context of a browser; close it."""
        return browser.new_context(color_scheme=self.colors, viewport=self.size, java_script_enabled=self.scripts)


VIEWS = {
    "light-desktop": View("light", DESKTOP),
    "dark-phone": View("dark", PHONE),
    "light-phone-without-scripts": View("light", PHONE, scripts=False),
    "dark-desktop-without-scripts": View("dark", DESKTOP, scripts=False),
}


@dataclass
class Watched:
    """A browser's page, and what went wrong in it."""

    page: Page
    host: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._note_request)
        self.page.on("dialog", self._note_dialog)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(message.text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(f"{self.host}/"):
            self.faults.append(request.url)

    def _note_dialog(self, dialog: Dialog) -> None:
        self.faults.append(dialog.message)
        dialog.dismiss()

    def open(self, path: str, status: int = 200) -> None:
        """Open a page of the registry."""
        answer = self.page.goto(self.host + path)
        assert answer is not None
        assert answer.status == status

    def log_in(self, name: str, password: str) -> None:
        """Log in by the form."""
        self.open("/login")
        self.page.fill("#username", name)
        self.page.fill("#password", password)
        self.page.click("button.main")
        self.page.wait_for_url(f"{self.host}/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = tool("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module", params=list(VIEWS))
def view(request: pytest.FixtureRequest, browser: Browser, shown: Shown) -> Iterator[Watched]:
    """A page with the administrator's session, in one of the ways to look at it."""
    context = VIEWS[request.param].open_in(browser)
    watched = Watched(context.new_page(), shown.api.url)
    watched.log_in("admin", shown.api.password)
    yield watched
    context.close()


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


@pytest.mark.parametrize("path", [*PAGES, *OWN, "/login"])
def test_a_page_is_whole_in_every_view(view: Watched, path: str) -> None:
    view.open(path)
    assert view.faults == []
    page = view.page
    assert page.locator("h1").count() == 1
    assert page.locator("main").is_visible()
    viewport = page.viewport_size
    assert viewport is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize("name", ["light-desktop", "dark-phone"])
def test_axe_finds_nothing(browser: Browser, shown: Shown, axe: str, name: str) -> None:
    context = VIEWS[name].open_in(browser)
    watched = Watched(context.new_page(), shown.api.url)
    watched.log_in("admin", shown.api.password)
    found: dict[str, Any] = {}
    for path in (*PAGES, *OWN, "/login", "/repository/not/here"):
        watched.open(path, 404 if path.endswith("/here") else 200)
        watched.page.evaluate(axe)
        report = watched.page.evaluate("axe.run({resultTypes: ['violations']})")
        wrong = {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in report["violations"]}
        if wrong:
            found[path] = wrong
    context.close()
    assert found == {}, json.dumps(found, indent=1)


def test_the_first_tab_stop_leads_past_the_header(context: BrowserContext, shown: Shown) -> None:
    watched = Watched(context.new_page(), shown.api.url)
    watched.open("/")
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.textContent") == "Skip to content"
    watched.page.keyboard.press("Enter")
    assert watched.page.evaluate("document.activeElement.id") == "content"


def test_a_filter_shows_what_is_typed_at_once(context: BrowserContext, shown: Shown) -> None:
    watched = Watched(context.new_page(), shown.api.url)
    watched.open("/repositories")
    watched.page.locator("#name").press_sequentially("alp")
    rows = watched.page.locator("#results tbody tr")
    expect(rows).to_have_count(2)
    assert watched.page.url.endswith("?q=alp")
    watched.page.go_back()
    expect(rows).to_have_count(11)
    assert watched.faults == []


def test_filters_work_without_scripts(browser: Browser, shown: Shown) -> None:
    context = browser.new_context(java_script_enabled=False)
    watched = Watched(context.new_page(), shown.api.url)
    watched.log_in("bob", PASSWORD)
    watched.open("/repositories")
    watched.page.fill("#name", "alp")
    watched.page.click("text=Filter")
    watched.page.wait_for_url("**/repositories?q=alp")
    assert watched.page.locator("#results tbody tr").count() == 2
    watched.open("/versions/team/server")
    watched.page.click("text=Compare")
    watched.page.wait_for_url("**/diff/team/server?new=3&old=2")
    watched.page.click("text=Log out")
    watched.page.wait_for_url(f"{watched.host}/")
    expect(watched.page.locator("text=Log in")).to_have_count(1)
    context.close()


def test_what_strangers_wrote_runs_nowhere(context: BrowserContext, shown: Shown) -> None:
    watched = Watched(context.new_page(), shown.api.url)
    for path in ("/repositories", "/image/team/server:v1.1", "/image/odd/names:v1", "/search?q=evil="):
        watched.open(path)
    assert watched.faults == []
