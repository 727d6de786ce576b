"""What trust costs: pulls behind a gate beside pulls without one, and one command that signs, or verifies, many images."""

import json
import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.committing import stage_commit
from benchmarks.content import MANIFEST, Image, make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.memory import MEGABYTE, peak_of_command
from benchmarks.rows import Row
from benchmarks.stage import ENTREPOT, Stage, sync_env, timed_command
from benchmarks.wire import Connection, push_image
from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import Commit

_REPOSITORY = "bench/trust"
_PASSWORD = {"ENTREPOT_SIGNING_PASSWORD": "of one benchmark"}
_SIGN, _VERIFY, _FLAT = 1000 / 20, 1000 / 100, 100.0
"""Milliseconds that signing (of one core) and verifying one image may take, and the megabytes that ten times as many may add."""


def trust_rows(stage: Stage, *, rounds: int, seconds: float, images: int) -> Iterator[Row]:
    """Gate pulls of one image; sign and verify `images`."""
    yield from _gated(stage, rounds, seconds)
    yield from _signed(stage, images)


def _gated(stage: Stage, rounds: int, seconds: float) -> Iterator[Row]:
    """Two servers have the same signed image; one of them has a policy and a gate."""
    image = make_image("v1", [make_layer("trust", 10_000)])
    servers, key = [], _key(stage)
    for name in ("gated", "free"):
        server, started = stage.ours(name)
        with Connection(server) as connection:
            push_image(connection, _REPOSITORY, image)
        _run(stage, started.home, "sign", f"{_REPOSITORY}:v1", "--key", str(key))
        servers.append((server, started))
    gated = servers[0][1].home
    _run(stage, gated, "policy", "set", "release", str(_policy(stage, key)))
    _run(stage, gated, "policy", "gate", "bench/**", "release", "--at", "pull")
    for what, path in (("tag", "v1"), ("digest", image.digest)):
        load = Load(f"/v2/{_REPOSITORY}/manifests/{path}", accept=MANIFEST, seconds=seconds)
        rates = [tuple(requests_per_second(server, load) for server, _ in servers) for _ in range(rounds)]
        ours, peer = tuple(one for one, _ in rates), tuple(one for _, one in rates)
        note = "peer: ours without a gate; the policy wants a signature by a key"
        yield Row(f"manifest GET by {what}, behind a gate", "requests/s", ours, peer, 0.9, note=note)
    for _, started in servers:
        started.child.stop()


def _signed(stage: Stage, images: int) -> Iterator[Row]:
    """Sign a tenth, then all; verify all by the key, and by a policy."""
    key = _key(stage)
    peaks, homes = [], {count: stage.folder / f"trust-{count}" for count in (images // 10, images)}
    for count, home in homes.items():
        _fill(home, [make_image(f"v{number}", [make_layer("trust", 1_000)]) for number in range(count)])
    command = [str(ENTREPOT), "sign", _REPOSITORY, "--key", str(key), "--json"]
    peaks = [
        peak_of_command(stage.children, "sign", command, env={**sync_env(home, None), **_PASSWORD}) / MEGABYTE
        for home in homes.values()
    ]
    again = stage.folder / "trust-again"
    _fill(again, [make_image(f"v{number}", [make_layer("trust", 1_000)]) for number in range(images)])
    before = _processor_seconds()
    took = _run(stage, again, "sign", _REPOSITORY, "--key", str(key)) * 1000 / images
    used = (_processor_seconds() - before) * 1000 / images
    note = "the whole command, in both forms, with a key in a file"
    yield Row(f"sign {images:,} images, each", "ms", (took,), better="less", note=note)
    yield Row(f"sign {images:,} images, processor time of each", "ms", (used,), goal=_SIGN, better="less")
    note = f"resident at most, beyond signing {images // 10:,}"
    yield Row(
        f"sign {images:,} images, memory", "MB", (max(0.0, peaks[1] - peaks[0]),), goal=_FLAT, better="less", note=note
    )
    by = {"a key": ("--key", str(key.with_suffix(".pub"))), "a policy": ("--policy", str(_policy(stage, key)))}
    for who, options in by.items():
        took = _run(stage, homes[images], "verify", _REPOSITORY, "--include", "v*", *options) * 1000 / images
        note = "the whole command"
        yield Row(f"verify {images:,} images by {who}, each", "ms", (took,), goal=_VERIFY, better="less", note=note)


def _key(stage: Stage) -> Path:
    key = stage.folder / "bench.key"
    if not key.exists():
        _run(stage, stage.folder / "keys", "key", "generate", "--output", str(key.with_suffix("")))
    return key


def _policy(stage: Stage, key: Path) -> Path:
    file = stage.folder / "policy.json"
    signers = {"bench": {"keys": [key.with_suffix(".pub").read_text()]}}
    rules = [{"paths": ["bench/**"], "signatures": [{"signers": ["bench"]}]}]
    file.write_text(json.dumps({"version": 1, "signers": signers, "rules": rules}))
    return file


def _run(stage: Stage, home: Path, *arguments: str) -> float:
    """Seconds that a command takes, from its start to its end; no Prefect server records its run."""
    command = [str(ENTREPOT), *arguments, "--json"]
    return timed_command(stage, arguments[0], command, {**sync_env(home, None), **_PASSWORD})


def _processor_seconds() -> float:
    """Return what all commands that have ended took of one core."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fill(home: Path, images: list[Image]) -> None:
    """Put images into a new catalogue, in one version."""
    with Catalog(read_settings(home=home)) as catalog:
        changes = [change for image in images for change in stage_commit(catalog, _REPOSITORY, image).changes]
        catalog.commits.commit(Commit(_REPOSITORY, "push", tuple(changes), "fill", "bench", datetime.now(UTC)))
