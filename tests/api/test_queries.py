"""Questions in SQL over HTTP: who may ask, in which forms answers come, and what happens to those that take too much."""

import csv
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pyarrow.ipc
import pyarrow.parquet
import pytest

from oci.digest import Digest
from oci.errors import InvalidInput
from registry_api.http.errors import NotAcceptable
from registry_api.management.queries import QueryIn, choose_format, read_question
from tests.api.conftest import Api, codes, serve
from tests.servers import wait_until

SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry that answers one question at a time, and small answers only."""
    with serve(
        tmp_path_factory.mktemp("queries") / "entrepot", query_concurrency=1, query_max_rows=1000, query_timeout=30
    ) as running:
        yield running


def ask(api: Api, sql: str, **fields: object) -> httpx.Response:
    return api.admin.post("/api/v1/query", json={"sql": sql, **fields})


def test_every_form(api: Api, name: str, push_simple: Callable[..., Digest]) -> None:
    digest = push_simple("v1")
    sql = f"SELECT tag, digest FROM tags WHERE repository = '{name}'"
    answer = ask(api, sql)
    assert answer.json() == [{"tag": "v1", "digest": digest}]
    assert (answer.headers["content-type"], answer.headers["entrepot-rows"]) == ("application/json", "1")
    assert int(answer.headers["content-length"]) == len(answer.content)
    rows = list(csv.DictReader(io.StringIO(ask(api, sql, format="csv").text)))
    assert rows == [{"tag": "v1", "digest": digest}]
    parquet = api.admin.get(
        "/api/v1/query", params={"sql": sql}, headers={"Accept": "text/html, application/vnd.apache.parquet"}
    )
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pyarrow.parquet.read_table(io.BytesIO(parquet.content)).to_pylist() == rows
    arrow = ask(api, sql, format="arrow")
    assert pyarrow.ipc.open_stream(arrow.content).read_all().to_pylist() == rows
    assert ask(api, "SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a", format="ndjson").text == '{"a": 1}\n{"a": 2}\n'
    assert api.admin.get("/api/v1/query", params={"sql": sql}, headers={"Accept": "text/html"}).status_code == 406


def test_named_with_parameters_as_of_a_version(api: Api, name: str, push_simple: Callable[..., Digest]) -> None:
    first = push_simple("v1")
    push_simple("v2")
    listed = {one["name"]: one for one in api.admin.get("/api/v1/questions").json()}
    assert [one["name"] for one in listed["where-is"]["parameters"]] == ["digest"]
    found = api.admin.post("/api/v1/query", json={"named": "where-is", "parameters": {"digest": first}})
    assert [row["repository"] for row in found.json()] == [name]
    assert [row["tag"] for row in ask(api, "SELECT tag FROM tags", version=f"{name}@1").json()] == ["v1"]
    assert ask(api, "SELECT tag FROM tags", at="2001-01-01").json() == []
    assert ask(api, "SELECT $a + 1 AS b", parameters={"a": 1}).json() == [{"b": 2}]


def test_administrators_alone_may_ask(api: Api) -> None:
    for path in ("/api/v1/query?sql=SELECT+1", "/api/v1/questions"):
        assert api.anybody.get(path).status_code == 401
    made = api.admin.post("/api/v1/users", json={"name": "asker", "password": "correct horse"})
    assert made.status_code == 201
    with api.client(auth=("asker", "correct horse")) as asker:
        answer = asker.post("/api/v1/query", json={"sql": "SELECT 1"})
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])


def test_what_is_no_question_and_what_has_too_many_rows_is_told(api: Api) -> None:
    for body in (
        {"sql": "DELETE FROM lake.records"},
        {"sql": "SELECT * FROM read_text('/etc/passwd')"},
        {"sql": "SELECT * FROM range(2000)", "max_rows": 10_000},
        {"sql": "SELECT * FROM range(20)", "max_rows": 10},
        {"sql": SLOW, "timeout": 0.5},
        {"sql": "SELECT 1", "named": "usage"},
        {"named": "nonsense"},
        {"sql": "SELECT 1", "at": "yesterday"},
        {"sql": "SELECT 1", "version": "team/app"},
        {"sql": "SELECT 1", "unheard": 1},
    ):
        answer = api.admin.post("/api/v1/query", json=body)
        assert answer.status_code == 400, body
        assert codes(answer)


def test_one_too_many_waits_and_one_whose_asker_has_gone_is_stopped(api: Api) -> None:
    def ask_and_leave() -> None:
        with api.client(auth=("admin", api.password)) as client, suppress(httpx.ReadTimeout):
            while client.post("/api/v1/query", json={"sql": SLOW}, timeout=4).status_code == 429:
                pass  # one of the questions below had the only slot
            pytest.fail("the slow question was answered")

    thread = threading.Thread(target=ask_and_leave)
    thread.start()
    wait_until(lambda: api.busy() > 0, 10, "the question is asked")
    refused: list[httpx.Response] = []

    def is_refused() -> bool:
        refused.append(ask(api, "SELECT 1"))
        return refused[-1].status_code == 429

    wait_until(is_refused, 10, "another question is refused")
    assert (codes(refused[-1]), refused[-1].headers["retry-after"]) == (["TOOMANYREQUESTS"], "2")
    assert api.anybody.get("/healthz").status_code == 200
    thread.join()
    wait_until(lambda: ask(api, "SELECT 1 AS a").status_code == 200, 15, "the process of the first is ended")


def test_questions_are_audited(api: Api) -> None:
    ask(api, "SELECT 42 AS answer")
    ask(api, "DELETE FROM tags")

    def events() -> list[dict[str, object]]:
        found: list[dict[str, object]] = api.admin.get("/api/v1/events", params={"action": "query"}).json()
        return [
            one for one in found if "42 AS answer" in str(one["detail"]) or "DELETE FROM tags" in str(one["detail"])
        ]

    wait_until(lambda: len(events()) >= 2, 10, "the events are written")
    refused, done = events()[:2]
    assert (refused["outcome"], done["outcome"], done["actor"]) == ("refused", "done", "admin")
    assert done["detail"]["rows"] == 1  # type: ignore[index]


def test_a_registry_that_takes_no_changes_answers_questions(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(tmp_path_factory.mktemp("read-only") / "entrepot", read_only=True) as api:
        assert ask(api, "SELECT count(*) AS n FROM tags").json() == [{"n": 0}]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("text/*;q=0.5, application/x-ndjson", "ndjson"),
        ("text/csv;q=0.1, application/vnd.apache.arrow.stream;q=0.9", "arrow"),
        ("application/json;q=0, text/csv", "csv"),
        ("text/html, */*;q=0.1", "json"),
    ],
)
def test_accept(accept: str, form: str) -> None:
    assert choose_format(accept) == form


def test_accept_of_nothing_that_we_have() -> None:
    with pytest.raises(NotAcceptable):
        choose_format("text/html")
    with pytest.raises(InvalidInput):
        read_question(QueryIn.model_validate({}))
