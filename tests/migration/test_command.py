"""`entrepot catalog migrate`: a flow run with a task for each step, whose parameters hold no password."""

from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from tests.cli.commands import Entrepot, PrefectServer
from tests.migration.histories import fill
from tests.postgresql import PostgresServer
from tests.servers import Children

pytestmark = pytest.mark.embedded


def test_the_command_moves_a_catalogue_and_says_so(
    tmp_path: Path, children: Children, postgres_server: PostgresServer, session_prefect: PrefectServer
) -> None:
    files = fill(tmp_path / "home")
    url = postgres_server.new_database()
    password = tmp_path / "password"
    password.write_text(f"{PostgresServer.password}\n")
    entrepot = Entrepot(tmp_path / "home", children, {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url})
    to = ("catalog", "migrate", "--to", url, "--password-file", str(password))

    told = entrepot.json(*to, "--dry-run")
    assert (told["dry_run"], told["source"], told["target"]) == (True, f"sqlite:{files.catalog_file}", url)
    assert told["rows"]["records"] > 10
    with open_catalog(files) as catalog:
        assert catalog.history.versions("team/app")

    told = entrepot.json(*to)
    assert told["rows"]["records"] > 10
    assert 0 < told["held_seconds"] < 30
    run = session_prefect.flow_run(told["flow_run_id"])
    assert PostgresServer.password not in str(run)
    names = {one["name"].rpartition("-")[0] for one in session_prefect.task_runs(told["flow_run_id"])}
    assert names == {"check-ends", "copy-ahead", "switch-catalog", "open-target"}
    assert f"has moved to {url}" in entrepot(*to).stdout
    refused = entrepot("quota", "set", "team/**", "--tags", "5")
    assert refused.returncode == 1
    assert f"has moved to {url}" in refused.stderr
    env = {"ENTREPOT_CATALOG": url, "ENTREPOT_CATALOG_PASSWORD_FILE": str(password)}
    assert entrepot("quota", "set", "team/**", "--tags", "5", env=env).returncode == 0
    back = entrepot("catalog", "migrate", "--to", f"sqlite:{files.catalog_file}", env=env)
    assert back.returncode == 0, back.stderr
    assert "both sides are the same" in back.stdout
    assert entrepot("quota", "set", "team/**", "--tags", "6").returncode == 0


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("postgresql://me:hidden@127.0.0.1/x", "without the password"),
        ("mysql://127.0.0.1/x", "expected sqlite:PATH or postgresql://"),
        ("sqlite:elsewhere.sqlite", "SQLite to PostgreSQL or back"),
    ],
)
def test_a_target_that_is_none_is_refused(
    tmp_path: Path, children: Children, session_prefect: PrefectServer, to: str, said: str
) -> None:
    fill(tmp_path / "home")
    entrepot = Entrepot(tmp_path / "home", children, {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url})
    done = entrepot("catalog", "migrate", "--to", to)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert not (tmp_path / "home" / "catalog" / "catalog.migration").exists()
