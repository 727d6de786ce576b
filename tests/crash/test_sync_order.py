"""The order of writes that power loss cannot undo, as the system saw them: bytes, name, record, then the acknowledgement."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import tool

ROOT = Path(__file__).parents[2]

WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest

catalog = Catalog(read_settings(home=Path(sys.argv[1])))

def ingest(data):
    digest = Digest.of(data)
    catalog.content.put(data, digest, "team/app")
    sys.stdout.write(f"acknowledged {digest.encoded}\\n")
    sys.stdout.flush()

ingest(b"the first makes the folders")
with ThreadPoolExecutor(4) as pool:
    list(pool.map(ingest, [b"blob %d" % number for number in range(12)]))
"""

_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= 0")


def _events(trace: str) -> list[str]:
    """Return the calls that ended well, in the order of their ends, and acknowledgements in the order of their begins."""
    begun: dict[str, str] = {}
    events: list[str] = []
    for line in trace.splitlines():
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.startswith("write(1") and "acknowledged" in text:
            events.append(text)
        elif text.endswith("<unfinished ...>"):
            begun[process] = text.removesuffix("<unfinished ...>").rstrip()
        else:
            if text.startswith("<..."):
                text = begun.pop(process, "") + text.partition("resumed>")[2]
            if _CALL.match(text):
                events.append(text)
    return events


@pytest.mark.embedded
def test_bytes_name_and_record_are_durable_before_a_blob_is_acknowledged(tmp_path: Path) -> None:
    home, trace = tmp_path / "home", tmp_path / "trace"
    watched = "trace=fsync,fdatasync,rename,write"
    command = [tool("strace"), "-f", "-y", "-s", "100", "-e", watched, "-o", str(trace), sys.executable, "-c", WORKER]
    subprocess.run([*command, str(home)], check=True, capture_output=True, cwd=ROOT, timeout=120)
    events = _events(trace.read_text())
    digests = {match[1] for event in events if (match := re.search(r"acknowledged (\w+)", event))}
    assert len(digests) == 13
    for digest in digests:
        (acknowledged,) = (at for at, event in enumerate(events) if f"acknowledged {digest}" in event)
        (renamed,) = (at for at, event in enumerate(events) if event.startswith("rename(") and f'{digest}")' in event)
        staged = re.findall(r'"(.*?)"', events[renamed])[0]
        synced = [at for at, event in enumerate(events) if event.startswith("fsync(") and f"<{staged}>" in event]
        folder = f"blobs/sha256/{digest[:2]}>"
        named = [at for at, event in enumerate(events) if event.startswith("fsync(") and folder in event]
        recorded = [at for at, event in enumerate(events) if "sync(" in event and "holdings.sqlite-wal>" in event]
        assert any(at < renamed for at in synced), digest
        first_named = min(at for at in named if at > renamed)
        assert any(first_named < at < acknowledged for at in recorded), digest
