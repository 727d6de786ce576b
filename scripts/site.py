"""Build the documentation as a site: `make site` writes build/site, by Zensical and docs/zensical.toml.

1. Stage the pages in a folder of their own, laid out as the project is, with the files that they link to.
2. Write a list of the decisions, and put them into the navigation.
3. Give the pages mermaid, where `make tools` has brought it; without it, drawings stay text.
4. Build strictly: a link to a page or a heading that is not there fails.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
MERMAID = ROOT / ".tools" / "npm" / "mermaid" / "mermaid.min.js"
CONFIG = "docs/zensical.toml"
SINGLE_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
DECISIONS = "docs/adr/"
_LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
_COLORS = re.compile("\x1b\\[[0-9;]*m")
_DRAWING_FENCE = '{ name = "mermaid"'


def page_paths(root: Path) -> list[str]:
    """Return the pages of the site, relative to the project."""
    return [*SINGLE_PAGES, *sorted(str(path.relative_to(root)) for path in (root / "docs").rglob("*.md"))]


def linked_files(root: Path, pages: Iterable[str]) -> set[str]:
    """Return the files, other than pages, that pages link to or show; relative to the project."""
    found: set[str] = set()
    for page in pages:
        for target in _LINK.findall((root / page).read_text()):
            path = (root / page).parent.joinpath(target).resolve()
            if not re.match(r"[a-z]+:", target) and path.suffix != ".md" and path.is_file():
                found.add(str(path.relative_to(root)))
    return found


def list_decisions(root: Path) -> str:
    """Return a page that lists the decisions by their titles."""
    records = sorted((root / DECISIONS).glob("*.md"))
    titles = (record.read_text().splitlines()[0].removeprefix("# ") for record in records)
    rows = [f"- [{title}]({record.name})" for title, record in zip(titles, records, strict=True)]
    return "\n".join(["# Decisions", "", "Each page tells what was decided, and why.", "", *rows, ""])


def stage_pages(root: Path, folder: Path, *, mermaid: Path | None) -> None:
    """Copy all that the site is made of into an empty folder."""
    pages = page_paths(root)
    for name in (*pages, *linked_files(root, pages)):
        target = folder / "pages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    (folder / "pages" / DECISIONS / "index.md").write_text(list_decisions(root))
    config = (root / CONFIG).read_text()
    decisions = [f"{DECISIONS}index.md", *(name for name in pages if name.startswith(DECISIONS))]
    config = _replace(config, json.dumps(DECISIONS), json.dumps(decisions))
    if mermaid is None:
        config = _replace(config, _DRAWING_FENCE, '{ name = "no-drawing"')
    else:
        shutil.copyfile(mermaid, folder / "pages" / "mermaid.min.js")
        config = _replace(config, "[project]\n", '[project]\nextra_javascript = ["mermaid.min.js"]\n')
    (folder / "zensical.toml").write_text(config)


def _replace(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1, f"{CONFIG} lacks {old}"
    return text.replace(old, new)


def build_site(site: Path, *, root: Path = ROOT, mermaid: Path | None = None) -> None:
    """Build the site in the place of what is there; RuntimeError with Zensical's report where pages have faults."""
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        stage_pages(root, Path(folder), mermaid=mermaid)
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            report = _COLORS.sub("", done.stdout).partition("Traceback")[0]
            raise RuntimeError(f"the site cannot be built:\n{report}")
        shutil.rmtree(site, ignore_errors=True)
        site.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "site", site)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.site", description="Build the documentation as a site.")
    parser.add_argument("--output", type=Path, default=SITE, help="Folder of the site; it is replaced.")
    site = parser.parse_args(arguments).output
    build_site(site, mermaid=MERMAID if MERMAID.exists() else None)
    print(f"{site}/index.html")  # noqa: T201  # a command of developers: its output is its purpose
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
