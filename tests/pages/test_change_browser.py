"""Buttons and live pages in a real browser: with and without JavaScript, light and dark, phone and desktop, judged by axe."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from catalog.distributions.records import Distribution
from catalog.versions.pins import Pin
from oci.memory import MemoryStore
from tests.pages.browsing import VIEWS, Watched, judge
from tests.pages.conftest import Shown
from tests.pages.content import PASSWORD, Filler, make_image

FROZEN = "team/frozen-with-a-rather-long-name-as-some-teams-choose"
SCREENS = [
    "/versions/library/alpine",
    "/versions/library/alpine?made=4",
    "/diff/library/alpine?old=1&new=3",
    "/repository/library/alpine",
    "/repository/library/alpine?deleted=2",
    "/restore/library/alpine?version=1",
    "/restore/library/alpine?version=4",
    f"/restore/{FROZEN}?version=1",
    "/pin/library/alpine?version=1",
    "/unpin/library/alpine?version=2",
    "/pin/library/alpine?version=2",
    "/delete-tags/library/alpine?tag=3.20&tag=latest",
    f"/delete-tags/{FROZEN}?tag=v2",
    "/promote/library/alpine?tag=3.20&tag=latest",
    "/promote/library/alpine?tag=3.20&tag=latest&target=team/server",
    f"/promote/library/alpine?tag=3.20&target={FROZEN}",
    "/promote/library/alpine?tag=3.20&target=Not%20a%20name",
    "/activity",
    "/",
]


@pytest.fixture(scope="module")
def filled(changing: Shown) -> Shown:
    """The registry with a pin, and a repository whose tags are immutable."""
    catalog, now, store = changing.api.catalog, datetime.now(UTC), MemoryStore()
    catalog.pins.add(Pin("library/alpine", 2, "the last one that was audited", "admin", now))
    filler = Filler(catalog, now)
    for tag in ("v1", "v2"):
        filler.commit(FROZEN, store, {tag: make_image(store, f"frozen {tag}")})
    catalog.distributions.put(Distribution(FROZEN, FROZEN, now, now, immutable_tags=("v*", "3*")), actor="admin")
    return changing


@pytest.fixture(scope="module", params=list(VIEWS))
def view(request: pytest.FixtureRequest, browser: Browser, filled: Shown) -> Iterator[Watched]:
    """A page with the administrator's session, in one of the ways to look at it."""
    context = VIEWS[request.param].open_in(browser)
    watched = Watched(context.new_page(), filled.api.url)
    watched.log_in("admin", filled.api.password)
    yield watched
    context.close()


@pytest.mark.parametrize("path", SCREENS)
def test_a_screen_of_a_button_is_whole_in_every_view(view: Watched, path: str) -> None:
    view.open(path)
    view.check_whole()


@pytest.mark.parametrize("name", ["light-desktop", "dark-phone"])
def test_axe_finds_nothing_in_screens_of_buttons(browser: Browser, filled: Shown, axe: str, name: str) -> None:
    context = VIEWS[name].open_in(browser)
    watched = Watched(context.new_page(), filled.api.url)
    watched.log_in("admin", filled.api.password)
    found: dict[str, Any] = {}
    for path in SCREENS:
        watched.open(path)
        if wrong := judge(watched.page, axe):
            found[path] = wrong
    context.close()
    assert found == {}, json.dumps(found, indent=1)


@pytest.fixture
def name(filled: Shown, request: pytest.FixtureRequest) -> str:
    """A repository of this test: version 1 has v1, version 2 has v1 and v2."""
    made = f"team/{request.node.name.partition('[')[0].replace('_', '-')[:50].strip('-')}"
    made += "-js" if "True" in request.node.name else "-plain"
    filler, store = Filler(filled.api.catalog, datetime.now(UTC)), MemoryStore()
    for tag in ("v1", "v2"):
        filler.commit(made, store, {tag: make_image(store, f"{made} {tag}")})
    return made


@pytest.mark.parametrize("scripts", [True, False])
def test_a_person_restores_pins_and_deletes(browser: Browser, filled: Shown, name: str, scripts: bool) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    watched = Watched(context.new_page(), filled.api.url)
    page, catalog = watched.page, filled.api.catalog
    watched.log_in("admin", filled.api.password)
    watched.open(f"/versions/{name}")
    page.click('a[aria-label="Restore version 1"]')
    assert page.locator("tbody tr").count() == 1
    page.click("button.main")
    page.wait_for_url(f"**/versions/{name}?made=3#v3")
    expect(page.locator("[role=status]")).to_have_text("Version 3 was made.")
    page.click('a[aria-label="Pin version 2"]')
    page.fill("#note", "audited")
    page.click("button.main")
    page.wait_for_url(f"**/versions/{name}?before=27#v2")
    assert [(pin.version, pin.note, pin.actor) for pin in catalog.pins.of(name)] == [(2, "audited", "admin")]
    page.click('a[aria-label="Unpin version 2"]')
    page.click("button.main")
    page.wait_for_url(f"**/versions/{name}?before=27#v2")
    assert catalog.pins.of(name) == []
    watched.open(f"/repository/{name}")
    page.check('input[aria-label="Select v1"]')
    page.click("text=Delete…")
    page.wait_for_url(f"**/delete-tags/{name}?tag=v1")
    page.click("button.danger")
    page.wait_for_url(f"**/repository/{name}?deleted=1")
    expect(page.locator("[role=status]")).to_contain_text("1 tag was deleted.")
    assert dict(catalog.snapshots.get(name).tags) == {}
    assert watched.faults == []
    context.close()


def test_a_filtered_list_keeps_its_buttons(context: BrowserContext, filled: Shown) -> None:
    watched = Watched(context.new_page(), filled.api.url)
    watched.log_in("admin", filled.api.password)
    watched.open("/repository/library/alpine")
    watched.page.locator("#tag").press_sequentially("3.2")
    rows = watched.page.locator("#results tbody tr")
    expect(rows).to_have_count(3)
    watched.page.check('input[aria-label="Select 3.21"]')
    watched.page.click("text=Promote…")
    watched.page.wait_for_url("**/promote/library/alpine?tag=3.21")
    watched.page.fill("#target", "team/server")
    watched.page.click("text=Show the plan")
    watched.page.wait_for_url("**target=team%2Fserver")
    expect(watched.page.locator("button.main")).to_have_text("Promote to team/server")
    assert watched.faults == []


def push(site: Shown, name: str) -> None:
    store = MemoryStore()
    now = datetime.now(UTC)
    image = make_image(store, f"{name} {now}")
    Filler(site.api.catalog, now).commit(name, store, {f"t{now.timestamp():.0f}": image}, actor="else")


@pytest.mark.parametrize("path", ["/", "/activity"])
def test_a_page_shows_what_comes_without_being_loaded_again(context: BrowserContext, filled: Shown, path: str) -> None:
    watched = Watched(context.new_page(), filled.api.url)
    watched.log_in("bob", PASSWORD)
    watched.open(path)
    page = watched.page
    pause = page.locator("#pause")
    expect(pause).to_be_visible()
    page.evaluate("window.kept = true")
    name = f"team/live-{'home' if path == '/' else 'activity'}"
    push(filled, name)
    expect(page.locator("#results")).to_contain_text(name, timeout=15_000)
    assert page.evaluate("window.kept") is True
    pause.click()
    expect(pause).to_have_text("Resume updates")
    push(filled, f"{name}-paused")
    page.wait_for_timeout(2500)
    assert f"{name}-paused" not in page.locator("#results").inner_text()
    pause.click()
    expect(page.locator("#results")).to_contain_text(f"{name}-paused", timeout=15_000)
    assert watched.faults == []


def test_a_page_of_an_ended_session_shows_nothing_private_any_more(context: BrowserContext, filled: Shown) -> None:
    first, second = (Watched(context.new_page(), filled.api.url) for _ in range(2))
    first.log_in("admin", filled.api.password)
    first.open("/activity")
    expect(first.page.locator("#pause")).to_be_visible()
    second.open("/paths")
    second.page.click("text=Log out")
    expect(first.page.locator("text=Log in").first).to_be_visible(timeout=20_000)
    assert "private/nightjar" not in first.page.content()


def test_without_scripts_a_page_stays_as_it_is(browser: Browser, filled: Shown) -> None:
    context = browser.new_context(java_script_enabled=False)
    watched = Watched(context.new_page(), filled.api.url)
    watched.open("/")
    expect(watched.page.locator("#pause")).to_be_hidden()
    context.close()
