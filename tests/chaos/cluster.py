"""Three replicas over PostgreSQL and S3, each part of which can be killed, paused and started again."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos.partition import Link
from tests.homes import new_home
from tests.postgresql import PostgresServer, environment, make_postgres
from tests.servers import Child, Children, EntrepotServer, start_entrepot, start_s3


@dataclass
class Cluster:
    """The parts by name; `replicas` are those that clients know. `links` are the first replica's networks, by where they lead."""

    replicas: list[EntrepotServer]
    database: PostgresServer
    parts: Mapping[str, Child]
    password: str
    env: Mapping[str, str]
    links: Mapping[str, Link] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for some seconds, and ends."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]
    seconds: float


@dataclass
class Recovery:
    """How long after the end of a fault a push and a pull by each replica worked again, in seconds."""

    fault: str
    push: float = float("nan")
    pull: float = float("nan")
    notes: list[str] = field(default_factory=list)


def start_cluster(children: Children, folder: Path, *, replicas: int = 3, links: ExitStack | None = None) -> Cluster:
    """Start all parts; the database syncs to disk, so that killing it loses nothing.

    With `links`, which ends them, the first replica reaches database and store by networks that can be cut.
    """
    database = make_postgres(children, durable=True)
    store = start_s3(children)
    shared = {**environment(database.new_database()), **store.env}
    started: list[EntrepotServer] = []
    networks: dict[str, Link] = {}
    if links is not None:
        networks = {
            "database": links.enter_context(Link(database.port)),
            "store": links.enter_context(Link(store.port)),
        }
    for number in range(replicas):
        home = new_home(folder / f"replica-{number}")
        own = shared if number or not networks else _through(shared, database.port, store.port, networks)
        started.append(start_entrepot(children, home, env=own))
    parts = {f"replica {number}": one.child for number, one in enumerate(started)}
    parts["database"] = next(one for one in children.all if one.name == "postgres")
    parts["store"] = store.child
    return Cluster(started, database, parts, started[0].password, shared, networks)


def _through(shared: Mapping[str, str], database: int, store: int, links: Mapping[str, Link]) -> dict[str, str]:
    """Return an environment with the ports of links in the place of those that they lead to."""
    return {
        **shared,
        "ENTREPOT_CATALOG": shared["ENTREPOT_CATALOG"].replace(f":{database}/", f":{links['database'].port}/"),
        "ENTREPOT_S3_ENDPOINT": shared["ENTREPOT_S3_ENDPOINT"].replace(f":{store}", f":{links['store'].port}"),
    }


def faults_of(cluster: Cluster, *, pause: float, is_short: bool = False) -> list[Fault]:
    """Return each fault of each part; `pause`: seconds for which a part is paused or away.

    The short form has each kind once: one replica is killed, and another one paused.
    """
    found = []
    for name, child in cluster.parts.items():
        if not (is_short and name in ("replica 1", "replica 2")):
            found.append(_kill(name, child, pause))
        if not (is_short and name in ("replica 0", "replica 2")):
            found.append(_pause(name, child, pause))
    for name, link in cluster.links.items():
        for direction in ("both", "there", "back"):
            text = f"replica 0 to {name}: cut {'both ways' if direction == 'both' else direction} for {pause:g} s"
            found.append(Fault(text, partial(link.cut, direction), link.mend, pause))
    found.append(Fault("database: all sessions ended", lambda: end_sessions(cluster.database), lambda: None, 0.5))
    return found


def _kill(name: str, child: Child, seconds: float) -> Fault:
    return Fault(f"{name}: kill -9, {seconds:g} s away", child.kill, child.start, seconds)


def _pause(name: str, child: Child, seconds: float) -> Fault:
    return Fault(
        f"{name}: paused for {seconds:g} s",
        lambda: signal_group(child, signal.SIGSTOP),
        lambda: signal_group(child, signal.SIGCONT),
        seconds,
    )


def signal_group(child: Child, number: int) -> None:
    """Send a signal to a process and all that it has started."""
    os.killpg(child.pid, number)


def end_sessions(database: PostgresServer) -> None:
    """End every session of ours, as a failover does."""
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot'")


def seconds_until(works: Callable[[], bool], limit: float) -> float:
    """Return how long it took until something worked; AssertionError after `limit` seconds."""
    begun = time.monotonic()
    while not works():
        assert time.monotonic() - begun < limit, f"it does not work again after {limit:g} s"
        time.sleep(0.05)
    return time.monotonic() - begun
