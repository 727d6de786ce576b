"""Takes the pictures of docs/tutorial.md: `.venv/bin/python -m tests.pages.pictures`, with Chromium on the path.

It fills a registry of its own with the content of the tests, and writes docs/pictures.
"""

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.api.conftest import serve
from tests.pages.content import fill_registry
from tests.servers import ROOT

FOLDER = ROOT / "docs" / "pictures"
SIZE = {"width": 1200, "height": 700}
PICTURES = {
    "home": "/",
    "repository": "/repository/library/alpine",
    "diff": "/diff/library/alpine?old=3&new=4",
    "image": "/image/team/server:v1.1",
}
LARGEST = 120_000
"""Bytes."""


def take_pictures(folder: Path) -> None:
    """Write one PNG for each page, in the light colors, with the administrator's session."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, serve(Path(home) / "entrepot") as api, sync_playwright() as playwright:
        fill_registry(api.catalog, datetime.now(UTC))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
        page.goto(f"{api.url}/login")
        page.fill("#username", "admin")
        page.fill("#password", api.password)
        page.click("button.main")
        page.wait_for_url(f"{api.url}/")
        for name, path in PICTURES.items():
            page.goto(api.url + path)
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


def main() -> int:
    take_pictures(FOLDER)
    for name in PICTURES:
        size = (FOLDER / f"{name}.png").stat().st_size
        print(f"{name}.png {size:,} bytes")
        assert size <= LARGEST, f"{name}.png is too large for the documentation"
    return 0


if __name__ == "__main__":
    sys.exit(main())
