"""Artifacts of any kind in the hands of oras: push, pull, attach, discover; here, and in a mirror of here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oci import mediatypes
from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.servers import Client, EntrepotServer, get

NAME = "team/notes"


@pytest.fixture(scope="module")
def server(module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    return module_entrepot_server()


@pytest.fixture
def oras(tool: Callable[[str], str], tmp_path: Path) -> Client:
    """oras, with a home of its own."""
    return Client(tool("oras"), (), {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker")})


def login(server: EntrepotServer) -> list[str]:
    return ["--plain-http", "-u", server.username, "-p", server.password]


def test_push_pull_attach_discover_and_all_of_it_in_a_mirror(
    server: EntrepotServer, entrepot_server: EntrepotFactory, oras: Client, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("release notes")
    (tmp_path / "sbom.json").write_text('{"spdxVersion":"SPDX-2.3"}')
    reference = f"{server.host}/{NAME}:v1"
    push = oras(
        "push", *login(server), "--disable-path-validation", "--artifact-type", "application/x-notes", "--format", "json",
        reference, f"{tmp_path}/notes.txt:text/plain",
    )  # fmt: skip
    digest = json.loads(push.stdout)["digest"]
    attached = oras(
        "attach", *login(server), "--disable-path-validation", "--artifact-type", "application/spdx+json", "--format", "json",
        "--annotation", "by=oras", reference, f"{tmp_path}/sbom.json:application/spdx+json",
    )  # fmt: skip
    second = json.loads(attached.stdout)["digest"]
    signed = oras(
        "attach", *login(server), "--disable-path-validation", "--artifact-type", "application/x-signature",
        "--format", "json", f"{server.host}/{NAME}@{second}", f"{tmp_path}/notes.txt:text/plain",
    )  # fmt: skip
    mirrored = tmp_path / "mirror"
    mirror(mirrored, f"{server.host}/{NAME}")
    for place in (server, entrepot_server(mirrored)):
        there = f"{place.host}/{NAME}:v1"
        out = tmp_path / f"out-{place.port}"
        oras("pull", "--plain-http", "--allow-path-traversal", "-o", str(out), there)
        assert get(f"{place.url}/v2/{NAME}/manifests/v1").headers["docker-content-digest"] == digest
        tree = json.loads(oras("discover", "--plain-http", "--format", "json", there).stdout)
        (found,) = tree["manifests"]
        assert (found["digest"], found["artifactType"]) == (second, "application/spdx+json")
        assert found["annotations"]["by"] == "oras"
        filtered = oras(
            "discover", "--plain-http", "--format", "json", "--artifact-type", "application/x-none", there
        ).stdout
        assert not json.loads(filtered)["manifests"]
        deeper = json.loads(
            oras("discover", "--plain-http", "--format", "json", f"{place.host}/{NAME}@{second}").stdout
        )
        assert [one["digest"] for one in deeper["manifests"]] == [json.loads(signed.stdout)["digest"]]


def test_artifacts_of_every_shape(server: EntrepotServer, oras: Client, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\0\1\2")
    (tmp_path / "config.json").write_text("{}")
    name = f"{server.host}/team/shapes"
    shapes = {
        "no-config": ["--image-spec", "v1.1", "--artifact-type", "application/x-data", f"{tmp_path}/data"],
        "own-config": ["--config", f"{tmp_path}/config.json:application/x-config+json", f"{tmp_path}/data"],
        "empty": ["--image-spec", "v1.1", "--artifact-type", "application/x-empty"],
        "old": ["--image-spec", "v1.0", f"{tmp_path}/data:application/x-data"],
    }
    for tag, arguments in shapes.items():
        oras("push", *login(server), "--disable-path-validation", f"{name}:{tag}", *arguments)
    assert oras("repo", "tags", "--plain-http", name).stdout.split() == sorted(shapes)
    for tag, children in {"index": ["no-config", "old"], "nested": ["index", "empty"]}.items():
        fetched = [oras("manifest", "fetch", "--plain-http", "--descriptor", f"{name}:{child}") for child in children]
        (tmp_path / tag).write_text(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": mediatypes.OCI_INDEX,
                    "manifests": [json.loads(done.stdout) for done in fetched],
                }
            )
        )
        oras("manifest", "push", *login(server), f"{name}:{tag}", str(tmp_path / tag))
    copied = f"{server.host}/team/copied:nested"
    oras(
        "cp", "-r", "--from-plain-http", "--to-plain-http", "--to-username", server.username, "--to-password", server.password,
        f"{name}:nested", copied,
    )  # fmt: skip
    manifest = json.loads(oras("manifest", "fetch", "--plain-http", copied).stdout)
    assert len(manifest["manifests"]) == 2
    assert "team/copied" in oras("repo", "ls", "--plain-http", server.host).stdout
    oras("manifest", "delete", "-f", *login(server), f"{name}:old")
    assert "old" not in oras("repo", "tags", "--plain-http", name).stdout.split()
