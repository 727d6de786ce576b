"""Print the part of requirements.lock that an installation needs, without what tests need: for deploy/Containerfile.

`python runtime_lock.py requirements.lock pyproject.toml`; it needs the standard library alone. What a package is locked for
stands in the comments "via …" below it. Beside the dependencies of the project, the extra `postgresql` and setuptools stay.
"""

import re
import sys
import tomllib
from pathlib import Path

_BLOCK = re.compile(r"^([a-z0-9][a-z0-9.-]*)==", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SETUP = "setuptools"
"""What builds the project's own package."""


def read_blocks(lock: str) -> dict[str, str]:
    """Return the lines of each locked package by its name. Pure."""
    starts = [*_BLOCK.finditer(lock)]
    ends = [start.start() for start in starts[1:]] + [len(lock)]
    return {start[1]: lock[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def read_needs(blocks: dict[str, str]) -> dict[str, set[str]]:
    """Return which packages each package needs, from the comments. Pure."""
    needs: dict[str, set[str]] = {name: set() for name in blocks}
    for name, block in blocks.items():
        for user in re.findall(r"^    # (?:via |  )([a-z0-9.-]+)$", block, re.MULTILINE):
            needs.setdefault(user, set()).add(name)
    return needs


def select_runtime(lock: str, project: dict[str, object]) -> list[str]:
    """Return the names of the packages that an installation needs. Pure."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    wanted: list[str] = [*project["dependencies"], *extras["postgresql"], _SETUP]  # type: ignore[misc]
    needs = read_needs(read_blocks(lock))
    found: set[str] = set()
    left = [_NAME.match(text)[0].lower().replace("_", "-") for text in wanted]  # type: ignore[index]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needs.get(name, ())
    return sorted(found)


def main(lock_file: str, project_file: str) -> int:
    """Print the part of the lock."""
    lock = Path(lock_file).read_text()
    project = tomllib.loads(Path(project_file).read_text())["project"]
    blocks = read_blocks(lock)
    for name in select_runtime(lock, project):
        sys.stdout.write(blocks[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
