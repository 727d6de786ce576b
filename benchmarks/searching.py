"""Search among many repositories: by the index against the rows of the lake, the page as a whole, and what the index takes."""

import time
from collections.abc import Callable, Iterator
from statistics import median

import httpx

from benchmarks.bulk import Size, fill
from benchmarks.rows import Row
from benchmarks.stage import Stage
from catalog.catalog import Catalog
from catalog.search.lake_search import search_content
from catalog.search.terms import SearchScope, parse_term
from catalog.settings import read_settings

_LIMIT = 51


def search_rows(stage: Stage, *, repositories: int, tags: int, rounds: int) -> Iterator[Row]:
    """Fill a catalogue, search it both ways in this process, then ask the page of a server."""
    settings = read_settings(home=stage.folder / "searching")
    fill(settings, Size(repositories, tags, own_layers=5))
    about = f"search, {repositories:,} repositories of {tags} tags"
    with Catalog(settings) as catalog:
        within = [SearchScope(name, None) for name in catalog.snapshots.names()]
        ((digest,),) = catalog._lake.read("SELECT max(digest) FROM records WHERE kind = 'blob'")  # noqa: SLF001  # any one
        ((members,),) = catalog._lake.read("SELECT count(*) FROM changes")  # noqa: SLF001
        texts = {"tag": "v0.0.3", "nothing": "nowhere", "label": "team=team7", "digest": str(digest)[7:19]}
        begun = time.perf_counter()
        catalog.search.refresh()
        yield Row(f"{about}: making the index", "s", (time.perf_counter() - begun,))
        size = catalog.search.file.stat().st_size
        yield Row(f"{about}: bytes of the index for each tag, manifest and blob", "B", (size / int(str(members)),))
        for name, text in texts.items():
            term = parse_term(text)

            def by_index(term: object = term) -> object:
                return catalog.search.find(term, within, limit=_LIMIT)  # type: ignore[arg-type]

            def by_lake(term: object = term) -> object:
                return search_content(catalog._lake, term, within, limit=_LIMIT)  # type: ignore[arg-type]  # noqa: SLF001

            pairs = [(_timed(by_index), _timed(by_lake)) for _ in range(rounds)]
            ours, peer = tuple(one for one, _ in pairs), tuple(one for _, one in pairs)
            yield Row(f"{about}: {name}", "ms", ours, peer, None, "less", "peer: the lake, without the index", most=50)
    yield from _pages(stage, about, texts, rounds)


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def _pages(stage: Stage, about: str, texts: dict[str, str], rounds: int) -> Iterator[Row]:
    server, started = stage.ours("searching")
    started.wait_ready()
    with httpx.Client(
        base_url=f"http://{server.host}", auth=(server.username, server.password), trust_env=False
    ) as client:
        deadline = time.monotonic() + 120
        while not client.get("/search.json", params={"q": "v0"}, timeout=60).json()["has_packages"]:
            assert time.monotonic() < deadline, "the index is not taken up"
            time.sleep(0.2)
        before = started.child.memory()
        for name, text in texts.items():
            took = []
            for _ in range(rounds):
                begun = time.perf_counter()
                client.get("/search", params={"q": text}, headers={"Accept": "text/html"}).raise_for_status()
                took.append((time.perf_counter() - begun) * 1000)
            yield Row(f"{about}: page, {name}", "ms", (median(took),), goal=50, better="less")
        yield Row(f"{about}: resident memory that searching adds", "MB", ((started.child.memory() - before) / 1e6,))
    started.child.stop()
