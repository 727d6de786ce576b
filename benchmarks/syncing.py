"""How fast a repository is mirrored: against `skopeo sync`, and against itself when nothing has changed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.content import Image, series
from benchmarks.rows import Row
from benchmarks.stage import Prefect, Stage, Sync, sync_command, sync_env, timed_command, timed_sync
from benchmarks.wire import Connection, Server, push_image


def syncing_rows(stage: Stage, *, rounds: int, tags: int, many_tags: int) -> Iterator[Row]:
    """First syncs of `tags` tags in turns with skopeo's, then `many_tags` tags twice."""
    upstream, registry = stage.peer("upstream")
    fill(upstream, "bench/mirror", list(series("mirror", tags, bases=10, base_size=2_000_000, own_size=200_000)))
    prefect = stage.prefect()
    yield from _against_skopeo(stage, registry.host, prefect, rounds, tags)
    fill(upstream, "bench/many", list(series("many", many_tags, bases=10, base_size=200_000, own_size=10_000)))
    yield from _unchanged(stage, registry.host, prefect, rounds, many_tags)


def fill(server: Server, repository: str, images: list[Image]) -> None:
    """Push images, four at a time."""

    def push(share: list[Image]) -> None:
        with Connection(server) as connection:
            for image in share:
                push_image(connection, repository, image)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, [images[number::4] for number in range(4)]))


def _against_skopeo(stage: Stage, upstream: str, prefect: Prefect, rounds: int, tags: int) -> Iterator[Row]:
    ours: list[Sync] = []
    alone: list[float] = []
    to_registry: list[float] = []
    to_folder: list[float] = []
    source = f"{upstream}/bench/mirror"
    for number in range(rounds):
        ours.append(timed_sync(stage, source, "mirror", stage.folder / f"sync-{number}", prefect))
        _, destination = stage.peer(f"destination-{number}")
        to_registry.append(
            _skopeo_sync(stage, source, ["--dest", "docker", "--dest-tls-verify=false"], destination.host)
        )
        destination.child.stop()
        to_folder.append(_skopeo_sync(stage, source, ["--dest", "dir"], str(stage.folder / f"folder-{number}")))
    home = stage.folder / "sync-alone"
    alone.append(timed_command(stage, "sync", sync_command(source, "mirror"), sync_env(home, None)))
    whole, inside = tuple(sync.whole for sync in ours), tuple(sync.inside for sync in ours)
    name = f"first sync of {tags} tags"
    yield Row(
        f"{name}, whole command", "s", whole, tuple(to_registry), 1.5, "less", "peer: skopeo sync to docker-registry"
    )
    yield Row(f"{name}, inside a running flow", "s", inside, tuple(to_registry), 1.5, "less", "peer: the same")
    yield Row(f"{name}, against a folder", "s", whole, tuple(to_folder), None, "less", "peer: skopeo sync --dest dir")
    yield Row(
        f"{name}, without a Prefect server", "s", tuple(alone), (), None, "less", "the flow starts a server of its own"
    )


def _skopeo_sync(stage: Stage, source: str, options: list[str], destination: str) -> float:
    client = stage.skopeo()
    command = [client.binary, *client.options, "sync", "--src", "docker", "--src-tls-verify=false", *options]
    return timed_command(stage, "skopeo-sync", [*command, source, destination], dict(client.env))


def _unchanged(stage: Stage, upstream: str, prefect: Prefect, rounds: int, tags: int) -> Iterator[Row]:
    source, home = f"{upstream}/bench/many", stage.folder / "sync-many"
    first = timed_sync(stage, source, "many", home, prefect)
    again = [timed_sync(stage, source, "many", home, prefect) for _ in range(rounds)]
    name = f"unchanged sync of {tags:,} tags"
    yield Row(
        f"{name}, inside a running flow",
        "s",
        tuple(sync.inside for sync in again),
        (first.inside,),
        20.0,
        "less",
        "peer: its own first sync",
    )
    yield Row(
        f"{name}, whole command",
        "s",
        tuple(sync.whole for sync in again),
        (first.whole,),
        None,
        "less",
        f"peer: its own first sync; {median(sync.whole - sync.inside for sync in again):.1f} s of it before and after the flow",
    )
