"""Files of tests are in memory where it has the room, and no run leaves them there, killed or not."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import scratch
from tests.scratch import AVAILABLE, GIB, ROOM, Memory, delete_abandoned, locked_folder, read_memory, reason_for_disk
from tests.servers import ROOT

ENOUGH = Memory("tmpfs", executable=True, free=ROOM, available=AVAILABLE)
LATER = 3600.0


def test_enough_memory_is_used() -> None:
    assert reason_for_disk(ENOUGH) == ""


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"kind": "ext4"}, "/dev/shm is not in memory"),
        ({"executable": False}, "/dev/shm runs no programs"),
        ({"free": 64 * 2**20}, "/dev/shm has 0.1 GiB free, below 8"),
        ({"available": 7 * GIB}, "7.0 GiB of memory are available, below 12"),
    ],
)
def test_the_disk_is_used_where_memory_lacks_something(lacking: dict[str, object], reason: str) -> None:
    assert reason_for_disk(replace(ENOUGH, **lacking)) == reason  # type: ignore[arg-type]


def _machine(folder: Path, mounted: Path, *, limit: str = "max", used: int = 0) -> Path:
    for name, text in {
        "proc/mounts": f"/dev/vda / ext4 rw 0 0\nshm {mounted} tmpfs rw,relatime 0 0\n",
        "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\nHugePages_Total: 0\n",
        "sys/fs/cgroup/memory.max": f"{limit}\n",
        "sys/fs/cgroup/memory.current": f"{used}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_a_machine_has_is_read(tmp_path: Path) -> None:
    machine = _machine(tmp_path, tmp_path)
    found = read_memory(tmp_path, system=machine)
    assert (found.kind, found.available) == ("tmpfs", 8_000_000 * 1024)
    assert found.free > 0
    assert read_memory(tmp_path / "elsewhere", system=machine).kind == ""
    assert read_memory(tmp_path, system=tmp_path / "nothing").kind == ""


def test_the_limit_of_a_container_is_its_memory(tmp_path: Path) -> None:
    machine = _machine(tmp_path, tmp_path, limit=str(5 * GIB), used=GIB)
    assert read_memory(tmp_path, system=machine).available == 4 * GIB


def _run(parent: Path, *, killed: bool) -> Path:
    """Have another process make a folder with a file in it, and end while it holds it; return the folder."""
    text = (
        "import os, pathlib, sys; from tests.scratch import locked_folder\n"
        "with locked_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'file').touch(); print(folder, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text, str(parent)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        delete_abandoned(parent, now=time.time() + LATER)
        assert (folder / "file").exists()  # its process lives
        if killed:
            process.send_signal(signal.SIGKILL)
    return folder


def test_a_run_deletes_its_folder(tmp_path: Path) -> None:
    assert not _run(tmp_path, killed=False).exists()


def test_the_next_run_deletes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    folder, foreign = _run(tmp_path, killed=True), tmp_path / "of-somebody-else"
    foreign.mkdir()
    delete_abandoned(tmp_path)
    assert folder.exists()  # one that has just begun may have no lock yet
    delete_abandoned(tmp_path, now=time.time() + LATER)
    assert not folder.exists()
    assert foreign.exists()


def test_other_users_reach_what_is_theirs_in_a_folder_and_list_nothing(tmp_path: Path) -> None:
    with locked_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o711
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_temporary_files_go_to_memory_and_then_where_they_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before, environ = tempfile.gettempdir(), dict[str, str]()
    monkeypatch.setattr(scratch, "read_memory", lambda: ENOUGH)
    monkeypatch.setattr(scratch, "SHARED_MEMORY", Path(before))
    with scratch.in_memory(environ) as line:
        folder = Path(environ["TMPDIR"])
        assert (folder.parent, environ[scratch.DISK]) == (Path(before), before)
        assert f"in memory, in {folder}" in line
    assert (environ, folder.exists()) == ({scratch.DISK: before}, False)


def test_a_folder_of_the_callers_is_kept(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    with scratch.in_memory(environ) as line:
        assert environ["TMPDIR"] == str(tmp_path)
    assert f"(TMPDIR={tmp_path})" in line


def test_what_has_to_be_on_disk_is_not_in_memory(on_disk: Path) -> None:
    assert scratch.SHARED_MEMORY not in on_disk.parents
