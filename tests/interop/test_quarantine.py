"""Content in quarantine in the hands of cosign: who may push signs it by its digest, then everybody may pull it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import PolicyGateRule
from catalog.settings import read_settings
from tests.conftest import EntrepotFactory
from tests.homes import new_home
from tests.servers import Client, get
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.slow
NAME, PASSWORD = "team/app", "open sesame"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("form", ["bundle", "tag"])
def test_cosign_signs_what_is_in_quarantine(
    entrepot_server: EntrepotFactory, tool: Callable[[str], str], tmp_path: Path, form: str
) -> None:
    cosign = Client(tool("cosign"), (), {"HOME": str(tmp_path), "COSIGN_PASSWORD": PASSWORD})
    cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "key"))
    home = new_home(tmp_path / "entrepot", administrator=True)
    with open_catalog(read_settings(home=home)) as catalog:
        push_image(catalog, NAME, "v1", "one")
        digest = catalog.snapshots.get(NAME).tags["v1"]
        signers = {"release": {"keys": [(tmp_path / "key.pub").read_text()]}}
        rules = [{"paths": ["team/**"], "signatures": [{"signers": ["release"]}]}]
        policy = make_policy({"version": 1, "signers": signers, "rules": rules}, where="test")
        catalog.policies.set("release", policy, actor="test", now=NOW)
        catalog.policies.set_gate(
            PolicyGateRule(pattern="team/**", policy="release", at=("pull", "push"), set_by="test", set_at=NOW)
        )
    server = entrepot_server(home)
    url = f"{server.url}/v2/{NAME}/manifests/v1"
    assert get(url).status_code == 403
    login = ["--registry-username", server.username, "--registry-password", server.password, "--allow-http-registry"]
    if form == "bundle":
        cosign("signing-config", "create", "--out", str(tmp_path / "none.json"))
        options = ["--signing-config", str(tmp_path / "none.json")]
    else:
        options = ["--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false"]
    target = f"{server.host}/{NAME}@{digest}"
    cosign("sign", "--yes", *options, "--key", str(tmp_path / "key.key"), *login, target)
    assert get(url).status_code == 200
