"""Every command of docs/migrate.md runs as it stands, against products as they document their APIs."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import PrefectServer
from tests.flows.migrate.products import (
    LOGIN,
    TOKEN,
    ApiReply,
    Harbor,
    HarborProject,
    Product,
    Quay,
    Query,
    harbor_member,
    quay_repository,
    tag_rule,
)
from tests.flows.migrate.pulp_product import Pulp
from tests.folders import write_layout, write_repository
from tests.forward_proxy import forward_proxy
from tests.homes import new_home
from tests.mirror import upload
from tests.readme.commands import Shown, find_commands
from tests.readme.reader import Reader
from tests.servers import ROOT, Children, make_certificate, start_docker_registry

COMMANDS = find_commands((ROOT / "docs" / "migrate.md").read_text())
HOSTS = ("127.0.0.1", "harbor.example", "pulp.example", "quay.example", "registry.example", "second.example")


class Products:
    """All three APIs at once, each at its own path."""

    def __init__(self) -> None:
        rules, members = (tag_rule(tags="v*"),), (harbor_member("alice", 2),)
        team = HarborProject("team", ("team/app",), public=False, immutable=rules, members=members, bytes=10**9)
        self.apis = (
            Harbor([team]),
            Quay({"team": [quay_repository("team/app")]}),
            Pulp(lambda: "pulp.example", {"team/app": True}),
        )

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> ApiReply | None:
        return next((found for api in self.apis if (found := api(path, query, headers))), None)


@pytest.fixture(scope="module")
def reader(
    module_children: Children, session_prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """A folder with what the page names, and hosts as it names them."""
    folder = tmp_path_factory.mktemp("mover")
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "moved"}]).digest)
    write_repository(folder / "registry", "team/tool", store)
    write_layout(folder / "layouts" / "team" / "chart", store)
    certificate = make_certificate(folder / "certificate", hosts=HOSTS)
    registry = start_docker_registry(module_children)
    upload(registry, "team/app", "v1.0", "an app")
    home = new_home(folder / "home", administrator=True)
    tls = {"ssl_certfile": certificate.cert_file, "ssl_keyfile": certificate.key_file}
    with (
        Product(registry.url, Products(), tls=tls) as product,
        forward_proxy(leads_to=("127.0.0.1", int(product.host.rpartition(":")[2]))) as proxy,
    ):
        env = {
            "HTTPS_PROXY": proxy.url,
            "ENTREPOT_CA_FILE": str(certificate.ca_file),
            "ENTREPOT_LOGINS": json.dumps({"harbor.example": LOGIN, "pulp.example": LOGIN}),
            "ENTREPOT_HOME": str(home),
            "ENTREPOT_PREFECT_API_URL": session_prefect.api_url,
            "QUAY_TOKEN": TOKEN,
            "ALICE_PASSWORD": "a password of hers",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        yield Reader(folder, module_children, env, COMMANDS)


# Commands that tell by their exit code that there is something to do.
CODES = {"entrepot apply access.yaml --dry-run": 3}


@pytest.mark.slow
@pytest.mark.parametrize("shown", COMMANDS, ids=lambda one: one.text)
def test_runs_as_the_page_shows_it(reader: Reader, shown: Shown) -> None:
    ended = reader.result(shown)
    assert ended.code == CODES.get(shown.text, 0), f"docs/migrate.md:{shown.line}: {shown.text}\n{ended.output}"


def test_the_page_shows_every_command_of_it() -> None:
    shown = {tuple(one.text.split()[1:3]) for one in COMMANDS}
    kinds = ("docker-registry", "oci-layouts", "harbor", "pulp", "quay")
    assert {("migrate", kind) for kind in kinds} <= shown
    assert any(one.text.startswith("entrepot copy ") for one in COMMANDS)
