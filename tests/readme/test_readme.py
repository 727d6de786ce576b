"""Every command of README runs as it stands, in the order of the page, on a machine that has nothing yet."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.private_sigstore import PrivateSigstore, identity_token
from tests.readme.commands import Shown, find_commands, find_others
from tests.readme.reader import Reader
from tests.readme.upstreams import upstreams
from tests.servers import ROOT, Children, free_port, make_podman, start_s3, tool

README = (ROOT / "README.md").read_text()
COMMANDS = find_commands(README)
UP = "entrepot up"
REGISTRY_PORT = 5080
# Whose token signs in the example of keyless signing.
IDENTITY = "ci@registry.example"

NOT_RUN = {
    "make run": "makes .venv; tests/flows/test_up.py runs what it starts then, `entrepot up --demo`",
    "make run UPSTREAM=docker.io/library/alpine": "as `make run`; it starts `entrepot up --upstream`",
    "make test": "runs this test",
    'export PATH="$PWD/.venv/bin:$PATH"': "the test's own PATH has the folder already",
    "ENTREPOT_CATALOG=postgresql://entrepot@db.example/entrepot ENTREPOT_STORAGE=s3://blobs/registry entrepot serve": (
        "tests/replicas runs it, with a database and an S3 server of its own"
    ),
    "flatpak remote-add --user here oci+http://127.0.0.1:5080": "tests/interop/test_flatpak.py runs it, with a bus of its own",
    "flatpak install here org.example.App": "tests/interop/test_flatpak.py builds an app and installs it",
}
# What a command column shows besides commands.
NO_COMMANDS: set[str] = set()


@pytest.fixture(scope="module")
def sigstore() -> Iterator[PrivateSigstore]:
    with PrivateSigstore() as running:
        yield running


def _programs(folder: Path) -> Path:
    """Make the folder that comes first in PATH: podman with storage roots of its own, where there is podman."""
    folder.mkdir()
    if shutil.which("podman"):
        podman = make_podman(folder.parent)
        exports = "".join(f"export {name}={value}\n" for name, value in podman.env.items())
        (folder / "podman").write_text(
            f'#!/bin/sh\n{exports}exec {podman.binary} {" ".join(podman.options)} "$@"\n',
        )
        (folder / "podman").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def reader(
    module_children: Children, sigstore: PrivateSigstore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """`entrepot up` runs, at the registry's own port, and upstreams are as README names them."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", REGISTRY_PORT))
        except OSError:
            pytest.skip(f"port {REGISTRY_PORT}, which README's commands name, is taken")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "trust.json").write_text(sigstore.trust_config)
    (folder / "token").write_text(identity_token(IDENTITY, minutes=60))
    with (
        tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as short,
        upstreams(module_children, folder / "upstreams") as env,
    ):
        env = {
            **env,
            "HOME": str(folder),
            "ENTREPOT_HOME": str(folder / ".local/share/entrepot"),
            "PREFECT_HOME": str(folder / "prefect"),
            "ENTREPOT_PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
            "ENTREPOT_SIGSTORE_TRUST_CONFIG": str(folder / "trust.json"),
            "ENTREPOT_IDENTITY_TOKEN_FILE": str(folder / "token"),
            "PATH": os.pathsep.join(
                [str(_programs(Path(short) / "bin")), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
        }
        if shutil.which("versitygw"):
            s3 = start_s3(module_children)
            env |= {name: value for name, value in s3.env.items() if name != "ENTREPOT_STORAGE"}
        child = Reader(folder, module_children, env, []).start(UP, name="up")
        child.wait_ready(lambda: "Serving until Ctrl-C" in child.output(), seconds=120)
        run = [shown for shown in COMMANDS if shown.text not in {UP, *NOT_RUN}]
        yield Reader(folder, module_children, env, run)
        child.stop()
        if shutil.which("gpgconf"):  # `gpg` has left an agent behind
            subprocess.run(["gpgconf", "--homedir", str(folder / ".gnupg"), "--kill", "all"], check=False, timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("shown", [one for one in COMMANDS if one.text not in {UP, *NOT_RUN}], ids=lambda one: one.text)
def test_runs_as_it_stands(reader: Reader, shown: Shown) -> None:
    ended = reader.result(shown)
    if ended.missing:
        tool(ended.missing)
    assert ended.code == 0, f"README.md:{shown.line}: {shown.text}\n{ended.output}"


def test_what_is_not_run_is_shown_and_what_is_shown_begins_with_a_known_program() -> None:
    assert {*NOT_RUN, UP} - {shown.text for shown in COMMANDS} == set()
    assert set(find_others(README)) == NO_COMMANDS


def test_commands_are_found_where_a_page_shows_them() -> None:
    page = """
`make prose` is no command column.

```console
$ make run
Registry
```

| what | how |
| --- | --- |
| one `make left` | `entrepot a 'b|c'`, then `A=1 entrepot b`, or `a word` |
| two | `podman x` |

```bash
entrepot d \\
  e   # remark
```
""".replace("b|c", "b\\|c")
    found = find_commands(page)
    assert [one.text for one in found] == [
        "make run", "entrepot a 'b|c'", "A=1 entrepot b", "podman x", "entrepot d   e"
    ]  # fmt: skip
    assert [(found[0].stage, found[1].stage, found[3].stage, found[4].stage), found[1].group == found[2].group] == [
        (1, 3, 3, 4), True
    ]  # fmt: skip
    assert find_others(page) == ["a word"]
