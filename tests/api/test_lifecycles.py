"""Warnings of the end of content's life as clients get them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from catalog.lifecycle.published import END_OF_LIFE, LIFECYCLE_TYPE
from catalog.lifecycle.rules import LifecycleRule
from oci import mediatypes
from oci.digest import Digest
from tests.api.conftest import Api, codes, describe

NOW = datetime.now(UTC)
PAST = datetime(2026, 1, 31, tzinfo=UTC)


def put(api: Api, name: str, tag: str = "", **fields: object) -> None:
    api.catalog.lifecycles.put(LifecycleRule(name, tag, "test", NOW, **fields))  # type: ignore[arg-type]


def test_pulls_of_what_is_past_its_end_are_warned(api: Api, name: str, push_simple: Callable[..., Digest]) -> None:
    old, new = push_simple("v1"), push_simple("v2")
    put(api, name, "v1", end_of_life=PAST, successor=f"{name}:v2", message='é "quoted" \\ text\r\nSet-Cookie: a=b')
    expected = (
        f'299 - "{name}:v1 reached its end of life on 2026-01-31; use {name}:v2; '
        '? \\"quoted\\" \\\\ text??Set-Cookie: a=b"'
    )
    for method in ("GET", "HEAD"):
        for reference in ("v1", old):
            answer = api.anybody.request(method, f"/v2/{name}/manifests/{reference}")
            assert (answer.status_code, answer.headers["warning"]) == (200, expected)
            assert "set-cookie" not in answer.headers
        assert "warning" not in api.anybody.request(method, f"/v2/{name}/manifests/v2").headers
    again = api.anybody.get(f"/v2/{name}/manifests/v1", headers={"if-none-match": f'"{old}"'})
    assert (again.status_code, again.headers["warning"]) == (304, expected)
    assert "warning" not in api.anybody.get(f"/v2/{name}/manifests/{new}").headers
    api.catalog.lifecycles.delete(name, "v1", actor="test", now=NOW)
    assert "warning" not in api.anybody.get(f"/v2/{name}/manifests/v1").headers


def test_pulls_after_the_end_are_refused_where_a_rule_says_so(
    api: Api, name: str, push_simple: Callable[..., Digest]
) -> None:
    old = push_simple("v1")
    push_simple("v2")
    put(api, name, "v1", end_of_life=NOW + timedelta(days=1), refuse=True)
    assert api.anybody.get(f"/v2/{name}/manifests/v1").status_code == 200
    put(api, name, "v1", end_of_life=NOW, refuse=True)
    for reference in ("v1", old):
        answer = api.anybody.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
        assert "reached its end of life" in answer.text
    assert api.anybody.get(f"/v2/{name}/tags/list").json()["tags"] == ["v2"]


def test_dates_that_vendors_publish_are_heeded_where_a_rule_says_so(
    api: Api, name: str, push_simple: Callable[..., Digest]
) -> None:
    subject, labelled = push_simple("v1"), push_simple("v2", annotations={END_OF_LIFE: "2026-02-01"})
    size = len(api.anybody.get(f"/v2/{name}/manifests/v1").content)
    for date in ("soon", "2026-01-31T00:00:00Z"):
        push_simple(
            date[:4],
            artifactType=LIFECYCLE_TYPE,
            subject=describe(subject, size, mediatypes.OCI_MANIFEST),
            annotations={END_OF_LIFE: date},
        )
    assert "warning" not in api.anybody.get(f"/v2/{name}/manifests/v1").headers
    put(api, name, published=True)
    warnings = [api.anybody.get(f"/v2/{name}/manifests/{one}").headers.get("warning") for one in (subject, labelled)]
    assert warnings == [f'299 - "{name} reached its end of life on 2026-0{date}"' for date in ("1-31", "2-01")]
