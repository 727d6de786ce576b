"""Forms of pages, read and sent as a browser does."""

from html.parser import HTMLParser

import httpx


class _Confirmation(HTMLParser):
    """Reads the form of a page that confirms its plan: where it is sent, its fields, its buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.buttons = 0
        self._is_within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._is_within = given.get("class") == "confirm"
            self.action = given["action"] if self._is_within else self.action
        elif self._is_within and tag == "input":
            self.fields.append((given["name"], given.get("value", "")))
        elif self._is_within and tag == "button":
            self.buttons += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_within = False


class Confirmation:
    """The form of a plan's page."""

    def __init__(self, page: httpx.Response) -> None:
        read = _Confirmation()
        read.feed(page.text)
        self.action, self.has_button = read.action, read.buttons == 1
        self._fields = read.fields

    def send(self, client: httpx.Client, headers: dict[str, str] | None = None, **changes: str) -> httpx.Response:
        """Send it, some fields with other values."""
        fields = [(name, changes.get(name, value)) for name, value in self._fields]
        form: dict[str, list[str]] = {}
        for name, value in fields:
            form.setdefault(name, []).append(value)
        for name, value in changes.items():
            form.setdefault(name, [value])
        return client.post(self.action, data=form, headers=headers or {})


def open_plan(client: httpx.Client, path: str) -> Confirmation:
    """The form of a page whose plan can be confirmed."""
    page = client.get(path)
    assert page.status_code == 200, page.text
    found = Confirmation(page)
    assert found.has_button, page.text
    return found
