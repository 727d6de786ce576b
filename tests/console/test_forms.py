"""Forms in a real browser: what Prefect's page makes of every deployment's form, what it refuses, and a run that it starts.

The page loads nothing from other hosts, and shows no promotions. `ENTREPOT_SCREENSHOTS=FOLDER` keeps a picture of each form.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from playwright.sync_api import TimeoutError as PageTimeout

from flows.console.form_flow import parameter_schema_of
from flows.orchestration.deployments import read_deployments
from oci.memory import MemoryStore
from tests.console.conftest import Console
from tests.flows.test_sync_flow import image
from tests.servers import tool
from tests.unit.flows.console.test_form_schema import flow_of
from tests.upstream import Upstream

pytestmark = pytest.mark.slow

DEPLOYED = [one["name"] for one in read_deployments()]
SIZE = 1200, 1000
PATIENCE = 200_000.0
"""Milliseconds that a page may take on a busy machine: it loads some ten megabytes."""
PLACES = (
    "dashboard", "runs", "flows", "deployments", "blocks", "artifacts", "automations", "events", "concurrency-limits",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=tool("chromium"), args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The addresses that the page has asked for."""
    return []


@pytest.fixture(scope="module")
def context(browser: Browser, console: Console, asked: list[str]) -> Iterator[BrowserContext]:
    """A browser whose user has logged in to Prefect."""
    found = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    found.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    found.on("request", lambda request: _note(request, asked))
    page = found.new_page()
    page.goto(console.url, wait_until="commit")
    page.get_by_role("textbox").first.fill(console.login)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/dashboard"), wait_until="commit")
    page.close()
    yield found
    found.close()
    expect.set_options(timeout=5_000)


def _note(request: Request, asked: list[str]) -> None:
    if not request.url.startswith(("data:", "blob:")):
        asked.append(request.url)


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    found = context.new_page()
    yield found
    found.close()


def open_form(page: Page, console: Console, name: str) -> None:
    page.goto(f"{console.url}/v2/deployments/deployment/{console.deployment(name)['id']}/run", wait_until="commit")
    page.get_by_role("heading", name="Parameters").wait_for()


def submit(page: Page, values: Mapping[str, str]) -> dict[str, Any]:
    """Fill in a form and send it; return the run that Prefect has made of it."""
    for _ in range(10):
        for label, value in values.items():
            page.get_by_label(label, exact=True).fill(value)
        try:
            with page.expect_response(re.compile("/create_flow_run"), timeout=PATIENCE / 10) as response:
                page.get_by_role("button", name="Submit").click()
        except PageTimeout:  # the page was not ready to take what was filled in
            continue
        assert response.value.ok, response.value.text()
        return dict(response.value.json())
    raise AssertionError(f"the form was not sent: {page.locator('form').inner_text()[:2000]}")


def keep_picture(page: Page, name: str) -> None:
    folder = os.environ.get("ENTREPOT_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_form_shows_its_fields_by_importance(page: Page, console: Console, asked: list[str], name: str) -> None:
    open_form(page, console, name)
    shown = parameter_schema_of(flow_of(name))
    for field in shown["properties"].values():
        expect(page.get_by_text(re.compile(rf"^{re.escape(field['title'])}( \(Optional\))?$")).first).to_be_attached()
        expect(page.get_by_text(field["description"]).first).to_be_attached()
    text = page.locator("form").inner_text()
    assert 'Property is type "None"' not in text
    assert not re.search(r"^(request|str|int|None)( \(Optional\))?$", text, re.MULTILINE | re.IGNORECASE), text
    titles = [rf"^{re.escape(field['title'])}( \(Optional\))?$" for field in shown["properties"].values()]
    places = [found.start() for title in titles if (found := re.search(title, text, re.MULTILINE))]
    assert len(places) == len(titles)
    assert places == sorted(places)
    keep_picture(page, name)
    assert [url for url in asked if not url.startswith(f"{console.url}/")] == []


def test_a_wrong_value_is_refused_in_the_form(page: Page, console: Console) -> None:
    before = len(console.runs_of("sync-repository"))
    open_form(page, console, "sync-repository")
    page.get_by_label("Remote", exact=True).fill("https://user:hunter2@registry.example/team/app")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("does not match").first).to_be_visible()
    keep_picture(page, "refused")
    assert len(console.runs_of("sync-repository")) == before


def test_a_right_value_starts_a_run_with_a_speaking_name(
    page: Page, console: Console, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    remote = f"{upstream.host}/team/app"
    open_form(page, console, "sync-repository")
    made = submit(page, {"Remote": remote, "Repository (Optional)": "by/form"})
    run = console.await_state(made["id"], "COMPLETED")
    assert run["name"] == f"sync {remote}"
    assert run["parameters"]["remote"] == remote
    assert {"repo:by/form", f"upstream:{remote}", "entrepot"} <= set(run["tags"])
    page.goto(f"{console.url}/v2/runs/flow-run/{run['id']}", wait_until="commit")
    expect(page.get_by_text(f"sync {remote}").first).to_be_visible()
    keep_picture(page, "run")


def test_nothing_is_promoted_and_nothing_loaded_from_elsewhere(page: Page, console: Console, asked: list[str]) -> None:
    for path in (
        "dashboard",
        "runs",
        "flows",
        "deployments",
        "blocks",
        "artifacts",
        "automations",
        "events",
        "concurrency-limits",
    ):
        page.goto(f"{console.url}/v2/{path}", wait_until="commit")
        expect(page.get_by_text("Concurrency").first).to_be_visible()
        page.wait_for_load_state("load")
        expect(page.get_by_text("Ready to scale?")).to_have_count(
            0
        )  # it stands there until the page has read its settings
        text = page.locator("body").inner_text()
        assert not re.search("upgrade|prefect cloud|ready to scale", text, re.IGNORECASE), (path, text)
    keep_picture(page, "concurrency")
    assert [url for url in asked if not url.startswith(f"{console.url}/")] == []


def test_pages_may_use_their_own_server_alone(page: Page, console: Console) -> None:
    page.goto(
        f"{console.url}/v2/dashboard", wait_until="load"
    )  # before, the document may be replaced, and no answer comes
    refused = "fetch('https://elsewhere.example/').then(() => 'sent', error => String(error))"
    assert "Failed to fetch" in page.evaluate(refused)
    answer = page.goto(f"{console.url}/v2/dashboard", wait_until="commit")
    assert answer is not None
    assert "default-src 'self'" in answer.headers["content-security-policy"]
