"""Reads the pages of a built site: what each defines, links to and loads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

HOST = "http://site.test"
# What a browser requests when it opens a page, by element and attribute.
LOADED = {("img", "src"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}


@dataclass
class BuiltPage(HTMLParser):
    """One page: ids, links, links of the navigation, and what it loads."""

    address: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    navigation: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self._depth += tag == "nav"
        if tag == "a" and "href" in values:
            self.links.append(urljoin(self.address, values["href"]))
            if self._depth:
                self.navigation.add(self.links[-1].partition("#")[0])
        self.loads += [urljoin(self.address, value) for name, value in values.items() if (tag, name) in LOADED]

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "nav"


def read_site(folder: Path) -> dict[str, BuiltPage]:
    """Return the pages of a site by their addresses."""
    pages: dict[str, BuiltPage] = {}
    for path in sorted(folder.rglob("*.html")):
        name = str(path.relative_to(folder))
        address = f"{HOST}/{'' if name == '404.html' else name.removesuffix('index.html')}"
        page = BuiltPage(address)
        page.feed(path.read_text())
        if name != "404.html":
            pages[address] = page
    return pages


def broken_links(folder: Path, pages: Mapping[str, BuiltPage]) -> Iterator[str]:
    """Yield each link within the site that leads to no file or to no element."""
    for page in pages.values():
        for link in (*page.links, *page.loads):
            address, _, anchor = link.partition("#")
            if urlsplit(address).netloc != urlsplit(HOST).netloc:
                continue
            target = pages.get(address)
            if target is None and not (folder / unquote(urlsplit(address).path).lstrip("/")).is_file():
                yield f"{page.address}: {link}"
            elif anchor and target is not None and unquote(anchor) not in target.ids:
                yield f"{page.address}: no element {link}"
