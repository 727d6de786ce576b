"""The shared fixtures keep their word: real tools work in isolation, children end, nothing of the user's is read."""

import hashlib
import json
import os
import ssl
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import DockerRegistryFactory
from tests.servers import UPSTREAM_USER, Certificate, Children, Client, answers, free_port


def _image(folder: Path) -> str:
    """An OCI layout with one empty-layered image tagged v1, written by hand so that no code of ours is needed."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    layer = put(bytes(10240), "application/vnd.oci.image.layer.v1.tar")
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = put(
        json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode(),
        "application/vnd.oci.image.config.v1+json",
    )
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}
    annotations = {"org.opencontainers.image.ref.name": "v1"}
    tagged = {**put(json.dumps(manifest).encode(), media_type), "annotations": annotations}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    return f"oci:{folder}:v1"


def test_skopeo_and_podman_use_a_docker_registry(
    docker_registry: DockerRegistryFactory, skopeo: Client, podman: Client, tmp_path: Path
) -> None:
    upstream = docker_registry()
    skopeo("copy", "--dest-tls-verify=false", _image(tmp_path / "image"), f"docker://{upstream.host}/a/b:v1")
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{upstream.host}/a/b").stdout)
    assert listed["Tags"] == ["v1"]
    podman("pull", "--tls-verify=false", f"{upstream.host}/a/b:v1")
    assert f"{upstream.host}/a/b" in podman("images").stdout


def test_docker_registry_with_logins(docker_registry: DockerRegistryFactory) -> None:
    upstream = docker_registry(auth=True)
    assert httpx.get(f"{upstream.url}/v2/").status_code == 401
    assert httpx.get(f"{upstream.url}/v2/", auth=(UPSTREAM_USER, upstream.password)).status_code == 200


def test_a_child_is_awaited_and_stopped_by_pid(children: Children) -> None:
    port = free_port()
    child = children.start("web", [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)])
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/"))
    assert child.memory() <= child.peak_memory()
    child.stop()
    assert not child.running
    assert not answers(f"http://127.0.0.1:{port}/")


def test_a_child_that_dies_shows_its_log(children: Children) -> None:
    child = children.start("dying", [sys.executable, "-c", "print('last words', flush=True); raise SystemExit(3)"])
    with pytest.raises(AssertionError, match=r"(?s)dying ended with 3.*last words"):
        child.wait_ready(lambda: False, seconds=10)


def test_the_certificate_is_trusted_by_its_authority_only(certificate: Certificate, children: Children) -> None:
    port = free_port()
    code = (
        "import http.server, ssl\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        f"context.load_cert_chain({str(certificate.cert_file)!r}, {str(certificate.key_file)!r})\n"
        f"server = http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler)\n"
        "server.socket = context.wrap_socket(server.socket, server_side=True)\n"
        "server.serve_forever()\n"
    )
    child = children.start("tls", [sys.executable, "-c", code])
    url = f"https://127.0.0.1:{port}/"
    child.wait_ready(lambda: answers(url, ca_file=certificate.ca_file))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url, verify=ssl.create_default_context())
    assert certificate.key_file.stat().st_mode & 0o777 == 0o600


def test_nothing_of_the_user_is_read(tmp_path: Path) -> None:
    assert Path.home() == tmp_path / "home"
    assert Path(os.environ["ENTREPOT_HOME"]).is_relative_to(tmp_path)
    assert [name for name in os.environ if name.startswith("ENTREPOT_")] == ["ENTREPOT_HOME"]
