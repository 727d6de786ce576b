"""One table of errors: complete, and with every code of the specification."""

import json
from collections.abc import Iterator

import pytest

import registry_api.app  # noqa: F401  # all classes of errors are there then
from oci import errors
from oci.errors import EntrepotError
from registry_api.http.errors import error_response, internal_error_response, public_message, row_of
from registry_api.http.messages import WholeResponse

SPECIFIED = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DENIED": 403,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "TOOMANYREQUESTS": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED": 405,
}
"""The codes of distribution-spec 1.1, "Error Codes", and the status each is usually sent with."""


def error_classes() -> Iterator[type[EntrepotError]]:
    """Yield every class of the error tree."""
    waiting: list[type[EntrepotError]] = [EntrepotError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        yield kind


SERVED = ("oci.", "catalog.", "registry_api.")
ALL = sorted(
    (kind for kind in error_classes() if kind.__module__.startswith(SERVED)), key=lambda kind: kind.__name__
)  # errors of flows, which other tests may have imported, are never a response


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_class_has_a_status_and_a_code(kind: type[EntrepotError]) -> None:
    status, code = row_of(kind)
    assert 400 <= status < 600
    assert code == kind.code
    if kind.side == "request":
        assert status < 500
    if kind.side == "local":
        assert status >= 500


@pytest.mark.parametrize(("code", "status"), SPECIFIED.items())
def test_every_code_of_the_specification_can_be_sent(code: str, status: int) -> None:
    assert status in {row_of(kind).status for kind in ALL if row_of(kind).code == code}


def test_codes_that_are_not_the_specification_s_are_few_and_known() -> None:
    others = {row_of(kind).code for kind in ALL} - SPECIFIED.keys()
    assert others == {"UNKNOWN", "TAG_INVALID", "PAGINATION_NUMBER_INVALID", "SIGNATURE_INVALID"}


def _document(answer: WholeResponse) -> dict[str, object]:
    headers = dict(answer.headers)
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"content-type"].startswith(b"application/json")
    (error,) = json.loads(answer.body)["errors"]
    assert error.keys() == {"code", "message", "detail"}
    return dict(error)


def test_an_answer_has_the_form_of_the_specification() -> None:
    answer = error_response(errors.ManifestUnknown("tag 'x' is not in team/app", detail={"tag": "x"}))
    assert answer.status == 404
    assert _document(answer) == {
        "code": "MANIFEST_UNKNOWN",
        "message": "tag 'x' is not in team/app",
        "detail": {"tag": "x"},
    }


def test_a_429_carries_the_time_to_wait() -> None:
    limited = error_response(errors.RemoteRateLimited("slow down", registry="r", retry_after=2.4))
    assert dict(limited.headers)[b"retry-after"] == b"2"


OURS = [kind for kind in ALL if issubclass(kind, errors.LocalError)]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_our_own_failures_tell_nothing_of_ours(kind: type[EntrepotError]) -> None:
    error = kind("/secret/path: broken", detail={"path": "/secret/path"})
    document = _document(error_response(error, reference="r1"))
    assert "secret" not in json.dumps(document)
    assert "r1" in str(document["message"])
    assert "secret" not in public_message(error)


def test_the_unforeseen_is_a_500_with_a_reference() -> None:
    answer = internal_error_response("r2")
    assert answer.status == 500
    assert "r2" in str(_document(answer)["message"])
