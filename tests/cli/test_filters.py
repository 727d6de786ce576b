"""Every option of the filter language changes what is selected: of an upstream, of repositories here, of a bundle."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import run
from oci.kinds import COSIGN_LAYER, signature_tag
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.mirror import mirror
from tests.upstream import Upstream

NAME = "team/app"
CASES = [
    ((), ["1.0", "1.1", "2.0", "chart"]),
    (("--include", "1.*", "--include", "chart"), ["1.0", "1.1", "chart"]),
    (("--exclude", "1.*"), ["2.0", "chart"]),
    (("--type", "helm"), ["chart"]),
    (("--type", "helm", "--type", "index"), ["2.0", "chart"]),
    (("--type", "!application/vnd.cncf.helm.*"), ["1.0", "1.1", "2.0"]),
    (("--label", "stage=p*"), ["1.0", "2.0"]),
    (("--label", "stage", "--label", "stage!=prod"), ["1.1"]),
    (("--label", "!stage"), ["chart"]),
    (("--annotation", "source=*example*"), ["1.1"]),
    (("--newer-than", "2020-06-01"), ["1.1", "2.0"]),
    (("--older-than", "2020-06-01"), ["1.0"]),
    (("--older-than", "1d"), ["1.0", "1.1", "2.0"]),
    (("--signed",), ["1.0"]),
    (("--newest", "1"), ["2.0"]),
    (("--newest", "1", "--newest-of", "major"), ["1.1", "2.0"]),
    (("--newest", "1", "--newest-by", "created"), ["1.1"]),
    (("--newest", "1", "--label", "stage=prod", "--exclude", "2*"), ["1.0"]),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    store = MemoryStore(NAME)
    signed = pack_image(store, [{"f": "1"}], created="2020-01-01T00:00:00Z", config={"Labels": {"stage": "prod"}})
    noted = pack_image(
        store,
        [{"f": "2"}],
        created="2023-01-01T00:00:00Z",
        config={"Labels": {"stage": "test"}},
        annotations={"source": "https://code.example"},
    )
    child = pack_image(store, [{"f": "3"}], created="2022-01-01T00:00:00Z", config={"Labels": {"stage": "prod"}})
    tags = {
        "1.0": signed,
        "1.1": noted,
        "2.0": pack_index(store, [(child, Platform("linux", "amd64"))]),
        "chart": pack_artifact(store, "", config=("application/vnd.cncf.helm.config.v1+json", b"{}")),
        signature_tag(signed.digest): pack_artifact(store, "", [(COSIGN_LAYER, b"signature")]),
    }
    for tag, manifest in tags.items():
        store.put_tag(tag, manifest.digest)
    with Upstream({NAME: store}) as served:
        yield served


@pytest.fixture(scope="module")
def filled(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled")
    mirror(home, f"{upstream.host}/{NAME}")
    return home


def selected(capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    """The tags that a command selects, without cosign's."""
    assert run([*command, "--explain", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["rule"] for row in rows)
    assert {row["tag"].rpartition(":")[2] for row in rows} >= {"1.0", "1.1", "2.0", "chart"}
    return [name for row in rows if row["selected"] and "-" not in (name := row["tag"].rpartition(":")[2])]


@pytest.fixture
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENTREPOT_HOME", str(tmp_path))  # commands set it; the next test shall not see it


@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize(("options", "expected"), CASES, ids=[" ".join(options) for options, _ in CASES])
def test_each_option(
    upstream: Upstream,
    filled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    expected: list[str],
) -> None:
    from_upstream = ("sync", f"{upstream.host}/{NAME}", "--home", str(tmp_path), *options)
    assert sorted(selected(capsys, *from_upstream)) == expected
    here = ("--home", str(filled), *options)
    assert sorted(selected(capsys, "curate", "release/app", NAME, *here)) == expected
    assert sorted(selected(capsys, "export", str(tmp_path / "bundle"), NAME, *here)) == expected


@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--label", "=x"), "expected KEY, KEY=VALUE"),
        (("--annotation", "a b"), "expected KEY, KEY=VALUE"),
        (("--type", "imgae"), "expected one of image"),
        (("--newer-than", "soon"), "invalid age"),
        (("--older-than", "30"), "invalid age"),
        (("--newest-by", "created"), "--newest-by needs --newest"),
        (("--newest-by", "size", "--newest", "1"), "--newest-by"),
    ],
)
def test_what_cannot_be_read(
    filled: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    for command in (("sync", "upstream.example/app"), ("curate", "a", NAME), ("export", "b", NAME)):
        assert run([*command, "--home", str(filled), *options]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.usefixtures("_home")
def test_explaining_a_sync_leaves_nothing_behind_and_reads_what_is_held(
    upstream: Upstream, filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.forget()
    remote = f"{upstream.host}/{NAME}"
    assert selected(capsys, "sync", remote, "--home", str(filled), "--label", "stage=prod") == ["1.0", "2.0"]
    assert upstream.counts["GET", "manifest"] == upstream.counts["GET", "blob"] == 0
    assert selected(capsys, "sync", remote, "--home", str(tmp_path), "--label", "stage=prod") == ["1.0", "2.0"]
    assert upstream.counts["GET", "manifest"] == 5
    assert not [file for file in (tmp_path / "blobs").rglob("*") if file.is_file()]
