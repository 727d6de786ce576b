"""The compose file: what its services may do, which settings they get, and that nginx's example fits to them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from catalog.settings import Settings, read_settings
from oci.errors import SettingsInvalid
from tests.nginx import EXAMPLE
from tests.servers import ROOT, tool

FILE = ROOT / "deploy" / "compose.yaml"
GIVEN = {"PREFECT_LOGIN": "admin:secret", "POSTGRES_PASSWORD": "secret"}
OURS = ("registry", "worker", "prefect")
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


def interpolate(node: Any, given: dict[str, str]) -> Any:
    """Replace variables in all texts as compose does, after the YAML is read; raise KeyError for one that must be given."""
    if isinstance(node, dict):
        return {name: interpolate(value, given) for name, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, given) for value in node]

    def value(match: re.Match[str]) -> str:
        name, kind, other = match[1], match[2] or "", match[3] or ""
        found = given.get(name)
        if found is None or (not found and kind.startswith(":")):
            if kind.endswith("?"):
                raise KeyError(name)
            return str(other)
        return found

    return _VARIABLE.sub(value, node) if isinstance(node, str) else node


def read_compose(**given: str) -> dict[str, Any]:
    found: dict[str, Any] = interpolate(yaml.safe_load(FILE.read_text()), {**GIVEN, **given})
    return found


def settings_of(monkeypatch: pytest.MonkeyPatch, service: str, **given: str) -> Settings:
    """The settings that a service's environment makes, in a home as in the image."""
    environment = read_compose(**given)["services"][service]["environment"]
    for name, value in {"ENTREPOT_HOME": "/var/lib/entrepot", **environment}.items():
        if value is not None:  # else it is passed on where it is set
            monkeypatch.setenv(name, value)
    return read_settings()


def test_it_has_what_is_promised() -> None:
    found = read_compose()
    services = found["services"]
    assert set(services) == {"registry", "nginx", "worker", "prefect", "postgres", "catalog"}
    started = {name for name, one in services.items() if not one.get("profiles")}
    assert started == set(services) - {"catalog"}
    for name, one in services.items():
        assert set(one.get("depends_on", {})) <= started
        named = [text.split(":")[0] for text in one.get("volumes", ()) if not text.startswith((".", "/"))]
        assert set(named) <= set(found["volumes"]), name


def test_what_must_be_given_is_asked_for() -> None:
    for name in GIVEN:
        with pytest.raises(KeyError, match=name):
            interpolate(yaml.safe_load(FILE.read_text()), {key: value for key, value in GIVEN.items() if key != name})


def test_nothing_of_ours_has_more_rights_than_it_needs() -> None:
    services = read_compose()["services"]
    for name in (*OURS, "nginx"):
        one = services[name]
        assert one["read_only"] is True
        assert one["user"] == "10001:10001"
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published == {"registry": ["80:80", "443:443"], "prefect": ["127.0.0.1:4200:4200"]}
    assert "home:/var/lib/entrepot" not in services["nginx"]["volumes"]
    assert all("privileged" not in one and "docker.sock" not in str(one) for one in services.values())


def test_the_registry_and_the_worker_have_settings_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("registry", "worker"):
        settings = settings_of(monkeypatch, service)
        assert settings.catalog_file == Path("/var/lib/entrepot/catalog/catalog.sqlite")
        assert settings.prefect_api_url == "http://prefect:4200/api"
    names = {name for name in read_compose()["services"]["registry"]["environment"] if name.startswith("ENTREPOT_")}
    coming = {"ENTREPOT_CATALOG_PASSWORD"}  # read where the catalogue is in PostgreSQL
    assert names - coming <= {f"ENTREPOT_{name.upper()}" for name in Settings.model_fields}


def test_nginx_and_the_registry_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, text = settings_of(monkeypatch, "registry"), EXAMPLE.read_text()
    services = read_compose()["services"]
    assert services["nginx"]["network_mode"] == "service:registry"
    assert settings.trusted_proxies == ("127.0.0.1",)
    assert f"server {settings.listen} " in text
    assert f"location {settings.offload_path}/ {{" in text
    assert f"alias {settings.storage_folder}/;" in text
    assert f"blobs:{settings.storage_folder}:ro" in services["nginx"]["volumes"]
    assert services["registry"]["environment"]["ENTREPOT_PUBLIC_URL"] == "https://registry.example"
    assert "server_name registry.example;" in text


def test_blobs_in_s3_are_asked_for_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, "registry", ENTREPOT_STORAGE="s3://blobs/registry", ENTREPOT_OFFLOAD="")
    assert settings.storage_folder is None
    assert settings.offload_path == ""
    with pytest.raises(SettingsInvalid, match="ENTREPOT_OFFLOAD"):
        settings_of(monkeypatch, "registry", ENTREPOT_STORAGE="s3://blobs/registry")


def test_the_specification_of_compose_takes_it(tmp_path: Path) -> None:
    """Its own library reads it, which `docker compose` uses: fields, references and values."""
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(read_compose()))
    done = subprocess.run([tool("compose-go"), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) >= {"registry", "worker", "nginx"}
