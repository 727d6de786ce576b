"""Quotas as clients meet them: refused at the start of an upload and at the manifest, warned before that."""

from datetime import UTC, datetime

import pytest

from catalog.quotas.quotas import Quota
from tests.api.conftest import Api, codes, random_blob, simple_manifest


@pytest.fixture
def api(own_api: Api) -> Api:
    return own_api


def test_an_upload_that_does_not_fit_is_refused_when_it_starts(api: Api) -> None:
    api.catalog.quotas.put(Quota("team/**", max_bytes=10_000), actor="test")
    path = "/v2/team/app/blobs/uploads/"
    data = random_blob(20_000)
    answer = api.admin.post(path, params={"digest": "sha256:" + "0" * 64}, content=data)
    assert answer.status_code == 403
    assert codes(answer) == ["DENIED"]
    assert "team/** may hold 10000 bytes: 0 are used, and 20000 more do not fit" in answer.text
    location = api.open_upload("team/app")
    assert api.admin.patch(location, content=data[:6_000]).status_code == 202
    assert api.admin.patch(location, content=data[:6_000]).status_code == 403  # with what has come already
    other = api.open_upload("team/other")
    assert api.admin.patch(other, content=data[:6_000]).status_code == 403  # and with what comes beside it
    assert api.admin.delete(location).status_code == 204
    assert api.admin.patch(other, content=data[:6_000]).status_code == 202
    assert api.admin.post("/v2/free/app/blobs/uploads/").status_code == 202


def test_tags_are_refused_with_the_manifest_and_warned_of_before(api: Api) -> None:
    api.catalog.quotas.put(Quota("team/*", max_tags=3, warn_tags=1), actor="test")
    raw = simple_manifest(api, "team/app")
    answers = [api.put_manifest("team/app", f"t{number}", raw) for number in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 403]
    assert "warning" not in answers[0].headers
    assert answers[1].headers["warning"].startswith('299 - "team/* holds 2 tags; above 1')
    assert codes(answers[3]) == ["DENIED"]
    api.catalog.events.flush(lambda: datetime.now(UTC))
    assert len(api.catalog.events.latest(action="exceed-soft-quota")) == 1
    assert api.admin.delete("/v2/team/app/manifests/t0").status_code == 202
    assert api.put_manifest("team/app", "t3", raw).status_code == 201


def test_rules_of_retention_by_http(api: Api) -> None:
    wanted = {"name": "few", "pattern": "team/**", "newest": 3, "untagged_after": "30d"}
    assert api.anybody.get("/api/v1/retention").status_code == 401
    made = api.admin.put("/api/v1/retention/few", json=wanted)
    assert made.status_code == 200, made.text
    assert made.json().items() >= wanted.items()
    assert api.admin.put("/api/v1/retention/other", json=wanted).status_code == 400
    assert api.admin.put("/api/v1/retention/few", json={**wanted, "untagged_after": "soon"}).status_code == 400
    assert [rule["name"] for rule in api.admin.get("/api/v1/retention").json()] == ["few"]
    assert api.admin.delete("/api/v1/retention/few").status_code == 204
    assert api.admin.delete("/api/v1/retention/few").status_code == 404


def test_quotas_by_http(api: Api) -> None:
    wanted = {"pattern": "team/**", "max_bytes": 10**9, "warn_tags": 5}
    assert api.anybody.put("/api/v1/quotas", json=wanted).status_code == 401
    made = api.admin.put("/api/v1/quotas", json=wanted)
    assert made.status_code == 200, made.text
    assert made.json() == {**wanted, "max_tags": None, "warn_bytes": None, "used_bytes": 0, "used_tags": 0}
    raw = simple_manifest(api, "team/app")
    assert api.put_manifest("team/app", "v1", raw).status_code == 201
    assert api.admin.get("/api/v1/quotas").json()[0]["used_tags"] == 1
    assert api.admin.put("/api/v1/quotas", json={"pattern": "team/**"}).status_code == 400
    assert api.admin.delete("/api/v1/quotas", params={"pattern": "team/**"}).status_code == 204
    assert api.admin.delete("/api/v1/quotas", params={"pattern": "team/**"}).status_code == 404
    longest = f"re:{'a' * 1000}"
    assert api.admin.put("/api/v1/quotas", json={"pattern": longest, "max_tags": 1}).status_code == 200
    assert api.admin.delete("/api/v1/quotas", params={"pattern": longest}).status_code == 204
    assert api.admin.get("/api/v1/quotas").json() == []
