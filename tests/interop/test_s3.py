"""An installation whose blobs are in S3, in the hands of podman and skopeo: by signed URLs, and through us."""

import http.client
import http.server
import threading
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.servers import Children, Client, S3Server, wait_until

NAME = "team/app"
LAYER = {"file": "text" * 100_000}


def push_image(api: Api) -> tuple[MemoryStore, Digest]:
    store = MemoryStore()
    image = pack_image(store, [LAYER])
    api.push(NAME, "v1", store, image)
    return store, image.layers[0].digest


@pytest.mark.parametrize("redirect", [True, False])
def test_podman_pulls_what_skopeo_has_pushed(
    s3: S3Server, entrepot_server: EntrepotFactory, skopeo: Client, podman: Client, tmp_path: Path, *, redirect: bool
) -> None:
    with serve(tmp_path / "source", storage=f"file:{tmp_path / 'source-blobs'}") as source:
        push_image(source)
        server = entrepot_server(env={"ENTREPOT_STORAGE_REDIRECT": str(redirect)})
        skopeo(
            "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--dest-creds={server.creds}",
            f"docker://127.0.0.1:{source.port}/{NAME}:v1", f"docker://{server.host}/{NAME}:v1",
        )  # fmt: skip
    podman("pull", "--tls-verify=false", f"{server.host}/{NAME}:v1")
    digest = skopeo(
        "inspect", "--tls-verify=false", "--format={{index .Layers 0}}", f"docker://{server.host}/{NAME}:v1"
    )
    answer = httpx.get(f"{server.url}/v2/{NAME}/blobs/{digest.stdout.strip()}", trust_env=False)
    assert answer.status_code == (307 if redirect else 200)
    assert len([path for path in s3.folder.rglob("*") if path.is_file()]) == 3


def test_a_signed_url_gives_ranges_and_its_blob_alone(s3: S3Server, tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        store, layer = push_image(api)
        answer = api.anybody.get(f"/v2/{NAME}/blobs/{layer}")
        assert (answer.status_code, answer.content) == (307, b"")
        location = answer.headers["location"]
        data = store.blobs[layer]
        assert httpx.get(location, trust_env=False).content == data
        part = httpx.get(location, headers={"Range": "bytes=5-9"}, trust_env=False)
        assert (part.status_code, part.content) == (206, data[5:10])
        other = location.replace(layer.encoded, Digest.of(b"other").encoded)
        assert httpx.get(other, trust_env=False).status_code == 403
        assert api.anybody.head(f"/v2/{NAME}/blobs/{layer}").headers["content-length"] == str(len(data))
        assert api.anybody.get(f"/v2/{NAME}/blobs/{Digest.of(b'absent')}").status_code == 404


def test_ranges_through_us(s3: S3Server, tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", storage_redirect=False) as api:
        store, layer = push_image(api)
        data = store.blobs[layer]
        assert api.anybody.get(f"/v2/{NAME}/blobs/{layer}").content == data
        part = api.anybody.get(f"/v2/{NAME}/blobs/{layer}", headers={"Range": "bytes=-7"})
        assert (part.status_code, part.content) == (206, data[-7:])


def test_the_event_loop_never_waits_for_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from catalog.blobs.s3_store import S3BlobReader

    begin, threads = S3BlobReader.begin, list[str]()

    def noted(self: S3BlobReader, offset: int) -> None:
        threads.append(threading.current_thread().name)
        begin(self, offset)

    monkeypatch.setattr(S3BlobReader, "begin", noted)
    with serve(tmp_path / "entrepot", storage_redirect=False) as api:
        store, layer = push_image(api)
        for _ in range(3):
            assert api.anybody.get(f"/v2/{NAME}/blobs/{layer}").content == store.blobs[layer]
    assert len(threads) >= 3
    assert {name.partition("_")[0] for name in threads} <= {"files", "commits"}


def test_s3_that_is_down_is_a_503_that_names_nothing(s3: S3Server, tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", storage_redirect=False) as api:
        _store, layer = push_image(api)
        assert api.anybody.get("/readyz").status_code == 200
        s3.child.kill()
        answer = api.anybody.get(f"/v2/{NAME}/blobs/{layer}")
        assert answer.status_code == 503
        assert s3.bucket not in answer.json()["errors"][0]["message"]
        wait_until(lambda: api.anybody.get("/readyz").status_code == 503, 20, "the registry is not ready")


def test_sync_export_import_and_gc_over_s3(
    s3: S3Server, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch, session_prefect: PrefectServer
) -> None:
    with serve(tmp_path / "source", storage=f"file:{tmp_path / 'source-blobs'}") as source:
        push_image(source)
        home = tmp_path / "entrepot"
        assert mirror(home, f"127.0.0.1:{source.port}/{NAME}").changed
        assert mirror(home, f"127.0.0.1:{source.port}/{NAME}").moved_items == 0
    recorded = {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url}
    entrepot = Entrepot(home, children, recorded)
    assert entrepot("export", str(tmp_path / "app.tar"), NAME).returncode == 0
    monkeypatch.setenv("ENTREPOT_STORAGE", f"s3://{s3.bucket}/second")
    second = Entrepot(tmp_path / "second", children, recorded)
    assert second("import", str(tmp_path / "app.tar")).returncode == 0
    assert second.json("tag", "list", NAME) == entrepot.json("tag", "list", NAME)
    assert len([path for path in (s3.folder / "second").rglob("*") if path.is_file()]) == 3
    assert second.json("gc", "--grace", "0")["freed"] == {"blobs": 0, "bytes": 0}


class _Flaky(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the S3 server; every other one is answered with 503 instead."""

    target = 0
    answered: ClassVar[list[int]] = []

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answered.append(503 if len(self.answered) % 2 == 0 else 200)
        if self.answered[-1] == 503:
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.target)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815  # the names that the base class calls

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_an_s3_that_answers_503_now_and_then_is_asked_again(s3: S3Server, tmp_path: Path) -> None:
    _Flaky.target = s3.port
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Flaky) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
            with serve(tmp_path / "entrepot", storage_redirect=False, s3_endpoint=endpoint) as api:
                store, layer = push_image(api)
                assert api.anybody.get(f"/v2/{NAME}/blobs/{layer}").content == store.blobs[layer]
        finally:
            proxy.shutdown()
            thread.join()
    assert _Flaky.answered.count(503) >= 4
