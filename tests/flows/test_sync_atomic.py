"""Atomic signatures come along with a sync: from a registry's extension, and from files at a lookaside address."""

import base64
import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.sync.resolution import TagsFailed
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import mirror, upload
from tests.servers import Client
from tests.upstream import Reply, Seen, Upstream

NAME = "team/app"


@contextmanager
def folder_over_http(folder: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve files; gives the URL and the headers of each request, in small letters."""
    seen: list[dict[str, str]] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_what_skopeo_signed_beside_a_registry_is_demanded_from_ours(
    entrepot: Entrepot,
    entrepot_server: EntrepotFactory,
    docker_registry: DockerRegistryFactory,
    skopeo: Client,
    gpg_home: Path,
    tmp_path: Path,
) -> None:
    upstream = docker_registry()
    for tag in ("signed", "unsigned"):
        upload(upstream, NAME, tag, tag)
    beside, registries = tmp_path / "beside", tmp_path / "registries.d"
    registries.mkdir()
    (registries / "default.yaml").write_text(f"default-docker:\n  lookaside-staging: file://{beside}\n")
    signing = Client(skopeo.binary, skopeo.options, {**skopeo.env, "GNUPGHOME": str(gpg_home)})
    source = f"docker://{upstream.host}/{NAME}:signed"
    signing(
        "--registries.d", str(registries), "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
        "--sign-by", "signer@example.org", source, source,
    )  # fmt: skip

    with folder_over_http(beside) as (url, asked):
        (tmp_path / "api-key").write_text("not-for-others")
        header = f"X-Api-Key=file:{tmp_path / 'api-key'}"
        recorded = entrepot("remote", "set", upstream.host, "--lookaside", url, "--header", header)
        assert recorded.returncode == 0, recorded.stderr
        first = entrepot.json("sync", f"{upstream.host}/{NAME}")
        assert (first["tags"]["added"], first["changed"]) == (2, True)
        again = entrepot.json("sync", f"{upstream.host}/{NAME}")
        assert again["changed"] is False
        assert asked
        assert all("x-api-key" not in headers for headers in asked)
    server = entrepot_server(entrepot.home)
    named = {"type": "exactRepository", "dockerRepository": f"{upstream.host}/{NAME}"}
    key = {"keyType": "GPGKeys", "keyPath": str(gpg_home / "public.asc")}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "signedBy", **key, "signedIdentity": named}]}))
    strict = Client(skopeo.binary, ("--policy", str(policy), *skopeo.options[2:]), skopeo.env)
    for tag, allowed in (("signed", True), ("unsigned", False)):
        target = f"dir:{tmp_path / tag}"
        done = strict(
            "copy", "--all", "--src-tls-verify=false", f"docker://{server.host}/{NAME}:{tag}", target, check=False
        )
        assert (done.returncode == 0) == allowed, done.stderr


@pytest.mark.slow
def test_from_one_of_ours_a_signature_comes_once(
    entrepot: Entrepot, entrepot_server: EntrepotFactory, gpg_home: Path, tmp_path: Path
) -> None:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "one"}]).digest)
    with Upstream({NAME: store}) as upstream:
        mirror(entrepot.home, f"{upstream.host}/{NAME}")
    entrepot("sign", f"{NAME}:v1", "--key", str(gpg_home / "secret.asc"), "--identity", f"registry.example/{NAME}")
    server = entrepot_server(entrepot.home)
    other = Entrepot(tmp_path / "other", entrepot.children, entrepot.env)
    taken = other.json("sync", f"{server.host}/{NAME}")
    assert taken["failed"] == {}
    # the registry lists it among the referrers and serves it by the extension
    (verified,) = other.json("verify", f"{NAME}:v1", "--key", str(gpg_home / "public.asc"))
    assert verified["atomic"] == {"found": 1, "good": 1}


def test_what_is_no_signature_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": "one"}])
    store.put_tag("v1", image.digest)
    good = _entry(image.digest, image.digest)
    answer = {"signatures": [good, good, _entry(image.digest, Digest.of(b"another")), {"type": "atomic"}]}

    def extension(seen: Seen, reply: Reply) -> Reply | None:
        if seen.route == "base":
            reply.headers["x-registry-supports-signatures"] = "1"
            return reply
        if seen.path == f"/extensions/v2/{NAME}/signatures/{image.digest}":
            return Reply(200, json.dumps(answer).encode(), {"content-type": "application/json"})
        return None

    with Upstream({NAME: store}) as upstream:
        upstream.faults.append(extension)
        result = mirror(tmp_path / "home", f"{upstream.host}/{NAME}")
        assert result.counts["added"] == 1
        (first, second) = [note for note in result.notes if "signature" in note]
        assert str(image.digest) in first
        assert str(image.digest) in second
        assert upstream.counts["GET", "other"] == 1


@pytest.mark.parametrize("status", [403, 500])
def test_an_extension_that_refuses_is_noted_and_one_that_fails_fails_the_sync(tmp_path: Path, status: int) -> None:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "one"}]).digest)
    with Upstream({NAME: store}) as upstream:
        upstream.faults.append(
            lambda seen, good: (
                Reply(200, b"{}", {"x-registry-supports-signatures": "1"}) if seen.route == "base" else None
            )
        )
        upstream.fail(status, only="/extensions/", retry_after="0")
        if status == 403:
            result = mirror(tmp_path / "home", f"{upstream.host}/{NAME}")
            assert any("/extensions/" in note and "403" in note for note in result.notes)
            return
        with pytest.raises(TagsFailed, match=f"/extensions/.* {status}"):
            mirror(tmp_path / "home", f"{upstream.host}/{NAME}")


def _entry(digest: Digest, about: Digest) -> dict[str, object]:
    """As the extension lists it: an OpenPGP message of one literal packet, signed by nobody."""
    critical = {
        "type": "atomic container signature",
        "image": {"docker-manifest-digest": about},
        "identity": {"docker-reference": NAME},
    }
    body = b"b\0" + bytes(4) + json.dumps({"critical": critical, "optional": {}}).encode()
    content = bytes([0x80 | 11 << 2 | 2]) + len(body).to_bytes(4, "big") + body
    name = f"{digest}@{'0' * 32}"
    return {"schemaVersion": 2, "type": "atomic", "name": name, "content": base64.b64encode(content).decode()}
