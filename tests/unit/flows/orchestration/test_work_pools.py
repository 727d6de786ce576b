"""The work pools of prefect.yaml: each variant fits the base job template that Prefect has for its type of worker."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it carries no types
import prefect
import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from flows.orchestration.deployments import ENGINE, PREFECT_FILE
from flows.orchestration.servers.home import WORK_POOL

DECLARED = yaml.safe_load(PREFECT_FILE.read_text())
POOLS = DECLARED["definitions"]["work_pools"]
METADATA = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"


def variables_of(worker_type: str) -> dict[str, Any]:
    """The JSON schema of the job variables of a type of worker, as Prefect's server serves it, closed to other names."""
    collections = json.loads(METADATA.read_text())
    (found,) = [one[worker_type] for one in collections.values() if worker_type in one]
    return {**found["default_base_job_configuration"]["variables"], "additionalProperties": False}


def test_there_is_a_variant_for_each_place_where_a_run_can_be() -> None:
    assert set(POOLS) == {"process", "docker", "kubernetes"}
    assert len({pool["name"] for pool in POOLS.values()}) == 3
    assert POOLS["process"]["name"] == WORK_POOL
    assert {one["work_pool"]["name"] for one in DECLARED["deployments"]} == {WORK_POOL}


@pytest.mark.parametrize("worker_type", POOLS)
def test_a_variant_fits_the_base_job_template_of_its_type(worker_type: str) -> None:
    variables = POOLS[worker_type]["job_variables"]
    jsonschema.validate(variables, variables_of(worker_type))
    assert variables["command"] == ENGINE
    for wrong in ({"imagee": "x"}, {"env": ["A=b"]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**variables, **wrong}, variables_of(worker_type))


@pytest.mark.parametrize("worker_type", ["docker", "kubernetes"])
def test_a_container_shares_the_catalogue_and_the_blobs_and_has_no_password_in_its_variables(worker_type: str) -> None:
    environment = POOLS[worker_type]["job_variables"]["env"]
    assert environment["ENTREPOT_CATALOG"].startswith("postgresql://")
    assert "@" not in environment["ENTREPOT_CATALOG"].partition("@")[2]
    assert ":" not in environment["ENTREPOT_CATALOG"].removeprefix("postgresql://").partition("@")[0]
    assert environment["ENTREPOT_STORAGE"].startswith("s3://")
    assert all(isinstance(value, str) for value in environment.values())
