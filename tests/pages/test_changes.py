"""Buttons that change something: rights, plans that are bound to what was shown, forms of others, and what is recorded."""

import threading
import zlib
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.versions.pins import Pin
from flows.curate.restore_flow import prepare_restore
from flows.curate.restore_request import RestoreRequest
from flows.runs.operation import perform
from oci.memory import MemoryStore
from tests.pages.conftest import Shown, form_token_of
from tests.pages.content import Filler, make_image
from tests.pages.forms import Confirmation, open_plan

ALPINE, SERVER = "library/alpine", "team/server"
FEW = ("bob", "dave")
"""Accounts that may pull, and push, and nothing else."""


@pytest.fixture
def catalog(changing: Shown) -> Catalog:
    return changing.api.catalog


@pytest.fixture
def name(changing: Shown, request: pytest.FixtureRequest) -> str:
    """A repository of this test below team/: version 1 has v1, version 2 has v1 and v2, version 3 has v2 alone."""
    made = f"team/x{zlib.crc32(request.node.name.encode()):08x}"
    filler, store = Filler(changing.api.catalog, datetime.now(UTC)), MemoryStore()
    for number, removed in ((1, ()), (2, ()), (3, ("v1",))):
        tags = {} if removed else {f"v{number}": make_image(store, f"{made} {number}")}
        filler.commit(made, store, tags, removed=removed, ago=timedelta(hours=4 - number))
    return made


def versions(catalog: Catalog, name: str) -> int:
    return len(catalog.history.versions(name))


def push_another(catalog: Catalog, name: str) -> None:
    """Somebody else commits."""
    store = MemoryStore()
    Filler(catalog, datetime.now(UTC)).commit(name, store, {"other": make_image(store, f"{name} other")}, actor="else")


# --- restoring -------------------------------------------------------------------------------------------------


def test_a_restore_shows_the_plan_of_the_command_and_makes_that_version(
    changing: Shown, catalog: Catalog, name: str
) -> None:
    client = changing.logged_in("carol")
    model = client.get(f"/restore.json/{name}?version=1").json()
    operation = prepare_restore(catalog, RestoreRequest(repository=name, version=1))
    told = perform(catalog, operation, actor="test", run_id="x", now=datetime.now(UTC), dry_run=True)
    assert (model["base"], model["plan"]) == (3, told.plan)
    assert {one["tag"]: bool(one["new"]) for one in model["changes"]} == {"v1": True, "v2": False}
    assert {item.tag: item.action for item in told.items} == {"v1": "added", "v2": "removed"}
    answer = open_plan(client, f"/restore/{name}?version=1").send(client)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/versions/{name}?made=4#v4")
    row = catalog.history.version(name, 4)
    assert (row.operation, row.actor, row.message) == ("restore", "carol", "restored version 1")
    assert catalog.snapshots.get(name).tags == catalog.snapshots.get(name, 1).tags
    assert "Version 4 was made." in client.get(f"/versions/{name}?made=4").text
    assert "was made" not in client.get(f"/versions/{name}?made=9").text
    (event,) = catalog.events.latest(action="restore", name=name)
    assert (event.actor, event.outcome) == ("carol", "done")


def test_the_api_says_the_same_of_a_restore(changing: Shown, name: str) -> None:
    model = changing.logged_in("carol").get(f"/restore.json/{name}?version=1").json()
    told = changing.api.admin.post(f"/api/v1/restore/{name}", json={"version": 1, "dry_run": True}).json()
    assert told["base_version"] == model["base"]
    for field in ("added", "moved", "removed"):
        assert told[f"tags_{field}"] == model[field]


def test_a_confirmation_that_is_sent_twice_makes_one_version(changing: Shown, catalog: Catalog, name: str) -> None:
    client = changing.logged_in("carol")
    form = open_plan(client, f"/restore/{name}?version=1")
    answers: list[httpx.Response] = []
    clicks = [threading.Thread(target=lambda: answers.append(form.send(client))) for _ in range(4)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    answers.append(form.send(client))
    assert {(one.status_code, one.headers.get("location")) for one in answers} == {(303, f"/versions/{name}?made=4#v4")}
    assert versions(catalog, name) == 4


@pytest.mark.parametrize("path", ["/restore/{}?version=1", "/delete-tags/{}?tag=v2"])
def test_a_plan_that_somebody_has_outrun_is_shown_anew_and_not_done(
    changing: Shown, catalog: Catalog, name: str, path: str
) -> None:
    client = changing.logged_in("carol")
    form = open_plan(client, path.format(name))
    push_another(catalog, name)
    answer = form.send(client)
    assert answer.status_code == 409
    assert "nothing was done" in answer.text
    assert versions(catalog, name) == 4
    again = Confirmation(answer)
    assert again.has_button
    assert again.send(client).status_code == 303
    assert versions(catalog, name) == 5


def test_a_plan_of_nothing_has_no_button(changing: Shown, name: str) -> None:
    client = changing.logged_in("carol")
    for path in (f"/restore/{name}?version=3", f"/delete-tags/{name}?tag=nothing"):
        page = client.get(path)
        assert "Nothing would change" in page.text
        assert not Confirmation(page).has_button


def test_versions_that_are_not_there_cannot_be_restored(changing: Shown, name: str) -> None:
    client = changing.logged_in("carol")
    assert client.get(f"/restore/{name}?version=99").status_code == 404
    assert client.get(f"/restore/{name}?version=-1").status_code == 400
    assert client.get(f"/restore/{name}").status_code == 400


def test_an_immutable_tag_is_told_and_stays(changing: Shown, catalog: Catalog, name: str) -> None:
    now = datetime.now(UTC)
    catalog.distributions.put(Distribution(name, name, now, now, immutable_tags=("v2",)), actor="admin")
    client = changing.logged_in("carol")
    for path in (f"/restore/{name}?version=1", f"/delete-tags/{name}?tag=v2"):
        page = client.get(path)
        assert "v2 of" in page.text
        assert "immutable" in page.text
        form = Confirmation(page)
        assert not form.has_button
        assert form.send(client).status_code == 403
    assert versions(catalog, name) == 3


# --- rights and forms ------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, str]] = {
    "/restore/{}": {"version": "1", "plan": "x", "nonce": "n"},
    "/delete-tags/{}": {"tag": "v2", "plan": "x", "nonce": "n"},
    "/pin/{}": {"version": "1", "plan": "x", "note": ""},
    "/unpin/{}": {"version": "1", "plan": "x"},
    "/promote/{}": {"tag": "v2", "target": "team/other", "plan": "x", "nonce": "n"},
}


def query_of(path: str) -> dict[str, str]:
    return {name: value for name, value in FORMS[path].items() if name in {"version", "tag", "target"}}


@pytest.mark.parametrize("path", [path for path in FORMS if path != "/promote/{}"])
def test_who_has_no_right_has_neither_page_nor_effect(changing: Shown, catalog: Catalog, name: str, path: str) -> None:
    """The form's own token is good: what is missing is the right."""
    for account in FEW:
        client = changing.logged_in(account)
        assert client.get(path.format(name), params=query_of(path)).status_code == 403
        token = form_token_of(client.get("/").text)
        answer = client.post(path.format(name), data={**FORMS[path], "form_token": token})
        assert answer.status_code == 403
    visitor = changing.visitor()
    visitor.get("/login")
    assert visitor.get(path.format(name), params=query_of(path)).status_code == 404
    assert visitor.post(path.format(name), data=FORMS[path]).status_code == 403
    token = form_token_of(visitor.get("/login").text)
    assert (
        visitor.post(path.format(name), data={**FORMS[path], "form_token": token}).status_code == 403
    )  # whatever the name
    assert versions(catalog, name) == 3
    assert catalog.pins.of(name) == []


@pytest.mark.parametrize("path", list(FORMS))
def test_hidden_repositories_are_as_absent_ones_for_buttons_too(changing: Shown, path: str) -> None:
    client = changing.logged_in("bob")
    token = form_token_of(client.get("/").text)
    names = ("private/nightjar", "private/nothing1")
    shown = [client.get(path.format(name), params=query_of(path)) for name in names]
    done = [client.post(path.format(name), data={**FORMS[path], "form_token": token}) for name in names]
    for hidden, absent in (shown, done):
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text.replace("nightjar", "nothing1") == absent.text


def test_buttons_are_shown_to_who_may_use_them(changing: Shown, name: str) -> None:
    shown = {
        "bob": (False, False, False, False),
        "dave": (False, False, True, False),
        "carol": (True, False, True, True),
        "admin": (True, True, True, True),
    }
    for account, expected in shown.items():
        client = changing.administrator() if account == "admin" else changing.logged_in(account)
        history, tags = client.get(f"/versions/{name}").text, client.get(f"/repository/{name}").text
        found = (
            f'href="/restore/{name}?version=1"' in history,
            f'href="/pin/{name}?version=1"' in history,
            ">Promote…</button>" in tags,
            ">Delete…</button>" in tags,
        )
        assert found == expected, account
        models = client.get(f"/versions.json/{name}").json(), client.get(f"/repository.json/{name}").json()
        flags = (
            models[0]["can_restore"],
            models[0]["can_pin"],
            models[1]["can_promote"],
            models[1]["can_delete_tags"],
        )
        assert flags == expected, account
        assert (f"/restore/{name}?version=1" in client.get(f"/diff/{name}?old=1&new=3").text) == expected[0]
        assert f"/restore/{name}?version=3" not in history
    assert "Delete…" not in changing.visitor().get(f"/repository/{name}").text


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize("path", ["/restore/{}?version=1", "/pin/{}?version=1", "/delete-tags/{}?tag=v2"])
def test_a_confirmation_that_another_site_sends_does_nothing(
    changing: Shown, catalog: Catalog, name: str, path: str, headers: dict[str, str]
) -> None:
    client = changing.administrator()
    form = open_plan(client, path.format(name))
    assert form.send(client, headers=headers).status_code == 403
    assert (versions(catalog, name), catalog.pins.of(name)) == (3, [])


@pytest.mark.parametrize("path", ["/restore/{}?version=1", "/pin/{}?version=1", "/delete-tags/{}?tag=v2"])
def test_a_confirmation_needs_the_visitors_own_token(changing: Shown, catalog: Catalog, name: str, path: str) -> None:
    client, other = changing.administrator(), changing.administrator()
    form = open_plan(client, path.format(name))
    for token in ("", "0" * 64, form_token_of(other.get("/").text)):
        assert form.send(client, form_token=token).status_code == 403
    assert (versions(catalog, name), catalog.pins.of(name)) == (3, [])


def test_a_login_of_the_api_shows_plans_and_has_no_buttons(changing: Shown, name: str) -> None:
    admin = changing.api.admin
    assert admin.get(f"/restore.json/{name}?version=1").json()["removed"] == 1
    page = admin.get(f"/restore/{name}?version=1", headers={"Accept": "text/html"})
    assert not Confirmation(page).has_button
    assert not admin.get(f"/versions.json/{name}").json()["can_restore"]


def test_a_read_only_registry_has_no_buttons(changing: Shown, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = changing.administrator()
    forms = [open_plan(client, f"/{act}/{name}?version=1") for act in ("restore", "pin")]
    monkeypatch.setitem(changing.api.catalog.settings.__dict__, "read_only", True)
    assert not client.get(f"/versions.json/{name}").json()["can_restore"]
    assert [form.send(client).status_code for form in forms] == [405, 405]


# --- pins ------------------------------------------------------------------------------------------------------


def test_a_pin_keeps_its_reason_and_who_set_it(changing: Shown, catalog: Catalog, name: str) -> None:
    client = changing.administrator()
    form = open_plan(client, f"/pin/{name}?version=2")
    note = '<b>"keep"</b> it'
    for _ in range(2):
        answer = form.send(client, note=note)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/versions/{name}?before=27#v2")
    (pin,) = catalog.pins.of(name)
    assert (pin.version, pin.note, pin.actor) == (2, note, "admin")
    (event,) = catalog.events.latest(action="pin-version", name=name)
    assert (event.actor, event.address) == ("admin", "127.0.0.1")
    page = client.get(f"/versions/{name}").text
    assert f'href="/unpin/{name}?version=2"' in page
    assert "<b>" not in page
    assert "Nothing would change" in client.get(f"/pin/{name}?version=2").text
    unpin = open_plan(client, f"/unpin/{name}?version=2")
    for _ in range(2):
        assert unpin.send(client).status_code == 303
    assert catalog.pins.of(name) == []
    assert len(catalog.events.latest(action="unpin-version", name=name)) == 1


def test_a_pin_that_somebody_else_has_changed_is_shown_anew(changing: Shown, catalog: Catalog, name: str) -> None:
    client = changing.administrator()
    pin = open_plan(client, f"/pin/{name}?version=2")
    catalog.pins.add(Pin(name, 2, "theirs", "else", datetime.now(UTC)))
    answer = pin.send(client, note="mine")
    assert answer.status_code == 409
    assert "nothing was done" in answer.text
    unpin = open_plan(client, f"/unpin/{name}?version=2")
    catalog.pins.add(Pin(name, 2, "another reason", "else", datetime.now(UTC)))
    assert unpin.send(client).status_code == 409
    assert [one.note for one in catalog.pins.of(name)] == ["another reason"]


def test_a_reason_has_an_end(changing: Shown, catalog: Catalog, name: str) -> None:
    client = changing.administrator()
    form = open_plan(client, f"/pin/{name}?version=2")
    assert form.send(client, note="x" * 1001).status_code == 400
    assert client.get(f"/pin/{name}?version=99").status_code == 404
    assert catalog.pins.of(name) == []


# --- deleting tags ---------------------------------------------------------------------------------------------


def test_deleted_tags_go_by_one_version_and_their_manifests_stay(changing: Shown, catalog: Catalog, name: str) -> None:
    push_another(catalog, name)
    client = changing.logged_in("carol")
    form = open_plan(client, f"/delete-tags/{name}?tag=v2&tag=other&tag=v2")
    for _ in range(2):
        answer = form.send(client)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/repository/{name}?deleted=2")
    snapshot = catalog.snapshots.get(name)
    assert (snapshot.version, dict(snapshot.tags)) == (5, {})
    assert snapshot.manifests == catalog.snapshots.get(name, 4).manifests
    row = catalog.history.version(name, 5)
    assert (row.operation, row.actor) == ("delete", "carol")
    assert "2 tags were deleted" in client.get(f"/repository/{name}?deleted=2").text


@pytest.mark.parametrize("query", ["", "tag=", "tag=%3Cscript%3E", "tag=../x", "tag=%00", f"tag={'x' * 129}"])
def test_what_is_no_tag_is_no_plan(changing: Shown, name: str, query: str) -> None:
    client = changing.logged_in("carol")
    for act in ("delete-tags", "promote"):
        answer = client.get(f"/{act}/{name}?{query}")
        assert answer.status_code == 400
        assert "<script>" not in answer.text.replace('<script src="/static', "")


def test_too_many_tags_at_a_time_are_refused(changing: Shown, name: str) -> None:
    tags = "&".join(f"tag=v{number}" for number in range(101))
    assert changing.logged_in("carol").get(f"/delete-tags/{name}?{tags}").status_code == 400


def test_a_path_of_one_version_has_no_tags_to_delete(changing: Shown) -> None:
    client = changing.administrator()
    assert not client.get("/repository.json/stable/alpine").json()["can_delete_tags"]
    assert client.get("/delete-tags/stable/alpine?tag=latest").status_code == 403


@pytest.mark.parametrize(
    "name", ["team/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "team/%E2%82%AC", "..%2F..%2Fetc", "a%0d%0ab"]
)
@pytest.mark.parametrize(
    "act", ["restore/{}?version=1", "pin/{}?version=1", "delete-tags/{}?tag=a", "promote/{}?tag=a"]
)
def test_odd_names_are_of_nothing(changing: Shown, name: str, act: str) -> None:
    answer = changing.administrator().get(f"/{act.format(name)}")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
