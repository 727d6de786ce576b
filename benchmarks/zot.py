"""zot as a peer, where `zot` is on PATH: local storage with the settings as they come, no logins, its log of errors alone."""

import json
import shutil
from pathlib import Path

from benchmarks.wire import Server
from tests.servers import Child, Children, answers, free_port

ZOT = shutil.which("zot")


def start_zot(children: Children, name: str) -> tuple[Server, Child] | None:
    """Start a new zot in a folder of that name; None where there is none to start."""
    if ZOT is None:
        return None
    folder, port = children.folder / name, free_port()
    folder.mkdir()
    config = folder / "config.json"
    config.write_text(json.dumps(_settings(folder / "storage", port)))
    child = children.start(name, [ZOT, "serve", str(config)])
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/v2/"))
    return Server("zot", port), child


def _settings(storage: Path, port: int) -> dict[str, object]:
    return {
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": str(storage)},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
