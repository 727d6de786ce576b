"""A disk without room, a real one: uploads stop in time, all else goes on. Each test mounts a file system of 96 MiB."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.disk_reserve import BALLAST, MAX_RESERVE, Room, reserve_of
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import StorageFull
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, codes, random_blob, serve

MIB = 1024 * 1024
RESERVE = 16 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which nothing else is on."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here: only root may")
    try:
        yield folder
    finally:
        # Lazily: DuckDB 1.5.5 keeps the files open of a commit that failed for want of room, until the process ends.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(folder: Path, *, leave: int = 0) -> None:
    """As others on the machine do."""
    with (folder / "of-others").open("ab") as file:
        while free(folder) > leave:
            part = min(MIB, free(folder) - leave)
            try:
                file.write(bytes(part))
                file.flush()
            except OSError:
                break


def pushed(api: Api, name: str, tag: str) -> None:
    store = MemoryStore()
    api.push(name, tag, store, pack_image(store, [{"own": f"{name} {tag}"}]))


def anonymous_pull(api: Api, name: str, tag: str) -> int:
    """As a client does it: a token for nobody, then the manifest."""
    token = api.anybody.get("/token", params={"scope": f"repository:{name}:pull", "service": "entrepot"})
    assert token.status_code == 200, token.text
    headers = {"Authorization": f"Bearer {token.json()['token']}"}
    return api.anybody.get(f"/v2/{name}/manifests/{tag}", headers=headers).status_code


def test_uploads_leave_a_reserve_in_which_all_else_goes_on(disk: Path) -> None:
    with serve(disk / "entrepot", disk_reserve=RESERVE) as api:
        pushed(api, "team/app", "v1")
        pushed(api, "team/app", "v2")
        statuses = []
        while 507 not in statuses:
            blob = random_blob(4 * MIB)
            digest = Digest.of(blob)
            answer = api.admin.post("/v2/team/app/blobs/uploads/", params={"digest": digest}, content=blob)
            statuses.append(answer.status_code)
        assert set(statuses) == {201, 507}
        assert "no storage space left" in answer.text
        assert free(disk) >= RESERVE
        assert not list((disk / "entrepot/blobs/staging").iterdir())

        assert anonymous_pull(api, "team/app", "v1") == 200
        assert api.admin.get("/v2/").status_code == 200
        assert api.admin.delete("/v2/team/app/manifests/v2").status_code == 202
        report = api.catalog.maintenance.sweep(grace=0)
        assert report.freed_bytes > 4 * MIB
        list(api.catalog.maintenance.steps(keep_snapshots=0, grace=0))
        pushed(api, "team/app", "v3")


def test_a_session_that_finds_no_room_is_as_long_as_it_was(disk: Path) -> None:
    with serve(disk / "entrepot", disk_reserve=RESERVE) as api:
        location = api.open_upload("team/app")
        assert api.admin.patch(location, content=b"first").status_code == 202
        fill(disk, leave=RESERVE)
        refused = api.admin.patch(location, content=random_blob(MIB))
        assert (refused.status_code, codes(refused)) == (507, ["UNKNOWN"])
        assert api.admin.get(location).headers["range"] == "0-4"
        (disk / "of-others").unlink()
        digest = Digest.of(b"first")
        assert api.admin.put(location, params={"digest": digest}).status_code == 201


def test_a_registry_starts_on_a_disk_without_a_free_byte_and_serves_and_deletes(disk: Path) -> None:
    home = disk / "entrepot"
    with serve(home, disk_reserve=RESERVE) as api:
        pushed(api, "team/app", "v1")
        pushed(api, "team/app", "v2")
    assert (home / "catalog/ballast").stat().st_size == BALLAST
    fill(disk)
    assert free(disk) < 64 * 1024
    with serve(home, disk_reserve=RESERVE) as api:
        assert not (home / "catalog/ballast").exists()
        assert anonymous_pull(api, "team/app", "v1") == 200
        assert api.admin.post("/v2/team/app/blobs/uploads/").status_code == 507
        assert api.admin.delete("/v2/team/app/manifests/v2").status_code == 202
        api.catalog.maintenance.sweep(grace=0)
        (disk / "of-others").unlink()
    with serve(home, disk_reserve=RESERVE) as api:
        assert (home / "catalog/ballast").stat().st_size == BALLAST
        pushed(api, "team/app", "v3")


def test_pulls_write_nothing_when_the_disk_fills_under_a_running_registry(disk: Path) -> None:
    with serve(disk / "entrepot", disk_reserve=RESERVE) as api:
        pushed(api, "team/app", "v1")
        fill(disk)
        for _ in range(3):
            assert anonymous_pull(api, "team/app", "v1") == 200
        said = [api.admin.delete("/v2/team/app/manifests/v1").status_code for _ in range(2)]
        assert said[-1] in (202, 404), said  # at the latest once the ballast is gone
        assert said[0] in (202, 507)


def test_the_reserve_of_a_disk() -> None:
    assert reserve_of(-1, 100 * 1024 * MIB) == MAX_RESERVE
    assert reserve_of(-1, 1024 * MIB) == 1024 * MIB // 20
    assert reserve_of(0, 1024 * MIB) == 0
    assert reserve_of(5, 1024 * MIB) == 5
    assert read_settings(home=Path("/nowhere")).disk_reserve == -1


def test_room_that_is_not_there_is_told_with_what_frees_some(tmp_path: Path) -> None:
    room = Room((tmp_path,), 2**62, tmp_path / "ballast")
    with pytest.raises(StorageFull, match="entrepot gc"):
        room.check(1)
    room.take_on()
    assert not list(tmp_path.glob("ballast*"))
