"""`python -m flows.orchestration.engine`: one flow run of a worker, in a process that ends with its worker."""

import os
import runpy
import sys

from catalog.settings import read_settings
from flows.orchestration.tether import die_with_parent
from flows.recovery.run_locks import hold_run, locks_folder
from flows.runs.catalog import catalog_ahead


def main() -> None:
    """Hold the run's lock for as long as this process lives, and become Prefect's engine; the catalogue is opened meanwhile."""
    settings = read_settings()
    run_id = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PREFECT__FLOW_RUN_ID", "")
    if run_id:
        hold_run(locks_folder(settings), run_id)
    with catalog_ahead(settings):
        runpy.run_module("prefect.engine", run_name="__main__")


if __name__ == "__main__":
    die_with_parent(os.getppid())
    main()
