"""What the image installs: the part of requirements.lock that an installation needs, all of it and no tests' tools."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement

from scripts.runtime_lock import main, read_blocks, select_runtime
from tests.servers import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = {"pytest", "mypy", "ruff", "hypothesis", "schemathesis", "pytest-xdist", "zensical"}


def test_it_is_complete_and_has_no_tools_of_tests() -> None:
    """Every package that is installed here asks only for packages that are in it too."""
    chosen = set(select_runtime(LOCK, PROJECT))
    assert not chosen & TOOLS
    assert set(read_blocks(LOCK)) >= chosen >= {"duckdb", "prefect", "psycopg", "setuptools", "boto3", "uvloop"}
    asked: set[str] = set()
    for name in chosen:
        try:
            texts = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # one of another platform
            continue
        asked |= {one.name.lower().replace("_", "-").replace(".", "-") for one in texts if _is_wanted(one)}
    assert asked - {name.replace(".", "-") for name in chosen} == set()


def _is_wanted(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def test_it_is_a_lock_with_hashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(str(ROOT / "requirements.lock"), str(ROOT / "pyproject.toml")) == 0
    printed = capsys.readouterr().out
    blocks = read_blocks(printed)
    assert sorted(blocks) == select_runtime(LOCK, PROJECT)
    assert all("--hash=sha256:" in block for block in blocks.values())
    assert all(block in LOCK for block in blocks.values())
