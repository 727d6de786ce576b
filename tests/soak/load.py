"""Load of all kinds at once, on content that does not grow: tags are pushed over and over, what they named before and old
versions are deleted.

Rows of what is deleted stay until `entrepot maintain`, which runs as it does in a schedule, only more often.
"""

import itertools
import random
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from oci.digest import Digest
from tests.replicas.pushes import push_small_image

REPOSITORIES, TAGS = 4, 10
_KEPT_VERSIONS = 20
_HALF = b"PATCH /v2/soak/app0/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"


@dataclass
class Seen:
    """What clients saw: requests by kind, failures of the server by the id of the request, and what was wrong."""

    done: Counter[str] = field(default_factory=Counter)
    failed: dict[str, tuple[float, int, str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lost: list[tuple[float, str]] = field(default_factory=list)
    """Requests without a response, by their time."""
    guard: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """Threads that work on a registry until `stop`; what they see is in `seen`. `work` are more loops, each a name and a step."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str],
        *,
        cached: str,
        work: Sequence[tuple[str, Callable[[], object]]] = (),
    ) -> None:
        self.seen = Seen()
        self._url, self._auth, self._cached, self._ended = url, auth, cached, threading.Event()
        self._ids = itertools.count(1)
        self._digests: dict[tuple[str, str], Digest] = {}
        self._pushing = defaultdict[tuple[str, str], threading.Lock](threading.Lock)
        steps = [
            *[("push", self._push)] * 2,
            *[("pull", self._pull)] * 3,
            ("cached pull", self._pull_through),
            ("ask", self._ask),
            ("tidy", self._tidy),
            ("break off", self._break_off),
        ]
        self._threads = [
            threading.Thread(target=self._loop, args=(name, step, random.Random(number)))
            for number, (name, step) in enumerate(steps)
        ]
        self._threads += [threading.Thread(target=self._run_more, args=one) for one in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Seen:
        """End all; return what was seen."""
        self._ended.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"
        return self.seen

    def _loop(self, name: str, step: Callable[[httpx.Client, random.Random], object], chance: random.Random) -> None:
        while not self._ended.is_set():
            hooks: Mapping[str, list[Callable[..., Any]]] = {"request": [self._name], "response": [self._note]}
            try:
                with httpx.Client(
                    base_url=self._url, auth=self._auth, trust_env=False, timeout=30, event_hooks=hooks
                ) as client:
                    for _ in range(20):
                        if self._ended.is_set():
                            return
                        step(client, chance)
                        self._count(name)
            except AssertionError:
                continue  # a refusal, which the hook has noted
            except httpx.HTTPError as error:
                with self.seen.guard:
                    self.seen.lost.append((time.monotonic(), f"{name}: {error!r}"))
                self._ended.wait(0.2)

    def _run_more(self, name: str, step: Callable[[], object]) -> None:
        while not self._ended.is_set():
            step()
            self._count(name)

    def _name(self, request: httpx.Request) -> None:
        request.headers["x-request-id"] = f"soak-{next(self._ids)}"

    def _note(self, response: httpx.Response) -> None:
        if response.status_code >= 500:
            with self.seen.guard:
                told = (time.monotonic(), response.status_code, f"{response.request.method} {response.request.url}")
                self.seen.failed[response.request.headers["x-request-id"]] = told

    def _count(self, name: str) -> None:
        with self.seen.guard:
            self.seen.done[name] += 1

    # --- what is done --------------------------------------------------------------------------------------------

    def _push(self, client: httpx.Client, chance: random.Random) -> None:
        name, tag = f"soak/app{chance.randrange(REPOSITORIES)}", f"t{chance.randrange(TAGS)}"
        with self._pushing[name, tag]:
            digest = push_small_image(client, name, tag, f"{tag} {chance.random()}")
            former, self._digests[name, tag] = self._digests.get((name, tag)), digest
            if former is not None:
                client.delete(f"/v2/{name}/manifests/{former}")

    def _pull(self, client: httpx.Client, chance: random.Random) -> None:
        known = list(self._digests)
        if not known:
            return
        name, tag = chance.choice(known)
        answer = client.get(f"/v2/{name}/manifests/{tag}")
        if answer.status_code >= 500:
            return
        if answer.status_code != 200:
            self.seen.wrong.append(f"{name}:{tag}: {answer.status_code}")
            return
        if Digest.of(answer.content) != answer.headers["docker-content-digest"]:
            self.seen.wrong.append(f"{name}:{tag}: other bytes than its digest")
        for layer in answer.json()["layers"]:
            blob = client.get(f"/v2/{name}/blobs/{layer['digest']}", follow_redirects=True)
            if blob.status_code == 200 and Digest.of(blob.content) != layer["digest"]:
                self.seen.wrong.append(f"layer of {name}:{tag}: other bytes than its digest")
            elif blob.status_code not in (200, 404) and blob.status_code < 500:  # 404: a newer push took its place
                self.seen.wrong.append(f"layer of {name}:{tag}: {blob.status_code}")

    def _pull_through(self, client: httpx.Client, chance: random.Random) -> None:
        client.get(f"/v2/{self._cached}/manifests/v{chance.randrange(3)}")
        self._ended.wait(0.05)

    def _ask(self, client: httpx.Client, chance: random.Random) -> None:
        path = chance.choice(
            ["/", "/metrics", "/readyz", "/v2/_catalog", "/api/v1/repositories", "/v2/soak/app0/tags/list"]
        )
        client.get(path)
        if chance.random() < 0.2:
            client.post("/api/v1/query", json={"sql": "SELECT count(*) AS n FROM tags"})
        self._ended.wait(0.05)

    def _tidy(self, client: httpx.Client, chance: random.Random) -> None:
        name = f"soak/app{chance.randrange(REPOSITORIES)}"
        answer = client.get(f"/api/v1/versions/{name}", params={"n": 1000})
        if answer.status_code == 200:
            old = sorted(one["number"] for one in answer.json())[:-_KEPT_VERSIONS]
            if old:
                client.delete(f"/api/v1/versions/{name}", params={"version": f"{old[0]}-{old[-1]}"})
        self._ended.wait(2)

    def _break_off(self, client: httpx.Client, chance: random.Random) -> None:
        """Open an upload and go, send half a request, show a wrong password: what clients do on a bad day."""
        place = httpx.URL(self._url)
        match chance.randrange(3):
            case 0:
                client.post(f"/v2/soak/app{chance.randrange(REPOSITORIES)}/blobs/uploads/")
            case 1:
                with socket.create_connection((place.host, place.port or 80), timeout=10) as connection:
                    connection.sendall(_HALF)
            case _:
                client.get("/v2/", auth=("nobody", "wrong"))
        self._ended.wait(0.5)
