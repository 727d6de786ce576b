"""Checks of this machine, each against a state that is well and one that is not."""

import fcntl
import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.lake.schema import MIGRATIONS
from catalog.settings import Settings, read_settings
from cli.doctor import machine, stores
from cli.doctor.finding import DoctorCheck, Finding, ok, run_checks
from cli.doctor.network import check_upstreams, shown_place
from oci.errors import StorageUnavailable
from tests.homes import new_home
from tests.servers import Certificate, free_port


def states(found: Iterable[Finding]) -> list[str]:
    return [one.state for one in found]


def settings_of(home: Path, **changes: object) -> Settings:
    return read_settings(home=home, **changes)


def test_a_check_that_hangs_or_breaks_keeps_no_other_from_its_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import exit_codes

    left = []
    monkeypatch.setattr(exit_codes, "leave_behind", lambda: left.append(1))
    end = threading.Event()

    def hang() -> list[Finding]:
        end.wait(60)
        return []

    def refuse() -> list[Finding]:
        raise StorageUnavailable("S3 bucket x cannot be used")

    def break_down() -> list[Finding]:
        raise ValueError("password hunter2")

    try:
        found = run_checks(
            [
                DoctorCheck("hangs", hang),
                DoctorCheck("refuses", refuse),
                DoctorCheck("breaks", break_down),
                DoctorCheck("well", lambda: [ok("well", "all is well")]),
            ],
            seconds=0.5,
        )
    finally:
        end.set()
    assert [(one.check, one.state) for one in found] == [
        ("hangs", "failure"), ("refuses", "failure"), ("breaks", "failure"), ("well", "ok"),
    ]  # fmt: skip
    assert "no answer within 0.5 s" in found[0].found
    assert found[1].found == "S3 bucket x cannot be used"
    assert "hunter2" not in str(found)
    assert left == [1]  # the process ends without waiting for it


def test_mistyped_settings_and_an_address_without_tls_are_told(tmp_path: Path) -> None:
    found = list(machine.check_settings(settings_of(tmp_path, listen="192.0.2.1:5080"), {"ENTREPOT_LISTN": "x"}))
    assert states(found) == ["warning", "failure"]
    assert "did you mean ENTREPOT_LISTEN?" in found[0].found
    assert states(machine.check_settings(settings_of(tmp_path), {"ENTREPOT_LISTEN": "x"})) == ["ok"]


def test_a_home_that_others_may_enter_is_told(tmp_path: Path) -> None:
    home = tmp_path / "entrepot"
    assert states(machine.check_home(settings_of(home))) == ["warning"]
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    assert "other users can access" in next(iter(machine.check_home(settings_of(home)))).found
    home.chmod(0o700)
    assert states(machine.check_home(settings_of(home))) == ["ok"]


@pytest.mark.parametrize(("free", "state"), [(10, "failure"), (250, "warning"), (500, "ok")])
def test_a_disk_is_judged_by_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    real = os.statvfs(tmp_path)
    disk = os.statvfs_result((1, 1, 1000, free, free, real.f_files, real.f_ffree, real.f_files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    (found,) = machine.check_disks(settings_of(tmp_path, disk_reserve=100))
    assert found.state == state
    assert ("`entrepot gc`" in found.advice) == (state != "ok")


def test_a_port_that_somebody_else_has_is_told(tmp_path: Path) -> None:
    import socket

    assert states(machine.check_port(settings_of(tmp_path, listen=f"127.0.0.1:{free_port()}"))) == ["ok"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def close_two() -> None:
            for _ in range(2):
                other.accept()[0].close()

        threading.Thread(target=close_two, daemon=True).start()
        (found,) = machine.check_port(settings_of(tmp_path, listen=f"127.0.0.1:{port}"))
    assert found.state == "failure"
    assert "is used by another program" in found.found


def test_a_certificate_is_judged_by_its_end_and_its_names(
    tmp_path: Path, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_SOON", timedelta(hours=10))  # it is good for a day
    monkeypatch.setattr(machine, "_NOW", timedelta(hours=1))

    def look(now: datetime, **changes: object) -> list[Finding]:
        settings = settings_of(tmp_path, tls_cert=certificate.cert_file, tls_key=certificate.key_file, **changes)
        return list(machine.check_certificate(settings, now))

    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate.cert_file.read_bytes())
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    assert states(look(end - timedelta(hours=12), public_url="https://127.0.0.1:1", hosts="localhost")) == ["ok"]
    assert states(look(end - timedelta(hours=5))) == ["warning"]
    assert states(look(end - timedelta(minutes=5))) == ["failure"]
    assert states(look(end + timedelta(days=2))) == ["failure"]
    assert states(look(begin - timedelta(days=2))) == ["failure"]
    named = look(end - timedelta(hours=12), public_url="https://registry.example")
    assert states(named) == ["ok", "failure"]
    assert "does not name registry.example" in named[-1].found
    other = tmp_path / "other.pem"
    other.write_text("nothing")
    broken = settings_of(tmp_path, tls_cert=other, tls_key=certificate.key_file)
    assert states(machine.check_certificate(broken, datetime.now(UTC))) == ["failure"]
    assert states(machine.check_certificate(settings_of(tmp_path), datetime.now(UTC))) == ["ok"]


def test_the_holder_of_a_lock_is_named_without_touching_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "catalog.lock"
    assert stores.file_lock_holders(file) == []
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (holder,) = stores.file_lock_holders(file)
        assert holder.startswith(f"process {os.getpid()} (")
    assert stores.file_lock_holders(file) == []


@pytest.mark.parametrize(("seconds", "state"), [(1, "ok"), (-30, "warning"), (900, "failure")])
def test_a_clock_is_judged_by_how_far_it_is_from_another(seconds: int, state: str) -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert stores.judge_clock("S3", now, now + timedelta(seconds=seconds)).state == state


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    assert states(stores.check_storage(settings_of(tmp_path))) == ["ok"]
    blobs.mkdir()
    assert states(stores.check_storage(settings_of(tmp_path))) == ["ok"]
    assert list(blobs.iterdir()) == []
    blobs.rmdir()
    blobs.write_text("a file in its place")
    (found,) = stores.check_storage(settings_of(tmp_path))
    assert (found.state, "cannot be written" in found.found) == ("failure", True)


def test_no_login_in_a_url_is_shown() -> None:
    assert shown_place("https://me:hunter2@prefect.example:4200/api") == "https://prefect.example:4200/api"


def test_a_catalogue_of_an_older_release_is_told_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(new_home(tmp_path / "home"))
    assert states(stores.check_catalog_opens(settings)) == ["ok"]
    monkeypatch.setattr("catalog.lake.schema.MIGRATIONS", (*MIGRATIONS, ()))
    monkeypatch.setattr("catalog.catalog.open_catalog", lambda _: pytest.fail("it was opened"))
    (found,) = stores.check_catalog_opens(settings)
    assert (found.state, "of an older release" in found.found) == ("warning", True)
    assert states(check_upstreams(settings)) == ["ok"]
