"""Logins are found where podman and docker keep them, the most exact key first."""

import base64
import json
from pathlib import Path

import pytest

from oci.errors import RemoteUnauthorized
from oci.reference import DOCKER_HUB
from oci.remote.auth.keychain import Credential, Keychain, login_files


def auth(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


def write(file: Path, document: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def test_files_are_looked_into_in_order(tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "REGISTRY_AUTH_FILE": str(tmp_path / "named.json"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    files = login_files(environ, first=tmp_path / "first.json", uid=1000)
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "first.json",
        "named.json",
        "run/containers/auth.json",
        ".config/containers/auth.json",
        ".docker/config.json",
    ]
    for file, user in reversed(list(zip(files, "abcde", strict=True))):
        write(file, {"auths": {"registry.example": auth(f"{user}:x")}})
        found = Keychain(files=files).find("registry.example")
        assert found is not None
        assert found.username == user
    given = {"registry.example": Credential("given", "x")}
    assert Keychain(given, files).find("registry.example") == given["registry.example"]


def test_the_longest_matching_key_wins(tmp_path: Path) -> None:
    auths = {
        "registry.example": auth("host:x"),
        "registry.example/team": auth("team:x"),
        "registry.example/team/app": auth("app:x"),
    }
    keychain = Keychain(files=(write(tmp_path / "auth.json", {"auths": auths}),))
    users = {
        repository: found.username if (found := keychain.find("registry.example", repository)) else None
        for repository in ("team/app", "team/other", "team/app/deeper", "elsewhere", "")
    }
    assert users == {"team/app": "app", "team/other": "team", "team/app/deeper": "app", "elsewhere": "host", "": "host"}
    assert keychain.find("other.example", "team/app") is None


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB])
def test_docker_hub_has_several_names(tmp_path: Path, key: str) -> None:
    keychain = Keychain(files=(write(tmp_path / "auth.json", {"auths": {key: auth("hub:x")}}),))
    assert keychain.find(DOCKER_HUB, "library/alpine") == Credential("hub", "x")


def test_tokens_and_passwords_with_colons_are_read(tmp_path: Path) -> None:
    auths = {
        "a.example": {**auth("user:"), "identitytoken": "refresh"},
        "b.example": auth("user:pass:word"),
        "c.example": {"username": "plain", "password": "x"},
        "d.example": {},
    }
    keychain = Keychain(files=(write(tmp_path / "config.json", {"auths": auths}),))
    assert keychain.find("a.example") == Credential("user", "", "refresh")
    assert keychain.find("b.example") == Credential("user", "pass:word")
    assert keychain.find("c.example") == Credential("plain", "x")
    assert keychain.find("d.example") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"registry.example": {"auth": "%%%"}}}'])
def test_a_damaged_file_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "auth.json"
    file.write_text(text)
    with pytest.raises(RemoteUnauthorized, match=r"auth\.json"):
        Keychain(files=(file,)).find("registry.example")


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\nread host\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, """echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"x\\"}\"""")
    stored = Keychain(files=(write(tmp_path / "one.json", {"credsStore": "test"}),))
    assert stored.find("registry.example", "team/app") == Credential("registry.example", "x")
    listed = Keychain(files=(write(tmp_path / "two.json", {"credHelpers": {"registry.example": "test"}}),))
    assert listed.find("registry.example", "team/app") == Credential("registry.example", "x")
    assert listed.find("other.example") is None


def test_a_helper_that_has_no_login_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keychain = Keychain(files=(write(tmp_path / "one.json", {"credHelpers": {"registry.example": "test"}}),))
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    assert keychain.find("registry.example") is None
    helper(tmp_path, monkeypatch, "echo s3cret >&2; exit 3")
    with pytest.raises(RemoteUnauthorized, match=r"docker-credential-test.*exit code 3") as caught:
        keychain.find("registry.example")
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(RemoteUnauthorized, match="docker-credential-test"):
        keychain.find("registry.example")


@pytest.mark.parametrize("key", ["docker.io/library/alpine", "docker.io/library", "docker.io", "index.docker.io"])
def test_docker_hub_goes_by_its_names_for_a_part_of_it_too(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "auth.json", {"auths": {key: auth("me:x")}})
    assert Keychain(files=(file,)).find(DOCKER_HUB, "library/alpine") == Credential("me", "x")
    assert Keychain({key: Credential("me", "x")}).find(DOCKER_HUB, "library/alpine") == Credential("me", "x")
