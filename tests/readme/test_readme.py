"""Every command of README and the guides runs as it stands, in the order of its page, on a machine that has nothing yet."""

import os
import re
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
from tests.readme.reader import Ended, Reader
from tests.readme.upstreams import upstreams
from tests.scratch import disk
from tests.servers import ROOT, Children, free_port, make_podman, start_s3, tool

UP = "entrepot up"
REGISTRY_PORT = 5080
# Whose token signs in the example of keyless signing.
IDENTITY = "ci@registry.example"

_PATH = 'export PATH="$PWD/.venv/bin:$PATH"'
_ON_PATH = "the test's own PATH has the folder already"
_MAKE_RUN = "makes .venv; tests/flows/test_up.py runs what it starts then, `entrepot up --demo`"
REFUSED = "entrepot verify trusted/alpine:3.21 --policy builder"
_PULL = "podman pull --tls-verify=false 127.0.0.1:5080/trusted/alpine"
_RELEASE = "entrepot hold release sha256:9e30e084ed370567aa1451614a0480dcbd92d588da95980ff126949d97d54f05"
RELEASE = f"{_RELEASE} --reason 'fixes CVE-2026-1' --owner security"
_REFUSED = "it is refused, as a test of its own sees"
# Pages whose commands run, and those of their commands that do not, each with the reason.
PAGES: dict[str, dict[str, str]] = {
    "README.md": {
        "make run": _MAKE_RUN,
        "make run UPSTREAM=docker.io/library/alpine": "as `make run`; it starts `entrepot up --upstream`",
        "make test": "runs this test",
        _PATH: _ON_PATH,
        UP: "the fixture runs it",
        "ENTREPOT_CATALOG=postgresql://entrepot@db.example/entrepot ENTREPOT_STORAGE=s3://blobs/registry entrepot serve": (
            "tests/replicas runs it, with a database and an S3 server of its own"
        ),
        "flatpak remote-add --user here oci+http://127.0.0.1:5080": (
            "tests/interop/test_flatpak.py runs it, with a bus of its own"
        ),
        "flatpak install here org.example.App": "tests/interop/test_flatpak.py builds an app and installs it",
    },
    "docs/tutorial.md": {"make run": _MAKE_RUN, _PATH: _ON_PATH},
    "docs/mirror.md": {},
    "docs/sync.md": {},
    "docs/gates.md": {},
    "docs/hold.md": {},
    "docs/lifecycle.md": {},
    "docs/quotas.md": {},
    "docs/retention.md": {},
    "docs/trust.md": {
        f"{_PULL}:3.22": _REFUSED,
        f"{_PULL}:3.21": _REFUSED,
        REFUSED: _REFUSED,
        RELEASE: "its digest stands for the reader's own; a test of its own releases",
    },
}
_PLACES = "names repositories and versions that stand for the reader's own"
_SERVERS = "names servers, files and accounts that stand for the reader's own"
_DEVELOPERS = "for developers, or a command of hours"
# Pages with blocks of commands that do not run here, and why; tests/test_docs.py checks names and options of each.
PAGES_NOT_RUN = {
    "CONTRIBUTING.md": _DEVELOPERS,
    "docs/access.md": _SERVERS,
    "docs/artifacts.md": "README runs most; tests/interop runs each client",
    "docs/benchmarks.md": _DEVELOPERS,
    "docs/build.md": "README runs a build; tests/flows/test_build.py runs the options",
    "docs/bundles.md": _PLACES,
    "docs/caches.md": _SERVERS,
    "docs/configuration.md": _SERVERS,
    "docs/console.md": _SERVERS,
    "docs/curate.md": _PLACES,
    "docs/deploy.md": _SERVERS,
    "docs/events.md": _SERVERS,
    "docs/filters.md": _PLACES,
    "docs/http.md": "tests/api asks each path",
    "docs/metrics.md": _SERVERS,
    "docs/migrate.md": "tests/readme/test_migrate_page.py runs them",
    "docs/operations.md": _SERVERS,
    "docs/pages.md": _SERVERS,
    "docs/promotion.md": _PLACES,
    "docs/push.md": _PLACES,
    "docs/registry.md": _DEVELOPERS,
    "docs/remotes.md": _SERVERS,
    "docs/replicas.md": _SERVERS,
    "docs/replication.md": _SERVERS,
    "docs/sbom.md": "tests/cli/test_sboms.py runs each command",
    "docs/signing.md": "README runs each kind of signature; tests/interop runs other programs",
    "docs/sql.md": "README runs queries; tests/questions runs each named one",
    "docs/versions.md": _PLACES,
    "docs/watch.md": _SERVERS,
    "docs/workers.md": _SERVERS,
}
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
COMMANDS = {page: find_commands(text) for page, text in TEXTS.items()}
# What runs first, in the place of what does not run.
FIRST = {"docs/tutorial.md": Shown(0, 0, 0, "entrepot sync registry.example/demo/app")}
RUN = {
    page: [*filter(None, [FIRST.get(page)]), *(one for one in found if one.text not in PAGES[page])]
    for page, found in COMMANDS.items()
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
def readers(
    module_children: Children, sigstore: PrivateSigstore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Reader]]:
    """A reader of each page, in a folder of its own. `entrepot up` runs at the registry's own port; upstreams are as named."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", REGISTRY_PORT))
        except OSError:
            pytest.skip(f"port {REGISTRY_PORT}, which the commands name, is taken")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "trust.json").write_text(sigstore.trust_config)
    (folder / "token").write_text(identity_token(IDENTITY, minutes=60))
    with (
        tempfile.TemporaryDirectory(prefix="podman-", dir=disk(), ignore_cleanup_errors=True) as short,
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
        child.wait_ready(lambda: "Serving until Ctrl-C" in child.output(), seconds=240)
        yield {page: Reader(_folder_of(page, folder), module_children, env, run) for page, run in RUN.items()}
        child.stop()
        if shutil.which("gpgconf"):  # `gpg` has left an agent behind
            subprocess.run(["gpgconf", "--homedir", str(folder / ".gnupg"), "--kill", "all"], check=False, timeout=30)


def _folder_of(page: str, folder: Path) -> Path:
    """Return where a page's commands run: below the home."""
    place = folder / Path(page).stem.lower()
    place.mkdir()
    return place


@pytest.mark.slow
def test_the_guide_of_trust_lets_signed_and_old_images_out_and_refuses_the_rest(readers: dict[str, Reader]) -> None:
    """It runs first: the page ends by removing the gate and the hold."""
    reader, shown = readers["docs/trust.md"], COMMANDS["docs/trust.md"]
    pulls = [place for place, one in enumerate(shown, 1) if one.text.startswith(_PULL)]
    assert pulls[0] == 10  # "in ten commands"
    (explained,) = (one for one in RUN["docs/trust.md"] if "--explain" in one.text)
    reader.result(explained)
    assert {one.text: ended.output for one, ended in reader.ended.items() if ended.code} == {}
    assert "rule 1 is satisfied" in reader.result(explained).output
    refused = reader.try_one(Shown(0, 0, 0, REFUSED))
    assert (refused.code, "not-signed: rule 1 is not satisfied" in refused.output) == (1, True), refused.output

    def pull(tag: str) -> Ended:
        ended = reader.try_one(Shown(0, 0, 0, f"{_PULL}:{tag}"))
        if ended.missing:
            tool(ended.missing)
        return ended

    for tag in ("3.22", "3.21"):
        held = pull(tag)
        assert held.code != 0
        found = re.search(rf"denied: tag {tag}: (sha256:\w+) is held for 1w below trusted/\*\*, until", held.output)
        assert found, held.output
        released = reader.try_one(Shown(0, 0, 0, RELEASE.replace(_RELEASE, f"entrepot hold release {found[1]}")))
        assert released.code == 0, released.output
    assert pull("3.22").code == 0
    unsigned = pull("3.21")
    assert (unsigned.code != 0, "is refused by the policy builder: rule 1 is not satisfied" in unsigned.output) == (
        True, True,
    ), unsigned.output  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "shown"),
    [(page, one) for page, run in RUN.items() for one in run],
    ids=lambda one: getattr(one, "text", one),
)
def test_runs_as_it_stands(readers: dict[str, Reader], page: str, shown: Shown) -> None:
    ended = readers[page].result(shown)
    if ended.missing:
        tool(ended.missing)
    assert ended.code == 0, f"{page}:{shown.line}: {shown.text}\n{ended.output}"


def test_what_is_not_run_is_shown_and_what_is_shown_begins_with_a_known_program() -> None:
    for page, not_run in PAGES.items():
        assert not_run.keys() - {shown.text for shown in COMMANDS[page]} == set()
    assert set(find_others(TEXTS["README.md"])) == NO_COMMANDS


def test_every_page_with_commands_runs_or_says_why_not() -> None:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    blocks = re.compile(r"^```(?:bash|sh|console)$", re.MULTILINE)
    shown = {str(path.relative_to(ROOT)) for path in paths if blocks.search(path.read_text())}
    assert shown == PAGES.keys() | PAGES_NOT_RUN.keys()
    assert PAGES.keys() & PAGES_NOT_RUN.keys() == set()


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
cat > file <<'END'
  text: 1  # no remark
END
```
""".replace("b|c", "b\\|c")
    found = find_commands(page)
    assert [one.text for one in found] == [
        "make run", "entrepot a 'b|c'", "A=1 entrepot b", "podman x", "entrepot d   e",
        "cat > file <<'END'\n  text: 1  # no remark\nEND",
    ]  # fmt: skip
    assert [(found[0].stage, found[1].stage, found[3].stage, found[4].stage), found[1].group == found[2].group] == [
        (1, 3, 3, 4), True
    ]  # fmt: skip
    assert find_others(page) == ["a word"]
