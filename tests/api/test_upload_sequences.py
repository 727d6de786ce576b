"""Any sequence of requests to an upload session, held against a model of what it must have come to."""

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from oci.digest import Digest
from tests.api.conftest import Api, serve_on

pieces = st.binary(min_size=1, max_size=2000)


class Sessions(RuleBasedStateMachine):
    """One session at a time; `data` is what it holds, None when there is none."""

    api: Api
    name = "team/model"

    def __init__(self) -> None:
        super().__init__()
        self.location = ""
        self.data: bytes | None = None
        self.salt = secrets.token_bytes(8)  # so that no example finds the blobs of another
        self.held: set[Digest] = set()

    @precondition(lambda self: self.data is None)
    @rule()
    def begin(self) -> None:
        self.location, self.data = self.api.open_upload(self.name), b""

    @precondition(lambda self: self.data is not None)
    @rule(piece=pieces)
    def append(self, piece: bytes) -> None:
        assert self.data is not None
        self.data += self.salt + piece
        answer = self.api.admin.patch(self.location, content=self.salt + piece)
        assert (answer.status_code, answer.headers["range"]) == (202, f"0-{len(self.data) - 1}")

    @precondition(lambda self: self.data is not None)
    @rule(piece=pieces, shift=st.integers(-50, 50), wrong_length=st.booleans())
    def append_chunk(self, piece: bytes, shift: int, wrong_length: bool) -> None:
        assert self.data is not None
        start = max(len(self.data) + shift, 0)
        end = start + len(piece) - 1 + wrong_length
        answer = self.api.admin.patch(self.location, content=piece, headers={"Content-Range": f"{start}-{end}"})
        if start != len(self.data):
            assert answer.status_code == 416
        elif wrong_length:
            assert answer.status_code == 400
        else:
            self.data += piece
            assert answer.status_code == 202

    @precondition(lambda self: self.data is not None)
    @rule(rest=st.one_of(st.just(b""), pieces), algorithm=st.sampled_from(["sha256", "sha512"]))
    def close(self, rest: bytes, algorithm: str) -> None:
        assert self.data is not None
        whole = self.data + rest
        digest = Digest.of(whole, algorithm)
        answer = self.api.admin.put(self.location, params={"digest": digest}, content=rest)
        assert answer.status_code == 201
        assert self.api.admin.get(answer.headers["location"]).content == whole
        self.held.add(digest)
        self.data = None

    @precondition(lambda self: self.data is not None)
    @rule(rest=pieces)
    def close_with_a_wrong_digest(self, rest: bytes) -> None:
        assert self.data is not None
        whole = Digest.of(self.data + rest)
        answer = self.api.admin.put(self.location, params={"digest": Digest.of(secrets.token_bytes(9))}, content=rest)
        assert answer.status_code == 400
        if self.data and whole not in self.held:
            assert self.api.admin.head(f"/v2/{self.name}/blobs/{whole}").status_code == 404
        self.data = None

    @precondition(lambda self: self.data is not None)
    @rule()
    def close_with_a_malformed_digest(self) -> None:
        assert self.api.admin.put(self.location, params={"digest": "sha256:x"}).status_code == 400

    @precondition(lambda self: self.data is not None)
    @rule()
    def cancel(self) -> None:
        assert self.api.admin.delete(self.location).status_code == 204
        self.data = None

    @invariant()
    def the_session_says_what_it_holds(self) -> None:
        if not self.location:
            return
        answer = self.api.admin.get(self.location)
        if self.data is None:
            assert answer.status_code == 404
        else:
            assert (answer.status_code, answer.headers["range"]) == (204, f"0-{max(len(self.data) - 1, 0)}")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry whose sessions are files of one machine, and one whose sessions all replicas share."""
    with serve_on(request.param, request, tmp_path_factory.mktemp("registry") / "entrepot") as running:
        yield running


@pytest.fixture
def sessions(api: Api) -> type[Sessions]:
    return type("SessionsHere", (Sessions,), {"api": api})


def test_upload_sequences(sessions: type[Sessions]) -> None:
    rules = settings(
        max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(sessions, settings=rules)
