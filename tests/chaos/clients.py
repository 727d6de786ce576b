"""Clients that push and pull all the time, and remember what they were promised."""

import hashlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from oci.digest import Digest
from tests.replicas.pushes import push_small_image

NAME = "team/app"
_OUTAGE = frozenset({500, 502, 503, 504})


@dataclass
class Promises:
    """What was acknowledged: tags that never move, and the newest number of the tag that does."""

    tags: dict[str, Digest] = field(default_factory=dict)
    digests: dict[int, Digest] = field(default_factory=dict)
    newest: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[tuple[float, str]] = field(default_factory=list)
    pulls: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)


class Clients:
    """Threads that push and pull by any replica until `stop`."""

    def __init__(self, urls: Sequence[str], auth: tuple[str, str], seed: int, *, pushers: int = 2, pullers: int = 3):
        self.promises = Promises()
        self._urls, self._auth, self._stopped = list(urls), auth, threading.Event()
        loops = [self._move_latest] + [self._push] * pushers + [self._pull] * pullers
        self._threads = [
            threading.Thread(target=loop, args=(random.Random(f"{seed} {number}"), number))
            for number, loop in enumerate(loops)
        ]
        for thread in self._threads:
            thread.start()

    def client(self, url: str) -> httpx.Client:
        """Return a client of one replica."""
        return httpx.Client(base_url=url, auth=self._auth, trust_env=False, timeout=20)

    def _push(self, chance: random.Random, number: int) -> None:
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            tag = f"t{number}-{turn}"
            digest = self._try_push(chance.choice(self._urls), tag, f"{tag} {chance.random()}")
            if digest is not None:
                with self.promises.guard:
                    self.promises.tags[tag] = digest

    def _move_latest(self, chance: random.Random, number: int) -> None:
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            digest = self._try_push(chance.choice(self._urls), "latest", f"latest {turn}", turn)
            if digest is not None:
                with self.promises.guard:
                    self.promises.newest = turn

    def _try_push(self, url: str, tag: str, text: str, turn: int = 0) -> Digest | None:
        """Push; None when it was not acknowledged, which may have landed all the same."""
        try:
            with self.client(url) as client:
                return push_small_image(
                    client, NAME, tag, text, before=lambda digest: self.promises.digests.update({turn: digest})
                )
        except (httpx.HTTPError, AssertionError) as error:
            self._note(f"push {tag}: {error}")
            return None

    def _pull(self, chance: random.Random, number: int) -> None:
        while not self._stopped.is_set():
            url = chance.choice(self._urls)
            try:
                with self.client(url) as client:
                    for _ in range(10):
                        self._pull_latest(client)
                        self._pull_any(client, chance)
            except httpx.HTTPError as error:
                self._note(f"pull by {url}: {error!r}")
                self._stopped.wait(0.05)

    def _pull_latest(self, client: httpx.Client) -> None:
        before = self.promises.newest
        answer = client.get(f"/v2/{NAME}/manifests/latest")
        if answer.status_code in _OUTAGE or not before:
            return self._note(f"pull latest: {answer.status_code}")
        numbers = {digest: number for number, digest in list(self.promises.digests.items())}
        found = numbers.get(Digest(answer.headers.get("docker-content-digest", "none")))
        is_stale = answer.headers.get("warning", "").startswith("110")
        if answer.status_code != 200 or found is None or (found < before and not is_stale):
            self.promises.wrong.append(
                f"latest by {client.base_url}: {answer.status_code}, number {found} after {before}"
            )
        self.promises.pulls += 1
        return None

    def _pull_any(self, client: httpx.Client, chance: random.Random) -> None:
        with self.promises.guard:
            tags = list(self.promises.tags)[-200:]
        if tags:
            self.check(client, chance.choice(tags))

    def check(self, client: httpx.Client, tag: str, *, is_certain: bool = False) -> None:
        """Pull a tag with its layer, and compare both with what was promised; `is_certain`: nothing is out of order now."""
        promised = self.promises.tags[tag]
        answer = client.get(f"/v2/{NAME}/manifests/{tag}")
        if answer.status_code in _OUTAGE and not is_certain:
            return self._note(f"pull {tag}: {answer.status_code}")
        if answer.status_code != 200 or Digest.of(answer.content) != promised:
            self.promises.wrong.append(f"{tag} by {client.base_url}: {answer.status_code}")
            return None
        layer = answer.json()["layers"][0]["digest"]
        blob = client.get(f"/v2/{NAME}/blobs/{layer}", follow_redirects=True)
        if blob.status_code in _OUTAGE and not is_certain:
            return self._note(f"pull {layer}: {blob.status_code}")
        if blob.status_code != 200 or f"sha256:{hashlib.sha256(blob.content).hexdigest()}" != layer:
            self.promises.wrong.append(f"layer of {tag} by {client.base_url}: {blob.status_code}")
        self.promises.pulls += 1
        return None

    def _note(self, text: str) -> None:
        self.promises.refused.append((time.monotonic(), text[:200]))

    def stop(self) -> Promises:
        """End all clients; return what they were promised."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.promises
