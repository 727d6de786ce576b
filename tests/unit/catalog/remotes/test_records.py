"""Records of remotes: which of them counts for a place, what they may hold, and who sees a change."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.remotes.records import RemoteRecord, check_record, parse_key, select_record
from oci.errors import InvalidInput, NameInvalid, RemoteUnknown
from oci.reference import parse_reference
from oci.remote.limits.rate import Rate, parse_rate
from oci.remote.mirrors.record import mirrored, parse_mirror

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(key: str, **fields: object) -> RemoteRecord:
    return RemoteRecord(parse_key(key), NOW, NOW, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("registry.example", "registry.example"),
        ("registry.example:5000/team/sub", "registry.example:5000/team/sub"),
        ("docker.io", "docker.io"),
        ("index.docker.io/library", "docker.io/library"),
        ("registry-1.docker.io", "docker.io"),
        ("localhost", "localhost"),
    ],
)
def test_keys_are_registries_with_or_without_a_prefix(text: str, key: str) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize(
    "text",
    ["", "team", "team/app", "registry.example/", "https://registry.example", "user:secret@registry.example", "/a"],
)
def test_what_is_no_registry_is_no_key(text: str) -> None:
    with pytest.raises(NameInvalid):
        parse_key(text)


def test_the_longest_prefix_of_whole_parts_counts() -> None:
    kept = {
        one.key: one for one in map(record, ("registry.example", "registry.example/team", "registry.example/team/sub"))
    }
    kept |= {"docker.io": record("docker.io"), "docker.io/library": record("docker.io/library")}

    def key_for(text: str) -> str:
        found = select_record(kept, parse_reference(text))
        return found.key if found else ""

    assert key_for("registry.example/team/sub/app") == "registry.example/team/sub"
    assert key_for("registry.example/team/sub") == "registry.example/team/sub"
    assert key_for("registry.example/team/subway") == "registry.example/team"
    assert key_for("registry.example/teams/app") == "registry.example"
    assert key_for("registry.example:5000/team/app") == ""
    assert key_for("alpine") == "docker.io/library"
    assert key_for("index.docker.io/grafana/grafana:1") == "docker.io"


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": (("X-Key", "a secret"),)},
        {"headers": (("X-Key", "file:relative"),)},
        {"headers": (("Authorization", "env:KEY"),)},
        {"headers": (("X Key", "env:KEY"),)},
        {"proxy": "http://user:secret@proxy.example:3128"},
        {"proxy": "proxy.example:3128"},
        {"client_key": "/key.pem"},
        {"ca_file": "relative.pem"},
        {"policy": "sometimes"},
        {"rate": "100 a day"},
        {"mirrors": ("mirror.example,sometimes",)},
        {"mirrors": ("user:secret@mirror.example",)},
    ],
)
def test_what_a_record_cannot_hold_is_refused_and_not_repeated(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_record(record("registry.example", **fields))
    assert "secret" not in str(raised.value)


def test_a_full_record_is_kept_and_seen_by_others(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    made = record(
        "docker.io",
        description="the Hub",
        policy="on_demand",
        proxy="env:PROXY",
        ca_file="/ca.pem",
        client_cert="/client.pem",
        client_key="/key.pem",
        headers=(("X-Key", "file:/secret"), ("X-Other", "env:OTHER")),
        concurrency=3,
        mirrors=("mirror.example/hub", "http://127.0.0.1:5000,digest-only"),
        rate="100/6h",
        bandwidth=1_000_000,
    )
    catalog.remotes.put(made, actor="admin")
    assert not other.snapshots.is_current()
    other.snapshots.refresh()
    for reader in (catalog, other, open_again()):
        assert reader.remotes.all() == [made]
        assert reader.remotes.select(parse_reference("alpine")) == made
    changed = replace(made, description="changed")
    other.remotes.put(changed, actor="admin")
    catalog.snapshots.refresh()
    assert catalog.remotes.get("docker.io") == changed
    catalog.remotes.delete("docker.io", actor="admin")
    other.snapshots.refresh()
    for reader in (catalog, other):
        assert reader.remotes.all() == []
        with pytest.raises(RemoteUnknown, match="remote list"):
            reader.remotes.get("docker.io")


@pytest.mark.parametrize(
    ("place", "prefix", "name", "where"),
    [
        ("mirror.example", "", "team/app", "mirror.example/team/app"),
        ("mirror.example/hub", "", "library/alpine", "mirror.example/hub/library/alpine"),
        ("http://mirror.example/x/", "team", "team/sub/app", "http://mirror.example/x/sub/app"),
        ("mirror.example/x/app", "team/app", "team/app", "mirror.example/x/app"),
        ("mirror.example", "team/app", "team/app", "mirror.example/team/app"),
    ],
)
def test_where_a_mirror_has_a_repository(place: str, prefix: str, name: str, where: str) -> None:
    reference = parse_reference(f"registry.example/{name}")
    assert str(mirrored(parse_mirror(place), reference, prefix)) == where


def test_rates_are_requests_in_a_time() -> None:
    assert parse_rate("100/6h") == Rate(100, 21600.0)
    assert parse_rate("10/s") == Rate(10, 1.0)
    for text in ("", "100", "0/s", "100/6", "1.5/s", "100/0h", "-1/s"):
        with pytest.raises(InvalidInput):
            parse_rate(text)
