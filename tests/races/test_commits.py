"""Many threads in many processes commit to one repository: every tag lands, versions are in order, readers never wait."""

import subprocess
import sys
from pathlib import Path

from catalog.catalog import Catalog
from catalog.settings import read_settings

ROOT = Path(__file__).parents[2]
PROCESSES, THREADS, PUSHES = 3, 4, 5

WORKER = """
import sys, threading
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings
from tests.unit.catalog.conftest import push_image

home, process, threads, pushes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
catalog = Catalog(read_settings(home=home))

def push(thread):
    for number in range(pushes):
        tag = f"p{process}-{thread}-{number}"
        assert tag in push_image(catalog, "team/app", tag, tag, ("shared", tag)).snapshot.tags
        assert tag in catalog.snapshots.get("team/app").tags

workers = [threading.Thread(target=push, args=(thread,)) for thread in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print("done")
"""


def test_pushes_of_several_processes_all_land(tmp_path: Path) -> None:
    home = tmp_path / "home"
    commands = [
        [sys.executable, "-c", WORKER, str(home), str(number), str(THREADS), str(PUSHES)] for number in range(PROCESSES)
    ]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, out, errors) == (0, "done\n", "")
    total = PROCESSES * THREADS * PUSHES
    with Catalog(read_settings(home=home)) as catalog:
        snapshot = catalog.snapshots.get("team/app")
        versions = catalog.history.versions("team/app")
        assert len(snapshot.tags) == snapshot.version == total
        assert [row.number for row in versions] == list(range(total, 0, -1))
        assert [len(catalog.snapshots.get("team/app", number).tags) for number in (1, 7, total)] == [1, 7, total]
