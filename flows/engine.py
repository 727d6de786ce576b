"""`python -m flows.engine`: one flow run of a worker, in a process that ends with its worker."""

import os
import runpy

from flows.tether import die_with_parent

if __name__ == "__main__":
    die_with_parent(os.getppid())
    runpy.run_module("prefect.engine", run_name="__main__")
