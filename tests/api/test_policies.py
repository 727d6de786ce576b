"""Trust policies by HTTP: administrators set them, and whoever may pull is told what they say, on both engines."""

from pathlib import Path

import pytest

from catalog.access.store import ADMINISTRATOR
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import serve_on
from tests.trust import Key
from tests.trust_vectors import policy_of

NAME = "team/app"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_from_a_policy_to_its_explanation(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with serve_on(engine, request, tmp_path / "entrepot") as api:
        document = policy_of({"release": Key().entry})
        assert api.anybody.put("/api/v1/policies/release", json=document).status_code == 401
        raw, kind = b'{"version": 1, "default": "deny", "default": "allow"}', {"Content-Type": "application/json"}
        twice = api.admin.put("/api/v1/policies/release", content=raw, headers=kind)
        assert (twice.status_code, "twice in one object" in twice.text) == (400, True)
        unknown = api.admin.put("/api/v1/policies/release", json={**document, "rulez": []})
        assert (unknown.status_code, "rulez: unknown key" in unknown.text) == (400, True)
        assert api.admin.put("/api/v1/policies/Release", json=document).status_code == 400
        made = api.admin.put("/api/v1/policies/release", json=document)
        assert made.status_code == 200, made.text
        assert api.admin.get("/api/v1/policies").json()[0]["digest"] == made.json()["digest"]
        assert api.admin.get("/api/v1/policies/release").json() == made.json()

        store = MemoryStore()
        api.push(NAME, "v1", store, pack_image(store, [{"file": "one"}]))
        told = api.admin.get("/api/v1/verify", params={"reference": f"{NAME}:v1"})
        assert told.status_code == 200, told.text
        assert told.json()["allowed"] is False
        (decision,) = told.json()["decisions"]
        assert (decision["outcome"], decision["policy"]["name"]) == ("not-signed", "release")
        assert [one["step"] for one in decision["steps"]] == ["1", "2", "4.1", "5", "6"]
        assert api.admin.get("/api/v1/verify", params={"reference": f"{NAME}:absent"}).status_code == 404
        assert api.admin.get("/api/v1/verify", params={"reference": f"{NAME}:v1", "policy": "no"}).status_code == 404
        assert api.anybody.get("/api/v1/verify", params={"reference": f"{NAME}:v1"}).status_code == 401

        other = policy_of({"secret-team": Key().entry}, rule={"paths": ["other/**"]})
        assert api.admin.put("/api/v1/policies/other", json=other).status_code == 200
        scopes = [{"actions": ["pull"], "patterns": [NAME]}]
        token = api.admin.post(f"/api/v1/users/{ADMINISTRATOR}/tokens", json={"scopes": scopes}).json()
        with api.client((ADMINISTRATOR, token["secret"])) as puller:
            for name, status in (("release", 200), ("", 200), ("other", 404), ("no", 404)):
                got = puller.get("/api/v1/verify", params={"reference": f"{NAME}:v1", "policy": name})
                assert (got.status_code, "secret-team" in got.text) == (status, False), got.text
        named = api.admin.get("/api/v1/verify", params={"reference": f"{NAME}:v1", "policy": "other"})
        assert named.status_code == 200, named.text

        assert api.admin.delete("/api/v1/policies/release").status_code == 204
        assert api.admin.delete("/api/v1/policies/release").status_code == 404
        told = api.admin.get("/api/v1/verify", params={"reference": f"{NAME}:v1"})
        assert told.json()["decisions"] == []
