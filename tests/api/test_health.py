"""Whether the process lives, whether it can serve, and what FastAPI offers beside the protocol."""

import shutil

import httpx
import pytest

from tests.api.conftest import Api


def test_healthz_is_200(api: Api) -> None:
    answer = api.anybody.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": []})


def test_readyz_is_200_when_it_can_serve(api: Api) -> None:
    answer = api.anybody.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": []})


@pytest.mark.local_blobs("the folder is removed")
def test_readyz_is_503_with_reasons_when_the_storage_cannot_be_written(own_api: Api) -> None:
    folder = own_api.catalog.settings.storage_folder
    assert folder is not None
    shutil.rmtree(folder)
    answer = own_api.anybody.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    assert answer.json()["reasons"]
    assert str(folder) not in answer.text
    assert own_api.anybody.get("/healthz").status_code == 200


def test_the_openapi_document_is_there_and_no_page_loads_scripts_from_elsewhere(api: Api) -> None:
    document = api.anybody.get("/openapi.json").json()
    assert {"/healthz", "/readyz"} <= document["paths"].keys()
    for path in ("/docs", "/redoc"):
        assert api.anybody.get(path).status_code == 404


def test_what_is_not_the_protocol_is_left_to_the_rest(api: Api) -> None:
    for path in ("/v1/", "/v2x", "/"):
        answer = httpx.get(api.url + path, trust_env=False)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["code"] == "UNSUPPORTED"
