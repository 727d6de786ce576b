"""Threads of a serving process share two arenas of the C library's allocator."""

import ctypes
import subprocess
import sys

import pytest

_PROBE = """
import ctypes, sys, threading
from registry_api.server.allocator import bound_arenas
if sys.argv[1] == "bound":
    bound_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)
def take():
    together.wait()
    libc.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
@pytest.mark.parametrize(("asked", "is_few"), [("bound", True), ("as it comes", False)])
def test_threads_share_two_arenas(asked: str, is_few: bool) -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE, asked], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.count("<heap nr=") <= 2) is is_few, done.stdout.count("<heap nr=")
