"""`/v2/`, logins, and what every answer and every error have in common."""

import httpx
import pytest

from tests.api.conftest import Api, codes

ABSENT = f"sha256:{'0' * 64}"


def test_base_answers_401_with_a_challenge_to_nobody(api: Api) -> None:
    answer = api.anybody.get("/v2/")
    assert answer.status_code == 401
    assert codes(answer) == ["UNAUTHORIZED"]
    assert answer.headers["www-authenticate"] == f'Bearer realm="{api.url}/token",service="entrepot"'


def test_base_answers_200_without_a_challenge_to_a_user(api: Api) -> None:
    answer = api.admin.get("/v2/")
    assert answer.status_code == 200
    assert "www-authenticate" not in answer.headers


def test_base_is_found_without_its_slash_too(api: Api) -> None:
    assert api.admin.get("/v2").status_code == 200


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/_catalog", "/v2/team/app/manifests/latest", f"/v2/team/app/blobs/{ABSENT}"]
)
@pytest.mark.parametrize("login", [("admin", "wrong"), ("nobody", "wrong"), ("admin", ""), ("", "wrong")])
def test_wrong_credentials_are_401_everywhere(api: Api, path: str, login: tuple[str, str]) -> None:
    answer = httpx.get(api.url + path, auth=login, trust_env=False)
    assert answer.status_code == 401
    assert codes(answer) == ["UNAUTHORIZED"]
    assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    "header", ["Bearer abc", "Bearer", "Bearer a.b.c", "Basic", "Basic !", "Basic YWRtaW4=", "Digest x", "Basic //79"]
)
def test_credentials_of_another_form_are_401(api: Api, header: str) -> None:
    answer = api.anybody.get("/v2/", headers={"Authorization": header})
    assert answer.status_code == 401
    assert codes(answer) == ["UNAUTHORIZED"]


def test_an_empty_login_is_nobody(api: Api) -> None:
    empty = {"Authorization": "Basic Og=="}
    assert api.anybody.get("/v2/", headers=empty).status_code == 401
    assert api.anybody.get("/v2/_catalog", headers=empty).status_code == 200
    assert api.anybody.post("/v2/team/app/blobs/uploads/", headers=empty).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("PATCH", f"/v2/team/app/blobs/uploads/{'0' * 32}"),
        ("PUT", f"/v2/team/app/blobs/uploads/{'0' * 32}?digest={ABSENT}"),
        ("GET", f"/v2/team/app/blobs/uploads/{'0' * 32}"),
        ("DELETE", f"/v2/team/app/blobs/uploads/{'0' * 32}"),
        ("PUT", "/v2/team/app/manifests/latest"),
        ("DELETE", "/v2/team/app/manifests/latest"),
    ],
)
def test_writing_without_a_login_is_401_with_a_challenge(api: Api, method: str, path: str) -> None:
    answer = api.anybody.request(method, path, content=b"{}" if method in {"PUT", "PATCH"} else None)
    assert answer.status_code == 401
    assert codes(answer) == ["UNAUTHORIZED"]
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_refused_body_does_not_spoil_the_connection(api: Api) -> None:
    """A client that sends a large body to a 401 can use its connection for the next request."""
    with api.connection() as sock:
        size = 3_000_000
        sock.sendall(f"POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        sock.sendall(b"x" * size)
        sock.sendall(b"GET /v2/team/app/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := sock.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 401 ")
    assert received.count(b"HTTP/1.1 401 ") == 2


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/", "GET, HEAD"),
        ("/v2/_catalog", "GET"),
        ("/v2/team/app/tags/list", "GET"),
        ("/v2/team/app/manifests/latest", "DELETE, GET, HEAD, PUT"),
        (f"/v2/team/app/blobs/{ABSENT}", "DELETE, GET, HEAD"),
        ("/v2/team/app/blobs/uploads/", "POST"),
        (f"/v2/team/app/blobs/uploads/{'0' * 32}", "DELETE, GET, PATCH, PUT"),
        (f"/v2/team/app/referrers/{ABSENT}", "GET"),
    ],
)
def test_another_method_is_405_with_the_allowed_ones(api: Api, path: str, allowed: str) -> None:
    answer = api.admin.request("OPTIONS", path)
    assert answer.status_code == 405
    assert codes(answer) == ["UNSUPPORTED"]
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/v2/team",
        "/v2/team/app",
        "/v2/team/app/tags",
        "/v2/team/app/manifests/",
        "/v2//manifests/latest",
        "/v2/manifests/latest",
    ],
)
def test_unknown_routes_answer_json_errors(api: Api, path: str) -> None:
    answer = api.anybody.get(path)
    assert answer.status_code == 404
    assert codes(answer) == ["UNSUPPORTED"]


@pytest.mark.parametrize("bad", ["Team/app", "team/-app", "team//app", "team/app.", "team/a___b", "t" * 256, "team/ä"])
@pytest.mark.parametrize("path", ["tags/list", "manifests/latest", f"blobs/{ABSENT}", f"referrers/{ABSENT}"])
def test_a_malformed_name_is_400_name_invalid(api: Api, bad: str, path: str) -> None:
    answer = api.anybody.get(f"/v2/{bad}/{path}")
    assert answer.status_code == 400
    assert codes(answer) == ["NAME_INVALID"]


@pytest.mark.parametrize("name", ["blobs", "team/manifests", "blobs/uploads", "tags/list", "referrers/manifests/blobs"])
def test_names_may_have_parts_like_our_paths(api: Api, name: str) -> None:
    blob = api.push_blob(name, name.encode())
    assert api.admin.get(f"/v2/{name}/blobs/{blob}").content == name.encode()
    location = api.open_upload(name)
    assert location.startswith(f"/v2/{name}/blobs/uploads/")
    assert api.admin.delete(location).status_code == 204


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/", 200),
        ("/v2/team/none/manifests/latest", 404),
        ("/v2/team/none/nothing", 404),
        ("/v2/Bad/manifests/latest", 400),
        (f"/v2/team/none/referrers/{ABSENT}", 200),
    ],
)
def test_every_answer_says_which_api_this_is(api: Api, path: str, status: int) -> None:
    answer = api.admin.get(path)
    assert answer.status_code == status
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/v2/team/none/manifests/latest", f"/v2/team/none/blobs/{ABSENT}", "/v2/Bad/blobs/x"])
def test_an_error_to_head_has_no_body(api: Api, path: str) -> None:
    with api.connection() as sock:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while part := sock.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 40")
    assert body == b""


def test_an_absurd_query_is_400(api: Api) -> None:
    answer = api.anybody.get("/v2/_catalog?" + "&".join(f"a{number}=1" for number in range(200)))
    assert answer.status_code == 400
    codes(answer)


def test_percent_encoded_digests_are_understood(api: Api, name: str) -> None:
    digest = api.push_blob(name, b"percent")
    answer = api.admin.get(f"/v2/{name}/blobs/{digest.replace(':', '%3A')}")
    assert answer.content == b"percent"
