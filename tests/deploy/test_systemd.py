"""The systemd units: systemd takes them, they have few rights, and their settings are ours."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.settings import Settings, read_settings
from tests.nginx import EXAMPLE
from tests.servers import ROOT, tool

FOLDER = ROOT / "deploy" / "systemd"
UNITS = ("entrepot-registry.service", "entrepot-worker.service", "entrepot-prefect.service")
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "StateDirectoryMode": "0700",
}
MOST_EXPOSED = 25
"""What `systemd-analyze security` may say at most, of 100; a unit without any of these lines has 96."""


def read_unit(text: str) -> dict[str, list[str]]:
    """The values of each key of a unit."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if (match := re.fullmatch(r"(\w+)=(.*)", line)) is not None:
            found.setdefault(match[1], []).append(match[2])
    return found


def read_environment(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with the commands of this installation, which systemd looks for."""
    texts = {name: (FOLDER / name).read_text() for name in UNITS}
    for name, text in texts.items():
        assert "/opt/entrepot/.venv/bin/" in text
        (tmp_path / name).write_text(text.replace("/opt/entrepot/.venv/bin/", f"{Path(sys.executable).parent}/"))
    return [tmp_path / name for name in texts]


def test_systemd_takes_them(units: list[Path]) -> None:
    command = [tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_them_little_exposed(units: list[Path]) -> None:
    for unit in units:
        command = [tool("systemd-analyze"), "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{unit.name}: {done.stdout[-300:]}{done.stderr}"


@pytest.mark.parametrize("name", UNITS)
def test_they_are_hardened(name: str) -> None:
    unit = read_unit((FOLDER / name).read_text())
    assert {key: unit.get(key) for key in HARDENED} == {key: [value] for key, value in HARDENED.items()}
    assert unit.get("User") == ["entrepot"] or unit.get("DynamicUser") == ["yes"]
    assert "root" not in unit.get("User", [])


def test_the_user_is_the_one_that_sysusers_makes() -> None:
    (line,) = [one for one in (FOLDER / "entrepot.sysusers").read_text().splitlines() if not one.startswith("#")]
    kind, name, *_, home = line.split()
    assert (kind, name, home) == ("u", "entrepot", "/var/lib/entrepot")


@pytest.mark.parametrize("name", ["entrepot-registry.service", "entrepot-worker.service"])
def test_their_settings_are_ours_and_fit_to_nginx(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = read_unit((FOLDER / name).read_text())
    given = dict(text.split("=", 1) for text in unit["Environment"])
    given |= read_environment((FOLDER / "entrepot.env").read_text())
    ours = {key for key in given if key.startswith("ENTREPOT_")}
    assert ours <= {f"ENTREPOT_{field.upper()}" for field in Settings.model_fields}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    settings, nginx = read_settings(), EXAMPLE.read_text()
    assert f"server {settings.listen} " in nginx
    assert f"location {settings.offload_path}/ {{" in nginx
    assert f"alias {settings.storage_folder}/;" in nginx
    assert settings.root == Path("/var/lib") / unit["StateDirectory"][0]


def test_prefect_does_not_start_without_a_login() -> None:
    unit = read_unit((FOLDER / "entrepot-prefect.service").read_text())
    assert unit["EnvironmentFile"] == ["/etc/entrepot/prefect.env"]
    command = unit["ExecStartPre"][0]
    shipped = read_environment((FOLDER / "prefect.env").read_text())
    assert set(shipped) == {"PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"}
    for environment, code in ((shipped, 1), ({"PREFECT_SERVER_API_AUTH_STRING": "admin:secret"}, 0)):
        assert subprocess.run(["/bin/sh", "-c", command], env=environment, check=False).returncode == code
    assert "--host 127.0.0.1" in unit["ExecStart"][0]
