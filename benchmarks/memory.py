"""How much memory a process takes beyond idle while a large layer goes through it, read from /proc."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content import MANIFEST, LargeImage, make_image, make_large_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage, sync_command, sync_env
from benchmarks.wire import Connection, push_image
from tests.servers import Child, Children

MEGABYTE = 1e6
GOAL = 150.0
IDLE, BUSY = 110.0, 170.0
_SETTLED = 2.0
"""Seconds after which a process is idle: the system has back what starting took."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Peak:
    """Resident bytes: at the start, and at most since."""

    before: int
    most: int = 0

    @property
    def extra_megabytes(self) -> float:
        return max(0, self.most - self.before) / MEGABYTE


@contextmanager
def peak_of(child: Child) -> Iterator[Peak]:
    """Measure a running process over a block: the kernel keeps the peak, which is set back first."""
    peak = Peak(child.memory())
    # proc(5): writing 5 resets the peak resident set size to the present one.
    Path(f"/proc/{child.pid}/clear_refs").write_text("5")
    yield peak
    peak.most = child.peak_memory()


def peak_of_command(children: Children, name: str, command: Sequence[str], *, env: dict[str, str]) -> int:
    """Run a command to its end; return the most resident bytes it had (all processes of its group together)."""
    child = children.start(name, command, env=env)
    most = 0
    while child.running:
        most = max(most, _group_memory(child.pid))
        time.sleep(0.02)
    assert child.wait() == 0, child.tail()
    return most


def _group_memory(group: int) -> int:
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            status = (folder / "stat").read_text()
            # After the name in brackets: state, parent, process group, …; resident pages are the 22nd.
            fields = status.rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[21]) * _PAGE
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def memory_rows(stage: Stage, *, size: int) -> Iterator[Row]:
    """Push, pull and sync an image with one layer of `size` bytes; report what each process took beyond idle."""
    image = make_large_image(stage.folder / "large", size)
    name = f"{size / 2**30:.0f} GiB layer" if size >= 2**30 else f"{size / 2**20:.0f} MiB layer"
    yield from _idle_and_busy(stage)
    yield from _pushed_and_pulled(stage, image, name)
    yield from _synced(stage, image, name)


def _idle_and_busy(stage: Stage) -> Iterator[Row]:
    (ours, mine), (peer, theirs) = stage.ours("memory-idle"), stage.peer("memory-idle-peer")
    image = make_image("v1", [make_layer("busy", 100_000)])
    time.sleep(_SETTLED)
    idle = [started.child.memory() / MEGABYTE for started in (mine, theirs)]
    busy, after = [], []
    for server, started in ((ours, mine), (peer, theirs)):
        with Connection(server) as connection:
            push_image(connection, "bench/busy", image)
        for path in ("manifests/v1", f"blobs/{image.blobs[1].digest}"):
            requests_per_second(server, Load(f"/v2/bench/busy/{path}", accept=MANIFEST, connections=64))
        busy.append(started.child.peak_memory() / MEGABYTE)
        after.append(started.child.memory() / MEGABYTE)
        started.child.stop()
    note = "resident, all of Python and its libraries"
    yield Row("API idle", "MB", (idle[0],), (idle[1],), better="less", note=note, most=IDLE)
    note = f"resident at most, with the 64 MiB that checking a password takes; {after[0]:.0f} MB at the end"
    yield Row("API under 64 connections", "MB", (busy[0],), (busy[1],), better="less", note=note, most=BUSY)


def _pushed_and_pulled(stage: Stage, image: LargeImage, name: str) -> Iterator[Row]:
    server, started = stage.ours("memory-push")
    skopeo, target = stage.skopeo(), f"docker://{server.host}/bench/large:v1"
    small = make_image("small", [make_layer("warm", 100_000)])
    with Connection(server) as connection:
        push_image(connection, "bench/large", small)
        connection.expect(200, "GET", f"/v2/bench/large/blobs/{small.blobs[1].digest}")
    with peak_of(started.child) as push:
        creds = ("--dest-creds", started.creds)
        skopeo("copy", "--dest-tls-verify=false", *creds, f"oci:{image.layout}:v1", target, timeout=900)
    with peak_of(started.child) as pull:
        skopeo("copy", "--src-tls-verify=false", target, f"dir:{stage.folder / 'pulled'}", timeout=900)
    yield Row(f"API over idle, push of a {name}", "MB", (push.extra_megabytes,), goal=GOAL, better="less")
    yield Row(f"API over idle, pull of a {name}", "MB", (pull.extra_megabytes,), goal=GOAL, better="less")
    started.child.stop()
    for folder in ("pulled", "memory-push"):
        shutil.rmtree(stage.folder / folder)


def _synced(stage: Stage, image: LargeImage, name: str) -> Iterator[Row]:
    upstream, registry = stage.peer("memory-upstream")
    skopeo = stage.skopeo()
    with Connection(upstream) as connection:
        push_image(connection, "bench/small", make_image("v1", [make_layer("warm", 100_000)]))
    target = f"docker://{registry.host}/bench/large:v1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{image.layout}:v1", target, timeout=900)
    shutil.rmtree(image.layout)
    server, started = stage.ours("memory-sync")
    env = sync_env(started.home, stage.prefect())
    small = peak_of_command(stage.children, "sync", sync_command(f"{registry.host}/bench/small", "small"), env=env)
    with peak_of(started.child) as serving:
        large = peak_of_command(stage.children, "sync", sync_command(f"{registry.host}/bench/large", "large"), env=env)
        with Connection(server) as connection:
            connection.expect(200, "GET", "/v2/large/manifests/v1")
    yield Row(
        f"flow process, sync of a {name}",
        "MB",
        (max(0, large - small) / MEGABYTE,),
        goal=GOAL,
        better="less",
        note=f"over the same command syncing a layer of 100 kB ({small / MEGABYTE:.0f} MB)",
    )
    yield Row(f"API over idle, sync of a {name}", "MB", (serving.extra_megabytes,), goal=GOAL, better="less")
