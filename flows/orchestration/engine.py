"""`python -m flows.orchestration.engine`: one flow run of a worker, in a process that ends with its worker."""

import logging
import os
import runpy
import sys
from collections.abc import Mapping
from uuid import UUID

import httpx

from catalog.settings import read_settings
from flows.forms.run_tags import run_tags
from flows.orchestration.tether import die_with_parent
from flows.recovery.run_locks import hold_run, locks_folder
from flows.runs.catalog import catalog_ahead

log = logging.getLogger(__name__)


def main() -> None:
    """Hold the run's lock for as long as this process lives, and become Prefect's engine; the catalogue is opened meanwhile."""
    settings = read_settings()
    run_id = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PREFECT__FLOW_RUN_ID", "")
    if run_id:
        hold_run(locks_folder(settings), run_id)
    with catalog_ahead(settings):
        if run_id:
            tag_run(run_id)
        runpy.run_module("prefect.engine", run_name="__main__")


def tag_run(run_id: str) -> None:
    """Give the flow run of a deployment its tags, by the parameters that Prefect keeps; a run does not fail for that."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(run_id))
            request = run.parameters.get("request")
            wanted = run_tags(request if isinstance(request, Mapping) else run.parameters)
            if not set(wanted) <= set(run.tags):
                client.update_flow_run(run.id, tags=[*dict.fromkeys((*run.tags, *wanted))])
    except (PrefectException, httpx.HTTPError, ValueError) as error:
        log.warning("no tags for flow run %s: %s", run_id, error)


if __name__ == "__main__":
    die_with_parent(os.getppid())
    main()
