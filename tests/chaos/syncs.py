"""Syncs of a real upstream by two workers, again and again, and what each of them has acknowledged."""

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.digest import Digest
from tests.chaos.cluster import Fault
from tests.cli.commands import Entrepot, PrefectServer, give_prefect_database, start_prefect
from tests.homes import new_home
from tests.replicas.pushes import push_small_image
from tests.servers import Child, Children, start_docker_registry, wait_until

REPOSITORIES = 4
BELOW = "mirrors"
_POOL = "/work_pools/entrepot"
_OUTAGE = frozenset({500, 502, 503, 504})
_ENGINE = "flows.orchestration.engine"


@dataclass(frozen=True)
class SyncSite:
    """An upstream, a Prefect server, and two workers that share the catalogue of the replicas; `entrepot` runs commands."""

    upstream: str
    prefect: PrefectServer
    entrepot: Entrepot
    workers: Sequence[Child]

    def await_workers(self) -> None:
        """Wait until Prefect knows both workers."""
        wait_until(lambda: self._online() == len(self.workers), 180, "both workers are there")

    def _online(self) -> int:
        pools = {one["name"] for one in self.prefect.filter("work_pools")}
        return len(self.prefect.ask("POST", f"{_POOL}/workers/filter", {})) if "entrepot" in pools else 0


def start_site(children: Children, folder: Path, env: Mapping[str, str], database: Path) -> SyncSite:
    """Start it all, with a home for each worker, as if each had a machine of its own."""
    upstream = start_docker_registry(children)
    prefect = start_prefect(children, give_prefect_database(folder / "prefect-server", database))
    whole = {**env, "ENTREPOT_PREFECT_API_URL": prefect.api_url}
    entrepot = Entrepot(new_home(folder / "command"), children, whole)
    homes = [new_home(folder / f"worker-{number}") for number in (0, 1)]
    workers = [Entrepot(home, children, whole).start("worker") for home in homes]
    return SyncSite(f"127.0.0.1:{upstream.port}", prefect, entrepot, workers)


@dataclass
class SyncPromises:
    """What syncs have acknowledged: versions of mirrors, with the state of upstream that they hold at least."""

    versions: list[tuple[str, int, int]] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    ended_well: int = 0
    failed: list[str] = field(default_factory=list)
    pulls: int = 0


class Syncs:
    """Threads that move upstream on, sync it, and pull what was synced by any replica, from `start` until `stop`."""

    def __init__(self, site: SyncSite, urls: Sequence[str], auth: tuple[str, str]) -> None:
        self.promises = SyncPromises()
        self._site, self._urls, self._auth = site, list(urls), auth
        self._state, self._stopped = 0, threading.Event()
        self._states: dict[Digest, int] = {}
        self._threads = [threading.Thread(target=loop) for loop in (self._sync_on, self._pull_on)]

    def start(self) -> None:
        """Sync upstream once, then begin."""
        assert self.sync() == 0, self.promises.failed
        for thread in self._threads:
            thread.start()

    def faults(self, *, pause: float) -> list[Fault]:
        """Return each fault of a worker that has a chunk under way."""
        hit: list[Child] = []

        def kill() -> None:
            hit[:] = [self._busy_worker()]
            hit[0].kill()

        def stop() -> None:
            hit[:] = [self._busy_worker()]
            _signal_all(hit[0], signal.SIGSTOP)

        return [
            Fault(f"a worker: kill -9, {pause:g} s away", kill, lambda: hit[0].start(), pause),
            Fault(f"a worker: paused for {pause:g} s", stop, lambda: _signal_all(hit[0], signal.SIGCONT), pause),
        ]

    def _busy_worker(self) -> Child:
        found: list[Child] = []

        def is_found() -> bool:
            found[:] = [
                one for one in self._site.workers if one.running and any(map(_is_engine, _children_of(one.pid)))
            ]
            return bool(found)

        wait_until(is_found, 300, "a worker has a chunk under way")
        return found[0]

    def _sync_on(self) -> None:
        while not self._stopped.is_set():
            self.sync()

    def sync(self) -> int:
        """Move upstream on and sync it; return the exit code of the command."""
        self._move_upstream()
        state, site = self._state, self._site
        pattern = f"{site.upstream}/**"
        command = site.entrepot.start("sync-many", pattern, "--below", BELOW, "--chunks", "2", "--json")
        code = command.wait(600)
        for one in _outcomes(command.output()):
            if one["outcome"] in ("synced", "unchanged"):
                self.promises.versions.append((one["repository"], one["version"], state))
                self.promises.reached[one["repository"]] = state
        if code == 0:
            self.promises.ended_well += 1
        else:
            self.promises.failed.append(command.tail(3))
        return code

    def _move_upstream(self) -> None:
        self._state += 1
        with httpx.Client(base_url=f"http://{self._site.upstream}", trust_env=False, timeout=60) as client:
            for number in range(REPOSITORIES):
                name = f"source/r-{number}"
                text = f"{name} {self._state}"
                note = {"before": lambda digest: self._states.update({digest: self._state})}
                for tag in ("latest", f"s{self._state}"):
                    push_small_image(client, name, tag, text, **note)

    def _pull_on(self) -> None:
        turn = 0
        while not self._stopped.wait(0.02):
            turn += 1
            url = self._urls[turn % len(self._urls)]
            for name, before in list(self.promises.reached.items()):
                with suppress(httpx.HTTPError), self._client(url) as client:
                    self._pull(client, name, before)

    def _client(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=url, auth=self._auth, trust_env=False, timeout=20)

    def _pull(self, client: httpx.Client, name: str, before: int) -> None:
        """Pull a mirror's tag that moves: it is never older than what a sync has acknowledged before."""
        answer = client.get(f"/v2/{name}/manifests/latest")
        if answer.status_code in _OUTAGE:
            return
        is_stale = answer.headers.get("warning", "").startswith("110")
        state = self._states.get(Digest.of(answer.content), 0)
        if answer.status_code != 200 or (state < before and not is_stale):
            self.promises.wrong.append(
                f"{name} by {client.base_url}: {answer.status_code}, state {state} after {before}"
            )
            return
        layer = answer.json()["layers"][0]["digest"]
        blob = client.get(f"/v2/{name}/blobs/{layer}", follow_redirects=True)
        if blob.status_code not in _OUTAGE and (blob.status_code != 200 or Digest.of(blob.content) != layer):
            self.promises.wrong.append(f"layer of {name} by {client.base_url}: {blob.status_code}")
        self.promises.pulls += 1

    def stop(self) -> SyncPromises:
        """End the threads; return what syncs have promised. A sync that is under way comes to its end."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.promises

    def check_versions(self, env: Mapping[str, str], home: Path) -> None:
        """Check that each acknowledged version is there with all its blobs, and holds what upstream had then."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in env.items():
                patch.setenv(key, value)
            self._check_versions(home)

    def _check_versions(self, home: Path) -> None:
        with open_catalog(read_settings(home=home)) as catalog:
            for name, number, state in self.promises.versions:
                version = catalog.snapshots.get(name, number)
                assert self._states[version.tags["latest"]] >= state, (name, number)
                assert catalog.rights.missing(version) == set(), (name, number)
                for digest in (*version.blobs, *version.manifests):
                    assert Digest.of(catalog.content.read(digest)) == digest

    def check_mirrors(self) -> None:
        """Check that by every replica each mirror has the tags of upstream, and byte for byte what they point to."""
        for number in range(REPOSITORIES):
            name = f"source/r-{number}"
            with httpx.Client(base_url=f"http://{self._site.upstream}", trust_env=False) as upstream:
                wanted = _everything(upstream, name)
            assert len(wanted) == self._state + 1
            for url in self._urls:
                with self._client(url) as client:
                    assert _everything(client, f"{BELOW}/{name}") == wanted, (url, name)


def _everything(client: httpx.Client, name: str) -> dict[str, tuple[bytes, ...]]:
    """Return by tag the bytes of its manifest and of all blobs in it."""
    tags = client.get(f"/v2/{name}/tags/list").raise_for_status().json()["tags"]
    found = {}
    for tag in tags:
        accept = {"accept": "application/vnd.oci.image.manifest.v1+json"}
        manifest = client.get(f"/v2/{name}/manifests/{tag}", headers=accept).raise_for_status()
        document = manifest.json()
        blobs = [one["digest"] for one in (document["config"], *document["layers"])]
        parts = [client.get(f"/v2/{name}/blobs/{one}", follow_redirects=True).raise_for_status() for one in blobs]
        found[tag] = (manifest.content, *(one.content for one in parts))
    return found


def _outcomes(output: str) -> Sequence[Mapping[str, Any]]:
    """Return what a command says of each repository; nothing where it has not come so far."""
    start = output.find('{"dry_run"')
    if start < 0:
        return ()
    result, _end = json.JSONDecoder().raw_decode(output[start:])
    return list(result["repositories"])


def _children_of(pid: int) -> Iterator[int]:
    """Yield the processes below a process."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _children_of(int(child))


def _is_engine(pid: int) -> bool:
    with suppress(OSError):
        return _ENGINE in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _signal_all(worker: Child, number: int) -> None:
    """Send a signal to a worker and all processes below it."""
    for pid in (worker.pid, *_children_of(worker.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
