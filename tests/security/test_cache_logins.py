"""A cache with a login is private unless said otherwise; caches made before are served on, and told of."""

import base64
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.remotes.cache_logins import login_of, shared_logins
from catalog.remotes.clients import make_keychain
from catalog.remotes.records import RemoteRecord
from catalog.settings import read_settings
from oci.errors import RemoteUnauthorized
from oci.remote.auth.keychain import Credential, Keychain
from tests.api.conftest import serve
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Children, wait_until

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AUTH = base64.b64encode(b"me:secret").decode()


def logins_file(folder: Path, *keys: str) -> Path:
    file = folder / "auth.json"
    file.write_text(json.dumps({"auths": {key: {"auth": AUTH} for key in keys}}))
    return file


@pytest.mark.parametrize(
    ("key", "remote", "found"),
    [
        ("registry.example", "registry.example", True),
        ("registry.example", "https://registry.example/team", True),
        ("registry.example/team", "registry.example", True),
        ("registry.example/team/app", "registry.example/team", True),
        ("registry.example/other", "registry.example/team", False),
        ("registry.example/teammate", "registry.example/team", False),
        ("registry.example.evil", "registry.example", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io/acme", "docker.io", True),
        ("other.example", "registry.example", False),
    ],
)
def test_whether_a_cache_has_a_login(tmp_path: Path, key: str, remote: str, *, found: bool) -> None:
    with open_catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:
        keychain = Keychain({}, (logins_file(tmp_path, key), tmp_path / "absent.json"))
        assert bool(login_of(remote, keychain, catalog.remotes)) is found


def test_other_proofs_of_who_we_are_count_too(tmp_path: Path) -> None:
    with open_catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:
        nothing = Keychain()
        assert login_of("registry.example", nothing, catalog.remotes) == ""
        assert login_of("r.example", Keychain({"r.example/a": Credential("me", "secret")}), catalog.remotes)
        catalog.remotes.put(RemoteRecord("a.example", NOW, NOW, client_cert="/c.pem", client_key="/k.pem"), actor="t")
        catalog.remotes.put(RemoteRecord("b.example/team", NOW, NOW, headers=(("X-Key", "env:KEY"),)), actor="t")
        catalog.remotes.put(RemoteRecord("c.example", NOW, NOW, concurrency=3), actor="t")
        told = {
            remote: login_of(remote, nothing, catalog.remotes)
            for remote in ("a.example/x", "b.example", "b.example/team", "b.example/other", "c.example")
        }
        assert [bool(text) for text in told.values()] == [True, True, True, False, False]
        broken = tmp_path / "auth.json"
        broken.write_text("{")
        with pytest.raises(RemoteUnauthorized, match=r"auth\.json"):
            login_of("registry.example", Keychain({}, (broken,)), catalog.remotes)
        catalog.distributions.put(Distribution("cache", "", NOW, NOW, remote="registry.example"), actor="t")
        (found,) = shared_logins(catalog.distributions, Keychain({}, (broken,)), catalog.remotes)
        assert found.path == "cache"


def test_caches_that_share_a_login_are_told_of_when_serving_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = new_home(tmp_path / "entrepot", administrator=True)
    file = logins_file(tmp_path, "registry.example")
    with open_catalog(read_settings(home=home)) as catalog:
        kinds: dict[str, dict[str, object]] = {
            "before": {}, "said": {"shares_login": True}, "hidden": {"private": True}, "other": {"remote": "free.example"}
        }  # fmt: skip
        for path, fields in kinds.items():
            made: dict[str, object] = {"remote": "registry.example", **fields}
            catalog.distributions.put(Distribution(path, "", NOW, NOW, **made), actor="t")  # type: ignore[arg-type]
        found = list(
            shared_logins(catalog.distributions, make_keychain(read_settings(auth_file=file)), catalog.remotes)
        )
        assert [one.path for one in found] == ["before"]

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "uses a login" in record.getMessage()]

    with caplog.at_level(logging.WARNING), serve(home, auth_file=file) as api:
        wait_until(lambda: bool(told()), 20, "the log tells of the cache")
        assert "path=before" in told()[0]
        assert "distribution set before --private" in told()[0]
        assert api.catalog.distributions.get("before").private is False  # it is served as it was


def test_the_command_makes_them_private_unless_told(tmp_path: Path, children: Children) -> None:
    settings = {"ENTREPOT_LOGINS": json.dumps({"registry.example": "me:secret"})}
    entrepot = Entrepot(tmp_path / "home", children)
    done = entrepot("distribution", "create", "cache", "--remote", "registry.example", env=settings)
    assert ", private" in done.stdout
    assert "--public serves it to everybody" in done.stderr
    free = entrepot.json("distribution", "create", "free", "--remote", "free.example")
    assert (free["private"], free["shares_login"]) == (False, False)
    said = entrepot.json("distribution", "set", "cache", "--public")
    assert (said["private"], said["shares_login"]) == (False, True)
    hidden = entrepot.json("distribution", "set", "cache", "--private")
    assert (hidden["private"], hidden["shares_login"]) == (True, False)
