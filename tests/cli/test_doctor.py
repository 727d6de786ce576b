"""`entrepot doctor` over real installations: one that is well, and one fault at a time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.settings import read_settings
from cli.doctor.network import check_dead_runs, check_prefect, check_upstreams
from cli.doctor.stores import check_storage
from cli.exit_codes import DONE, FAILED
from cli.main import run
from tests.cli.commands import PrefectServer
from tests.conftest import DockerRegistryFactory
from tests.homes import new_home
from tests.postgresql import PostgresServer, use
from tests.servers import S3Server, free_port

Doctor = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run it over a new home; return its exit code, and its findings by check."""
    new_home(tmp_path / "entrepot", administrator=True)
    monkeypatch.setenv("ENTREPOT_LISTEN", f"127.0.0.1:{free_port()}")

    def look() -> tuple[int, dict[str, list[dict[str, Any]]]]:
        capsys.readouterr()
        code = run(["doctor", "--json", "--home", str(tmp_path / "entrepot"), "--timeout", "120"])
        found: dict[str, list[dict[str, Any]]] = {}
        for one in json.loads(capsys.readouterr().out)["findings"]:
            found.setdefault(one["check"], []).append(one)
        return code, found

    return look


def test_a_new_home_is_well_but_for_prefect(doctor: Doctor) -> None:
    code, found = doctor()
    assert code == DONE
    states = {check: {one["state"] for one in findings} for check, findings in found.items() if check != "tools"}
    assert states == {
        "settings": {"ok"}, "home": {"ok"}, "disk": {"ok"}, "catalogue": {"ok"}, "lock": {"ok"}, "storage": {"ok"},
        "upstreams": {"ok"}, "prefect": {"warning"}, "ports": {"ok"}, "tls": {"ok"},
    }  # fmt: skip
    assert "`entrepot up`" in found["prefect"][0]["advice"]


def test_a_broken_catalogue_fails_alone(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "entrepot" / "catalog" / "catalog.sqlite").write_bytes(b"no database" * 1000)
    code, found = doctor()
    assert code == FAILED
    assert {one["check"] for findings in found.values() for one in findings if one["state"] == "failure"} == {
        "catalogue", "upstreams",
    }  # fmt: skip


def test_settings_that_cannot_be_read_are_the_one_finding(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTREPOT_MAX_UPLOADS", "many")
    code, found = doctor()
    assert (code, set(found)) == (FAILED, {"settings"})
    assert "ENTREPOT_MAX_UPLOADS" in found["settings"][0]["found"]


def test_a_login_that_is_not_taken_is_told_without_showing_it(
    docker_registry: DockerRegistryFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = docker_registry(auth=True)
    home = new_home(tmp_path / "entrepot")

    def look(login: str) -> list[tuple[str, str]]:
        monkeypatch.setenv("ENTREPOT_LOGINS", json.dumps({upstream.host: login}))
        return [(one.state, one.found) for one in check_upstreams(read_settings(home=home)) if one.check == "upstreams"]

    assert look(upstream.creds) == [("ok", f"{upstream.host} accepts the configured login")]
    ((state, text),) = look(f"{upstream.username}:hunter2hunter2")
    assert state == "failure"
    assert "hunter2" not in text
    upstream.child.stop()
    assert look(upstream.creds)[0][0] == "failure"


def test_a_probe_is_put_got_and_deleted_in_s3(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path for path in s3.folder.rglob("*") if path.is_file())
    found = list(check_storage(read_settings(home=tmp_path)))
    assert [(one.check, one.state) for one in found] == [("storage", "ok"), ("clock", "ok")]
    assert sorted(path for path in s3.folder.rglob("*") if path.is_file()) == before
    monkeypatch.setenv("ENTREPOT_STORAGE", "s3://nowhere/registry")
    from oci.errors import StorageUnavailable

    with pytest.raises(StorageUnavailable, match="nowhere"):
        list(check_storage(read_settings(home=tmp_path)))


def test_prefect_is_asked_for_its_release_workers_and_runs(
    session_prefect: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTREPOT_PREFECT_API_URL", session_prefect.api_url)
    settings = read_settings(home=tmp_path)
    _register_without_worker(session_prefect, "nobody-works-here")
    found = list(check_prefect(settings))
    assert [(one.check, one.state) for one in found if one.check != "workers"] == [("prefect", "ok"), ("runs", "ok")]
    assert [one.state for one in found if "nobody-works-here" in one.found] == ["failure"]
    assert all(one.advice for one in found if one.state != "ok")
    assert [one.check for one in check_dead_runs(settings)] == ["dead runs"]
    monkeypatch.setenv("ENTREPOT_PREFECT_API_URL", f"http://user:hunter2@127.0.0.1:{free_port()}/api")
    (gone,) = check_prefect(read_settings(home=tmp_path))
    assert gone.state == "failure"
    assert "hunter2" not in str(gone)


def _register_without_worker(prefect: PrefectServer, pool: str) -> None:
    """Register a deployment of ours in a work pool of its own: other tests start workers of the usual one."""
    flow = prefect.ask("POST", "/flows/", {"name": pool})
    prefect.ask("POST", "/work_pools/", {"name": pool, "type": "process"})
    prefect.ask(
        "POST", "/deployments/", {"name": pool, "flow_id": flow["id"], "work_pool_name": pool, "tags": ["entrepot"]}
    )


def test_a_database_that_nobody_has_opened_is_new_and_stays_so(
    doctor: Doctor, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = use(postgres_server.new_database(), monkeypatch)
    _code, found = doctor()
    (catalogue,) = found["catalogue"]
    assert (catalogue["state"], "it is new" in catalogue["found"]) == ("warning", True)
    assert [found[check][0]["state"] for check in ("lock", "clock", "upstreams")] == ["ok"] * 3
    made = postgres_server.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = 'entrepot' UNION ALL "
        "SELECT relname FROM pg_class WHERE relname LIKE 'ducklake%'",
        url.rpartition("/")[2],
    )
    assert made == []
