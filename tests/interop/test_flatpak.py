"""flatpak lists, installs and updates from us an app and its runtime that were built here, without a network."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import EntrepotFactory
from tests.servers import Client, EntrepotServer, get

pytestmark = pytest.mark.slow
APP, RUNTIME = "org.example.Hello", "org.example.Platform"


@dataclass
class Flatpak:
    """flatpak with folders of its own; `build` makes OCI images."""

    binary: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        folders = {name: str(self.folder / name.lower()) for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
        return {**os.environ, **folders, "FLATPAK_SYSTEM_DIR": str(self.folder / "system"), "G_MESSAGES_DEBUG": ""}

    def __call__(self, *arguments: str) -> str:
        """Run it on a bus of its own; services that the bus starts outlive it, so they are ended with their group."""
        output, errors = self.folder / "output", self.folder / "errors"
        with output.open("w") as file, errors.open("w") as error_file:
            child = subprocess.Popen(
                ["dbus-run-session", "--", self.binary, *arguments],
                env=self.env,
                stdout=file,
                stderr=error_file,
                start_new_session=True,
            )
            try:
                code = child.wait(120)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        assert code == 0, f"flatpak {' '.join(arguments)}:\n{output.read_text()}{errors.read_text()}"
        return output.read_text()

    def build(self, name: str, kind: str, text: str) -> Path:
        """An OCI layout with an app or a runtime that has one file; its ref is named by the text."""
        source, image = self.folder / f"{name}-{text}", self.folder / f"{name}-{text}-oci"
        (source / ("files" if kind == "Application" else "usr")).mkdir(parents=True)
        (source / "files").mkdir(exist_ok=True)
        (source / "export").mkdir()
        (source / "files" if kind == "Application" else source / "usr").joinpath("text").write_text(text)
        platform = f"{RUNTIME}/x86_64/1"
        command = "command=hello\n" if kind == "Application" else ""
        (source / "metadata").write_text(f"[{kind}]\nname={name}\nruntime={platform}\nsdk={platform}\n{command}")
        option = ["--runtime"] if kind == "Runtime" else []
        repository = str(self.folder / "repository")
        self("build-export", "--arch=x86_64", "--disable-sandbox", *option, repository, str(source), "1")
        self("build-bundle", "--arch=x86_64", "--oci", *option, repository, str(image), name, "1")
        return image


@pytest.fixture
def flatpak(tool: Callable[[str], str], tmp_path: Path) -> Flatpak:
    tool("ostree"), tool("dbus-run-session")
    folder = tmp_path / "flatpak"
    for name in ("home", "system"):
        (folder / name).mkdir(parents=True)
    return Flatpak(tool("flatpak"), folder)


def push(skopeo: Client, server: EntrepotServer, image: Path, name: str) -> None:
    skopeo(
        "copy", "--dest-tls-verify=false", f"--dest-creds={server.creds}",
        f"oci:{image}", f"docker://{server.host}/{name}:latest",
    )  # fmt: skip


def test_an_app_is_listed_installed_and_updated(
    entrepot_server: EntrepotFactory, flatpak: Flatpak, skopeo: Client
) -> None:
    server = entrepot_server()
    push(skopeo, server, flatpak.build(RUNTIME, "Runtime", "platform"), "apps/platform")
    push(skopeo, server, flatpak.build(APP, "Application", "first"), "apps/hello")
    flatpak("remote-add", "--user", "test", f"oci+http://{server.host}")
    listed = flatpak("remote-ls", "--user", "test", "--columns=ref", "--all")
    assert set(listed.split()) == {f"app/{APP}/x86_64/1", f"runtime/{RUNTIME}/x86_64/1"}
    flatpak("install", "--user", "--noninteractive", "--no-related", "test", APP)
    deployed = flatpak.folder / "xdg_data_home" / "flatpak" / "app" / APP / "current" / "active" / "files" / "text"
    assert deployed.read_text() == "first"
    push(skopeo, server, flatpak.build(APP, "Application", "second"), "apps/hello")
    flatpak("update", "--user", "--noninteractive", "--no-related", APP)
    assert deployed.read_text() == "second"


def test_what_the_index_lists(entrepot_server: EntrepotFactory, flatpak: Flatpak, skopeo: Client) -> None:
    server = entrepot_server()
    image = flatpak.build(APP, "Application", "text")
    url = f"{server.url}/index/static?label:org.flatpak.ref:exists=1&architecture=amd64&os=linux"
    assert get(url).json() == {"Registry": "/", "Results": []}
    push(skopeo, server, image, "apps/hello")
    (result,) = get(url).json()["Results"]
    (found,) = result["Images"]
    assert (result["Name"], found["Tags"], found["Architecture"]) == ("apps/hello", ["latest"], "amd64")
    assert found["Labels"]["org.flatpak.ref"] == f"app/{APP}/x86_64/1"
    for fitting in ("tag=latest", "repository=apps/hello", f"label:org.flatpak.ref=app/{APP}/x86_64/1", "unknown=1"):
        assert get(f"{url}&{fitting}").json()["Results"] == [result], fitting
    for other in ("tag=v1", "repository=apps/other", "label:org.flatpak.ref=x", "label:absent:exists=1"):
        assert get(f"{url}&{other}").json()["Results"] == [], other
    assert get(url.replace("amd64", "arm64")).json()["Results"] == []
