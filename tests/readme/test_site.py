"""The documentation as a site: built strictly, whole, and sufficient to itself."""

import functools
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from scripts.site import CONFIG, MERMAID, ROOT, build_site, page_paths
from tests.readme.built_pages import HOST, BuiltPage, broken_links, read_site
from tests.servers import tool

pytestmark = pytest.mark.slow


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Print nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, with drawings where `make tools` could bring mermaid."""
    site = tmp_path_factory.mktemp("built") / "site"
    build_site(site, mermaid=MERMAID if MERMAID.exists() else None)
    return site


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, BuiltPage]:
    return read_site(folder)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The site, served on loopback."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    path = tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def built_address(page: str) -> str:
    name = page.removesuffix(".md")
    return f"{HOST}/" if name == "README" else f"{HOST}/{name}/"


def test_every_link_and_anchor_leads_somewhere(folder: Path, pages: dict[str, BuiltPage]) -> None:
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert list(broken_links(folder, pages)) == []


def test_every_page_is_built_and_in_the_navigation(pages: dict[str, BuiltPage]) -> None:
    wanted = {built_address(page) for page in page_paths(ROOT)}
    assert wanted - pages.keys() == set()
    for page in (f"{HOST}/", f"{HOST}/docs/cli/"):
        assert wanted - pages[page].navigation == set()


def test_no_page_loads_anything_of_another_host(folder: Path, pages: dict[str, BuiltPage]) -> None:
    loads = {load for page in pages.values() for load in page.loads}
    assert loads
    assert {load for load in loads if not load.startswith((f"{HOST}/", "data:"))} == set()
    styles = "".join(path.read_text() for path in folder.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+", styles) == []


def test_a_browser_asks_no_other_host(address: str, browser_page: Page) -> None:
    requests: list[str] = []
    faults: list[str] = []
    browser_page.on("request", lambda request: requests.append(request.url))
    browser_page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    browser_page.on("pageerror", lambda error: faults.append(str(error)))
    for path in ("/", "/docs/tutorial/", "/docs/model/", "/docs/http/", "/docs/adr/"):
        browser_page.goto(address + path, wait_until="networkidle")
        assert browser_page.locator("h1").count() == 1
    assert len(requests) > 5
    assert [url for url in requests if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert faults == []


def test_drawings_are_drawn(address: str, browser_page: Page) -> None:
    if not MERMAID.exists() and shutil.which("npm") is None:
        pytest.skip("npm, which brings mermaid, is not installed")
    if not MERMAID.exists():
        tool("mermaid of npm")  # skips, or fails where tools are required
    browser_page.goto(f"{address}/docs/model/", wait_until="networkidle")
    drawing = browser_page.locator("div.mermaid").first
    expect(drawing).to_be_visible()  # its SVG is in a closed shadow root
    box = drawing.bounding_box()
    assert box is not None
    assert box["height"] > 100


def test_search_finds_a_page(address: str, browser_page: Page) -> None:
    browser_page.goto(address, wait_until="networkidle")
    browser_page.get_by_role("button", name="Search").first.click()
    browser_page.keyboard.type("promotion")
    expect(browser_page.get_by_text(re.compile(r"^[1-9]\d* results$"))).to_be_visible(timeout=30_000)


def small_project(root: Path, text: str) -> Path:
    (root / "docs" / "adr").mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/adr/0001-one.md"):
        (root / name).write_text(f"# {Path(name).stem}\n\nText.\n")
    (root / "docs" / "page.md").write_text(text)
    head = (ROOT / CONFIG).read_text()
    nav = 'nav = ["README.md", "docs/page.md", "CONTRIBUTING.md", "CHANGELOG.md", { "Decisions" = "docs/adr/" }]\n'
    (root / CONFIG).write_text(re.sub(r"^nav = \[\n.*?^\]\n", nav, head, flags=re.MULTILINE | re.DOTALL))
    return root


@pytest.mark.parametrize(("link", "fault"), [("gone.md", "page"), ("../README.md#gone", "anchor")])
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, link: str, fault: str) -> None:
    root = small_project(tmp_path / "project", f"# Page\n\n[text]({link})\n")
    with pytest.raises(RuntimeError, match=rf"{fault} does not exist\n.*docs/page\.md:3"):
        build_site(tmp_path / "site", root=root)
    assert not (tmp_path / "site").exists()


def test_a_site_has_the_files_that_its_pages_link_to(tmp_path: Path) -> None:
    root = small_project(tmp_path / "project", "# Page\n\n[file](../some/file.yaml)\n\n```mermaid\ngraph\n```\n")
    (root / "some").mkdir()
    (root / "some" / "file.yaml").write_text("a: 1\n")
    build_site(tmp_path / "site", root=root)
    assert (tmp_path / "site" / "some" / "file.yaml").read_text() == "a: 1\n"
    page = (tmp_path / "site" / "docs" / "page" / "index.html").read_text()
    assert 'class="mermaid"' not in page  # without mermaid of its own, a page would load it from another host
