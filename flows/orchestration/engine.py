"""`python -m flows.orchestration.engine`: one flow run of a worker, in a process that ends with its worker."""

import logging
import os
import runpy
import sys
from uuid import UUID

import httpx

from catalog.prefect.run_parameters import flat_parameters
from catalog.settings import read_settings
from flows.forms.run_tags import run_tags
from flows.orchestration.processes.tether import die_with_parent
from flows.recovery.run_locks import hold_run, locks_folder
from flows.runs.catalog import catalog_ahead
from oci.traces.start import start_tracing, stop_tracing

log = logging.getLogger(__name__)


def main() -> None:
    """Hold the run's lock for as long as this process lives, and become Prefect's engine; the catalogue is opened meanwhile."""
    settings = read_settings()
    run_id = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PREFECT__FLOW_RUN_ID", "")
    if run_id:
        hold_run(locks_folder(settings), run_id)
    fault = start_tracing(
        os.environ, "entrepot-flows", is_global=True
    )  # Prefect's engine traces its runs and tasks too
    if fault:
        log.warning("%s", fault)
    try:
        with catalog_ahead(settings):
            if run_id:
                prepare_run(run_id)
            runpy.run_module("prefect.engine", run_name="__main__")
    finally:
        stop_tracing()


def prepare_run(run_id: str) -> None:
    """Give the flow run of a deployment its tags, and parameters as they are written now; a run does not fail for that."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(run_id))
            fields = flat_parameters(run.parameters)
            if fields != run.parameters:  # of an earlier release
                client.update_flow_run(run.id, parameters=fields)
            wanted = run_tags(fields)
            if not set(wanted) <= set(run.tags):
                client.update_flow_run(run.id, tags=[*dict.fromkeys((*run.tags, *wanted))])
    except (PrefectException, httpx.HTTPError, ValueError) as error:
        log.warning("no tags for flow run %s: %s", run_id, error)


if __name__ == "__main__":
    die_with_parent(os.getppid())
    main()
