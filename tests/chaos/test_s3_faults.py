"""Whatever the store does: no blob is acknowledged that is not whole, no wrong byte is served, and nobody waits for ever."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from catalog.blobs import ingest_queue, s3_store
from catalog.blobs.s3_store import S3Patience
from oci.digest import Digest
from oci.errors import EntrepotError
from tests.api.conftest import Api, codes, random_blob, serve
from tests.chaos.s3_faults import FaultyS3, S3Fault
from tests.postgresql import PostgresServer
from tests.replicas.pushes import push_small_image
from tests.servers import Children, start_s3, wait_until

NAME, UPLOADS = "team/app", "/v2/team/app/blobs/uploads/"
MIB = 1024 * 1024
BOUND = 15.0
"""Seconds within which each request is answered here, where the store's time limits are set short."""


@dataclass
class Stage:
    """A registry whose blobs and Parquet pass a faulty store."""

    api: Api
    faulty: FaultyS3

    def post(self, data: bytes) -> httpx.Response:
        """Push a blob by one request."""
        return self.api.admin.post(UPLOADS, params={"digest": Digest.of(data)}, content=data)

    def push_chunks(self, data: bytes, size: int) -> httpx.Response:
        """Push a blob in chunks; return the answer to the last request, or the first refusal."""
        location = self.api.open_upload(NAME)
        for start in range(0, len(data), size):
            answer = self.api.admin.patch(location, content=data[start : start + size])
            if answer.status_code != 202:
                return answer
        return self.api.admin.put(location, params={"digest": Digest.of(data)})

    def get(self, data: bytes) -> httpx.Response:
        return self.api.admin.get(f"/v2/{NAME}/blobs/{Digest.of(data)}")

    def object(self, data: bytes) -> Path:
        """Return the file that is the blob's object."""
        digest = Digest.of(data)
        return self.faulty.store.folder / "registry" / digest.algorithm / digest.encoded[:2] / digest.encoded

    def assert_whole(self, data: bytes) -> None:
        """What was acknowledged is whole in the bucket, and is served."""
        assert self.object(data).read_bytes() == data
        answer = self.get(data)
        assert (answer.status_code, answer.content == data) == (200, True)


@pytest.fixture(scope="module")
def stage(
    module_children: Children, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with FaultyS3(start_s3(module_children)) as faulty, pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_store, "QUICK", S3Patience(connect=1, read=1, tries=2))
        patch.setattr(s3_store, "PATIENT", S3Patience(connect=1, read=1.5, tries=2))
        patch.setattr(s3_store, "_PART", 5 * MIB)
        patch.setattr(ingest_queue, "_LATE", 0.2)
        for name, value in faulty.store.env.items():
            patch.setenv(name, value)
        catalog = {"catalog": postgres_server.new_database(), "catalog_password": PostgresServer.password}
        home = tmp_path_factory.mktemp("faulty") / "entrepot"
        with serve(home, storage_redirect=False, **catalog) as api:
            yield Stage(api, faulty)


def assert_come_again(answer: httpx.Response) -> None:
    """The answer says that another try may help."""
    assert (answer.status_code, codes(answer)) == (503, ["UNKNOWN"])
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "blobs" not in answer.json()["errors"][0]["message"]


ENDING = [
    S3Fault("PUT", "status", times=1, status=500, code="InternalError"),
    S3Fault("PUT", "status", times=1),
    S3Fault("PUT", "cut request", times=1),
    S3Fault("PUT", "lose", times=1),
    S3Fault("PUT", "slow", times=1, seconds=0.5),
    S3Fault("HEAD", "status", times=1),
]
LASTING = [
    S3Fault("PUT", "status", status=500, code="InternalError"),
    S3Fault("PUT", "status"),
    S3Fault("PUT", "status", status=403, code="AccessDenied"),
    S3Fault("PUT", "cut request"),
    S3Fault("PUT", "lose"),
    S3Fault("PUT", "flip"),
    S3Fault("HEAD", "status"),
    S3Fault("PUT", "hang"),
    S3Fault("HEAD", "hang"),
]


def of(fault: S3Fault) -> str:
    return f"{fault.method} {fault.act} {fault.status} {fault.times if fault.times < 9 else 'lasting'}"


@pytest.mark.parametrize("fault", ENDING, ids=of)
def test_a_push_outlasts_a_fault_that_ends(stage: Stage, fault: S3Fault) -> None:
    data = random_blob(50_000)
    with stage.faulty.failing(fault):
        answer = stage.post(data)
    assert answer.status_code == 201, answer.text
    assert fault.met >= fault.times
    stage.assert_whole(data)


@pytest.mark.parametrize("fault", LASTING, ids=of)
def test_no_push_is_acknowledged_by_a_store_that_does_not_keep_it(stage: Stage, fault: S3Fault) -> None:
    data = random_blob(50_000)
    begun = time.monotonic()
    with stage.faulty.failing(fault):
        answer = stage.post(data)
        assert time.monotonic() - begun < BOUND
        assert fault.met
        assert_come_again(answer)
    assert stage.get(data).status_code == 404
    assert stage.post(data).status_code == 201
    stage.assert_whole(data)


PARTS = [
    S3Fault("POST", "error in 200", "uploadId", times=1, code="InternalError"),
    S3Fault("PUT", "error in 200", "partNumber=2", times=1, code="InternalError"),
    S3Fault("PUT", "cut request", "partNumber=2", times=1),
]
PARTS_LASTING = [
    S3Fault("POST", "error in 200", "uploadId", code="InternalError"),
    S3Fault("PUT", "lose", "partNumber=2"),
    S3Fault("PUT", "cut request", "partNumber=2"),
    S3Fault("POST", "status", "uploads"),
]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["sent in parts", "joined of chunks"])
@pytest.mark.parametrize("fault", [*PARTS, *PARTS_LASTING], ids=of)
def test_a_blob_in_parts_is_whole_or_refused(stage: Stage, fault: S3Fault, *, is_chunked: bool) -> None:
    data = random_blob(6 * MIB)
    push = partial(stage.push_chunks, data, 5 * MIB) if is_chunked else partial(stage.post, data)
    fault = replace(fault, met=0, over=threading.Event())
    is_ending = fault.times < 9 and not (fault.act == "error in 200" and fault.method == "PUT" and not is_chunked)
    with stage.faulty.failing(fault):
        answer = push()
        assert fault.met
    if is_ending:
        assert answer.status_code == 201, answer.text
    elif answer.status_code != 201:
        assert_come_again(answer)
        assert stage.get(data).status_code == 404
        assert push().status_code == 201
    stage.assert_whole(data)


def test_a_chunk_that_the_store_refuses_can_be_sent_again(stage: Stage) -> None:
    data = random_blob(90_000)
    location = stage.api.open_upload(NAME)
    assert stage.api.admin.patch(location, content=data[:50_000]).status_code == 202
    with stage.faulty.failing(S3Fault("PUT", "cut request", "/uploads/")):
        assert_come_again(stage.api.admin.patch(location, content=data[50_000:]))
    assert stage.api.admin.get(location).headers["range"] == "0-49999"
    assert stage.api.admin.patch(location, content=data[50_000:]).status_code == 202
    assert stage.api.admin.put(location, params={"digest": Digest.of(data)}).status_code == 201
    stage.assert_whole(data)


@pytest.mark.parametrize(
    "fault",
    [
        S3Fault("GET", "cut response", times=2, after=100_000),
        S3Fault("GET", "status", times=1),
        S3Fault("GET", "status", times=1, status=500, code="InternalError"),
        S3Fault("GET", "slow", times=1, seconds=0.5),
        S3Fault("GET", "hang", times=1),
    ],
    ids=of,
)
def test_a_pull_outlasts_a_fault_that_ends(stage: Stage, fault: S3Fault) -> None:
    data = random_blob(900_000)
    assert stage.post(data).status_code == 201
    with stage.faulty.failing(fault):
        answer = stage.get(data)
    assert fault.met == fault.times
    assert (answer.status_code, answer.content == data) == (200, True)


@pytest.mark.parametrize(
    "fault", [S3Fault("GET", "status"), S3Fault("GET", "hang"), S3Fault("GET", "cut request")], ids=of
)
def test_a_pull_that_cannot_be_answered_says_so_in_time(stage: Stage, fault: S3Fault) -> None:
    data = random_blob(900_000)
    assert stage.post(data).status_code == 201
    begun = time.monotonic()
    with stage.faulty.failing(fault):
        assert_come_again(stage.get(data))
    assert time.monotonic() - begun < BOUND
    stage.assert_whole(data)


def test_a_body_that_the_store_never_ends_is_never_whole_for_the_client(stage: Stage) -> None:
    data = random_blob(900_000)
    assert stage.post(data).status_code == 201
    begun = time.monotonic()
    with (
        stage.faulty.failing(S3Fault("GET", "cut response", after=100_000)) as fault,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        stage.get(data)
    assert fault.met
    assert time.monotonic() - begun < BOUND
    stage.assert_whole(data)


def test_a_blob_that_the_store_does_not_answer_for_holds_up_no_other(stage: Stage) -> None:
    first, answers = random_blob(), []
    with stage.faulty.failing(S3Fault("HEAD", "hang", Digest.of(first).encoded)) as fault:
        pushing = threading.Thread(target=lambda: answers.append(stage.post(first)))
        pushing.start()
        wait_until(lambda: fault.met > 0, 10, "the store is asked for the first blob")
        others = [random_blob() for _ in range(3)]
        assert [stage.post(other).status_code for other in others] == [201] * 3
        assert pushing.is_alive()
        pushing.join()
    assert_come_again(answers[0])
    for other in others:
        stage.assert_whole(other)


def test_pushes_that_the_store_does_not_answer_hold_up_no_pulls(stage: Stage) -> None:
    data = random_blob(300_000)
    assert stage.post(data).status_code == 201
    with stage.faulty.failing(S3Fault("PUT", "hang")) as fault, ThreadPoolExecutor(20) as pool:
        pushes = [pool.submit(stage.post, random_blob()) for _ in range(20)]
        wait_until(lambda: fault.met >= 16, 10, "as many pushes as there are threads hang")
        stage.assert_whole(data)
        assert not any(one.done() for one in pushes)
        fault.over.set()
        assert {one.result().status_code for one in pushes} <= {201, 503}


def test_pushes_go_on_while_no_parquet_can_be_written_or_read(stage: Stage) -> None:
    catalog = stage.api.catalog
    first = push_small_image(stage.api.admin, NAME, "first", f"first {time.time()}")
    with stage.faulty.failing(S3Fault("PUT", "status", "/lake/")) as fault:
        with pytest.raises(EntrepotError) as error:
            list(catalog.maintenance._compaction.flush())
        assert fault.met
        assert error.value.retryable
        second = push_small_image(stage.api.admin, NAME, "second", f"second {time.time()}")
    assert list(catalog.maintenance._compaction.flush())
    for tag, digest in (("first", first), ("second", second)):
        assert stage.api.admin.get(f"/v2/{NAME}/manifests/{tag}").headers["docker-content-digest"] == digest
    with stage.faulty.failing(S3Fault("GET", "status", "/lake/")):
        push_small_image(stage.api.admin, NAME, "third", f"third {time.time()}")
