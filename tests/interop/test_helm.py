"""Helm charts in the hands of helm: pushed, shown, pulled, rendered; here, and in a mirror of here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.servers import Client


@pytest.fixture
def helm(tool: Callable[[str], str], tmp_path: Path) -> Client:
    """helm, with a home of its own."""
    folders = {f"HELM_{name}_HOME": str(tmp_path / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return Client(tool("helm"), (), {"HOME": str(tmp_path), **folders})


def test_a_chart_from_push_to_template(entrepot_server: EntrepotFactory, helm: Client, tmp_path: Path) -> None:
    server = entrepot_server()
    helm("create", str(tmp_path / "hello"))
    helm("package", str(tmp_path / "hello"), "--version", "1.2.3+build.4", "-d", str(tmp_path))
    helm("registry", "login", "--insecure", "-u", server.username, "-p", server.password, server.host)
    pushed = helm("push", "--plain-http", str(tmp_path / "hello-1.2.3+build.4.tgz"), f"oci://{server.host}/charts")
    digest = next(line.split()[1] for line in (pushed.stdout + pushed.stderr).splitlines() if line.startswith("Digest"))
    mirror(tmp_path / "mirror", f"{server.host}/charts/hello")
    for place in (server, entrepot_server(tmp_path / "mirror")):
        chart = f"oci://{place.host}/charts/hello"
        assert (
            "version: 1.2.3+build.4"
            in helm("show", "chart", "--plain-http", chart, "--version", "1.2.3+build.4").stdout
        )
        out = tmp_path / f"out-{place.port}"
        out.mkdir()
        pulled = helm("pull", "--plain-http", chart, "--version", "1.2.3+build.4", "-d", str(out))
        assert digest in pulled.stdout + pulled.stderr
        packed = (tmp_path / "hello-1.2.3+build.4.tgz").read_bytes()
        assert next(out.iterdir()).read_bytes() == packed
        assert (
            "kind: Deployment" in helm("template", "mine", "--plain-http", chart, "--version", "1.2.3+build.4").stdout
        )
        assert "version: 1.2.3" in helm("show", "chart", "--plain-http", chart).stdout  # the newest, by the tag list
