"""Ways to look at pages in a real browser, and what is noted of what goes wrong there."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, ViewportSize

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

    def check_whole(self) -> None:
        """Assert that nothing went wrong, there is one heading, and nothing is wider than the screen."""
        assert self.faults == []
        assert self.page.locator("h1").count() == 1
        assert self.page.locator("main").is_visible()
        viewport = self.page.viewport_size
        assert viewport is not None
        assert self.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def judge(page: Page, axe: str) -> dict[str, list[str]]:
    """What axe finds wrong in a page: by rule, the elements."""
    page.evaluate(axe)
    report = page.evaluate("axe.run({resultTypes: ['violations']})")
    return {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in report["violations"]}
