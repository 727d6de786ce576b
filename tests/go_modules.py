"""Files of Go modules that `scripts/tools` has fetched, at versions that it pins: schemas that others publish."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import ROOT


def _cache() -> str:
    """Where Go keeps the modules of whoever runs the tests, which have homes of their own; empty without Go."""
    if (go := shutil.which("go")) is None:
        return ""
    env = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}
    return subprocess.run([go, "env", "GOMODCACHE"], env=env, check=True, capture_output=True, text=True).stdout.strip()


def module_folder(module: str) -> Path:
    """Return where a module's files are; the test is skipped, by name, where Go or the module is missing."""
    pinned = re.search(rf"\b{re.escape(module)}@([\w.-]+)", (ROOT / "scripts" / "tools").read_text())
    assert pinned, f"scripts/tools pins no {module}"
    cache = _cache()
    folder = Path(cache) / f"{module}@{pinned[1]}"
    if not cache or not folder.is_dir():
        pytest.skip(f"the Go module {module} {pinned[1]} is not here (`make tools` fetches it)")
    return folder
