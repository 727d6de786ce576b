"""Requests per second of one URL: by wrk where it is installed, else, and for HEAD always, by a client of our own."""

import re
import select
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass

from benchmarks.wire import Server, raw_request

WRK = shutil.which("wrk")


@dataclass(frozen=True)
class Load:
    """One kind of request, sent over `connections` kept connections for `seconds`."""

    path: str
    method: str = "GET"
    accept: str = "*/*"
    status: int = 200
    connections: int = 16
    seconds: float = 2.0
    range: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What the request carries besides what each of its server carries."""
        return {"Accept": self.accept, **({"Range": self.range} if self.range else {})}


def client_of(load: Load) -> str:
    """Which client sends it: wrk waits for the body of a HEAD, which never comes, so HEAD is ours."""
    return "wrk" if WRK and load.method == "GET" else "own client"


def requests_per_second(server: Server, load: Load) -> float:
    """Answered requests per second; AssertionError when one has another status or a connection breaks."""
    return by_wrk(server, load) if client_of(load) == "wrk" else by_epoll(server, load)


def by_wrk(server: Server, load: Load) -> float:
    """Run wrk with one thread: two cores are for the server and for it."""
    assert WRK is not None
    headers = {**server.headers, **load.headers}
    options = [part for name, value in headers.items() if name != "Host" for part in ("-H", f"{name}: {value}")]
    command = [WRK, "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "30s", *options]
    done = subprocess.run([*command, f"http://{server.host}{load.path}"], capture_output=True, text=True, check=True)
    bad = [line for line in done.stdout.splitlines() if "Non-2xx" in line or "Socket errors" in line]
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate, f"{server.name}: {load.path}: {done.stdout}"
    assert not bad, f"{server.name}: {load.path}: {bad}"
    return float(rate.group(1))


@dataclass
class _Stream:
    sock: socket.socket
    data: bytearray
    missing: int = 0


def by_epoll(server: Server, load: Load) -> float:
    """Keep one request under way on each connection, and count the answers."""
    request = raw_request(server, load.method, load.path, headers=load.headers)
    streams: dict[int, _Stream] = {}
    poll = select.epoll()
    try:
        for _ in range(load.connections):
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            streams[sock.fileno()] = _Stream(sock, bytearray())
            poll.register(sock, select.EPOLLIN)
            sock.sendall(request)
        answered, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < load.seconds:
            for number, _ in poll.poll(1.0):
                stream = streams[number]
                if _answered(server, load, stream):
                    answered += 1
                    stream.sock.sendall(request)
        return answered / elapsed
    finally:
        poll.close()
        for stream in streams.values():
            stream.sock.close()


def _answered(server: Server, load: Load, stream: _Stream) -> bool:
    """Take what has come; whether an answer is now complete."""
    data = stream.sock.recv(1024 * 1024)
    assert data, f"{server.name} closed a connection during {load.method} {load.path}"
    if stream.missing:
        stream.missing -= len(data)
        return stream.missing == 0
    stream.data += data
    end = stream.data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(stream.data[:end]).lower()
    status = int(head.split(b" ", 2)[1])
    assert status == load.status, f"{server.name}: {load.method} {load.path}: {status}, expected {load.status}"
    length = re.search(rb"\r\ncontent-length: *(\d+)", head)
    body = int(length.group(1)) if length and load.method != "HEAD" else 0
    stream.missing = body - (len(stream.data) - end - 4)
    stream.data.clear()
    return stream.missing == 0
