"""What flows of a worker may read and write: whoever may use Prefect names any path, and gets those of the allowed folders."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import Settings, read_settings
from catalog.work_roots import PathRefused, allowed_path, is_below, is_from_afar, read_allowed
from flows.image_build.flow import find_build
from flows.image_build.request import BuildRequest
from flows.promote.flow import make_gates
from flows.promote.request import PromoteRequest
from flows.sign.flow import prepare_attestation
from flows.sign.request import AttestRequest, read_trust
from flows.sign.signers import read_any_signer
from flows.sign.verifiers import check_by_identity, check_by_key
from oci.errors import InvalidInput
from oci.signing.keys import KeyInvalid
from tests.homes import new_home

WORKER = {"PREFECT__FLOW_RUN_ID": "5f966d35-ad9c-45c7-ad6a-24be29fb1024"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = read_settings(home=new_home(tmp_path / "entrepot"))
    (made.root / "work").mkdir()
    (made.root / "admin-password").write_text("the password")
    return made


@pytest.fixture
def work(settings: Settings) -> Path:
    return settings.root / "work"


def test_only_a_worker_s_flow_is_confined(settings: Settings, tmp_path: Path) -> None:
    assert (is_from_afar(WORKER), is_from_afar({})) == (True, False)
    assert allowed_path(settings, Path("/etc/passwd"), "key", environ={}) == Path("/etc/passwd")
    assert allowed_path(settings, Path("here"), "key", environ={}) == Path.cwd() / "here"


def test_what_is_below_is_allowed_and_a_relative_path_is_one_there(settings: Settings, work: Path) -> None:
    for given in ("a/b", "./a/../a/b", str(work / "a/b")):
        assert allowed_path(settings, Path(given), "bundle", environ=WORKER) == work / "a/b"
    assert allowed_path(settings, work, "context", environ=WORKER) == work


@pytest.mark.parametrize(
    "given",
    [
        "/etc/passwd", "/etc/absent", "../admin-password", "{work}/../admin-password", "{work}/out/admin-password",
        "{work}/file", "{work}/loop", "{work}-beside/x", "{work}/out/absent/new.tar", "/proc/self/environ", "~/.ssh/id_rsa", "/",
    ],
)  # fmt: skip
def test_what_leads_elsewhere_is_refused_whether_or_not_it_is_there(settings: Settings, work: Path, given: str) -> None:
    (work / "out").symlink_to(settings.root)
    (work / "file").symlink_to(settings.root / "admin-password")
    (work / "loop").symlink_to(Path("/") / "etc")
    path = Path(given.format(work=work))
    with pytest.raises(PathRefused) as refused:
        allowed_path(settings, path, "bundle", environ=WORKER)
    assert str(refused.value) == (
        f"the bundle {path} lies outside of what flows of a worker may use: {work}; "
        "put it there, or name its folder in ENTREPOT_WORK_ROOTS"
    )


@pytest.mark.parametrize("given", ["a\0b", "a\ud800b"])
def test_what_can_be_no_path_is_refused(settings: Settings, given: str) -> None:
    assert not is_below(Path(given), settings.allowed_roots)
    with pytest.raises(PathRefused):
        allowed_path(settings, Path(given), "key", environ=WORKER)


def test_the_folders_are_a_setting_and_may_be_links_themselves(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = read_settings(home=tmp_path / "entrepot", work_roots=f"{tmp_path / 'link'}, {tmp_path / 'two'}")
    assert settings.allowed_roots == (tmp_path / "link", tmp_path / "two")
    assert allowed_path(settings, tmp_path / "link/a", "key", environ=WORKER) == tmp_path / "real/a"
    assert allowed_path(settings, tmp_path / "two/a", "key", environ=WORKER) == tmp_path / "two/a"
    with pytest.raises(PathRefused):
        allowed_path(settings, settings.root / "work" / "a", "key", environ=WORKER)


def test_a_file_is_read_and_a_pipe_or_a_folder_is_not_waited_for(settings: Settings, work: Path) -> None:
    (work / "key").write_bytes(b"of the work")
    os.mkfifo(work / "pipe")
    assert read_allowed(settings, Path("key"), "key", environ=WORKER) == b"of the work"
    for name in ("pipe", "."):
        with pytest.raises((InvalidInput, IsADirectoryError)):
            read_allowed(settings, Path(name), "key", environ=WORKER)
    with pytest.raises(FileNotFoundError):
        read_allowed(settings, Path("absent"), "key", environ=WORKER)


def test_a_folder_that_became_a_link_since_is_noticed(
    settings: Settings, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "folder").mkdir()
    (work / "folder" / "admin-password").write_text("harmless")
    opening = os.open

    def swap_first(path: str | Path, *arguments: int) -> int:
        (work / "folder").rename(work / "away")
        (work / "folder").symlink_to(settings.root)
        return opening(path, *arguments)

    monkeypatch.setattr(os, "open", swap_first)
    with pytest.raises(PathRefused, match="has moved"):
        read_allowed(settings, work / "folder" / "admin-password", "key", environ=WORKER)


# --- every parameter that names a path -------------------------------------------------------------------------


def build(settings: Settings, **fields: object) -> None:
    find_build(settings, BuildRequest.model_validate({"repository": "team/app", **fields}))


def attest(settings: Settings, path: Path) -> None:
    with open_catalog(settings) as catalog:
        prepare_attestation(catalog, AttestRequest(source="team/app:v1", document=path, signed=False))


def promote(settings: Settings, path: Path) -> None:
    request = PromoteRequest(source="team/app", repository="team/other", signed_by_key=(path,))
    with open_catalog(settings) as catalog:
        make_gates(catalog, request, now=datetime.now(UTC))


USES: dict[str, Callable[[Settings, Path], object]] = {
    "sign by a key": lambda settings, path: read_any_signer(settings, path),
    "a trust configuration": lambda settings, path: read_trust(settings, path),
    "verify by a key": lambda settings, path: check_by_key(settings, path),
    "verify by an identity": lambda settings, path: check_by_identity(settings, "me", "https://issuer.example", path),
    "attest a document": attest,
    "promote what a key has signed": promote,
    "build in a context": lambda settings, path: build(settings, context=path),
    "build by a Containerfile": lambda settings, path: build(
        settings, context=settings.root / "work", containerfile=path
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("given", ["/etc/passwd", "/etc/absent", "../admin-password"])
def test_no_parameter_reads_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, use: str, given: str
) -> None:
    monkeypatch.setenv(*next(iter(WORKER.items())))
    with pytest.raises(PathRefused, match="ENTREPOT_WORK_ROOTS"):
        USES[use](settings, Path(given))


def test_a_containerfile_that_is_a_link_is_refused(
    settings: Settings, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "Containerfile").symlink_to(settings.root / "admin-password")
    build(settings, context=work)  # a command follows it
    monkeypatch.setenv(*next(iter(WORKER.items())))
    with pytest.raises(PathRefused):
        build(settings, context=work)


def test_the_settings_own_files_are_the_operator_s_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*next(iter(WORKER.items())))
    (tmp_path / "key").write_text("no key")
    settings = read_settings(home=tmp_path / "entrepot", signing_key=tmp_path / "key")
    with pytest.raises(KeyInvalid):  # read, and found to be none
        read_any_signer(settings, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("exec:/bin/true", "which no flow of a worker may"),
        ("pkcs11:object=k?module-path=/tmp/evil.so", "which no flow of a worker may"),
        ("env://HOME", "add it to ENTREPOT_SIGNERS"),
        ("file:///etc/passwd", "ENTREPOT_WORK_ROOTS"),
        ("pkcs11:object=k?pin-source=file:/etc/passwd", "ENTREPOT_WORK_ROOTS"),
    ],
)
def test_signers_that_only_a_worker_s_own_machine_names(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv(*next(iter(WORKER.items())))
    monkeypatch.setenv("COSIGN_PKCS11_MODULE_PATH", "/absent.so")
    with pytest.raises(PathRefused, match=said):
        read_any_signer(settings, given)
    listing_all = settings.model_copy(update={"signers": ("*",)})
    if given.startswith("env:"):
        with pytest.raises(KeyInvalid, match="is no private key"):
            read_any_signer(listing_all, given)
    else:
        with pytest.raises(PathRefused, match=said):
            read_any_signer(listing_all, given)


def test_signers_of_the_settings_and_of_a_command_are_any(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for environ, key, own in (({}, "exec:/bin/absent", None), (WORKER, None, "exec:/bin/absent")):
        with pytest.raises(KeyInvalid, match="no command at this path"):
            read_any_signer(settings.model_copy(update={"signing_key": own}), key, environ=environ)
    assert read_settings(home=settings.root, signers="awskms:///a, hashivault:*").signers == (
        "awskms:///a",
        "hashivault:*",
    )
