"""Pages in a real browser: light and dark, phone and desktop, with and without JavaScript; by keyboard, and judged by axe."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.pages.browsing import VIEWS, Watched, judge
from tests.pages.conftest import Shown
from tests.pages.content import PASSWORD
from tests.pages.test_pages import OWN, PAGES, WITHOUT_MODEL


@pytest.fixture(scope="module", params=list(VIEWS))
def view(request: pytest.FixtureRequest, browser: Browser, shown: Shown) -> Iterator[Watched]:
    """A page with the administrator's session, in one of the ways to look at it."""
    context = VIEWS[request.param].open_in(browser)
    watched = Watched(context.new_page(), shown.api.url)
    watched.log_in("admin", shown.api.password)
    yield watched
    context.close()


@pytest.mark.parametrize("path", [*PAGES, *OWN, *WITHOUT_MODEL, "/login"])
def test_a_page_is_whole_in_every_view(view: Watched, path: str) -> None:
    view.open(path)
    view.check_whole()


@pytest.mark.parametrize("name", ["light-desktop", "dark-phone"])
def test_axe_finds_nothing(browser: Browser, shown: Shown, axe: str, name: str) -> None:
    context = VIEWS[name].open_in(browser)
    watched = Watched(context.new_page(), shown.api.url)
    watched.log_in("admin", shown.api.password)
    found: dict[str, Any] = {}
    for path in (*PAGES, *OWN, *WITHOUT_MODEL, "/login", "/repository/not/here"):
        watched.open(path, 404 if path.endswith("/here") else 200)
        if wrong := judge(watched.page, axe):
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
