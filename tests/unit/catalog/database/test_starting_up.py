"""A catalogue that is opened while PostgreSQL restarts: whichever connection meets that, it may be tried again."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from catalog.catalog import Catalog
from catalog.settings import Settings, read_settings
from oci.errors import CatalogUnavailable, CatalogUnusable
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.servers import free_port

_ENCRYPTION = (80877103, 80877104)
STARTING = ("57P03", "the database system is starting up")
ENDED = ("57P01", "terminating connection due to administrator command")


class Front:
    """Stands before a PostgreSQL server: the first `allowed` connections pass, later ones are refused as a restart does it.

    With `cuts`, the first that is refused ends those that have passed, too.
    """

    def __init__(self, port: int, allowed: int, refusal: tuple[str, str], *, cuts: bool) -> None:
        self._to, self._allowed, self._refusal, self._cuts = port, allowed, refusal, cuts
        self.seen = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open = list[socket.socket]()
        self._threads = list[threading.Thread]()
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_error: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._cut()
        for thread in self._threads:
            thread.join(10)

    def _begin(self, call: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=call, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with self._guard:
                self.seen += 1
                passes = self.seen <= self._allowed
            self._begin(self._pass if passes else self._refuse, client)

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            with self._guard:
                self._open += [client, server]
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(10)

    def _refuse(self, client: socket.socket) -> None:
        if self._cuts:
            self._cut()
        code, text = self._refusal
        fields = b"".join(
            kind + value.encode() + b"\0"
            for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", text))
        )
        with client, contextlib.suppress(OSError):  # the client may be gone
            while True:
                head = client.recv(8, socket.MSG_WAITALL)
                if len(head) < 8:
                    return
                length, kind = struct.unpack("!II", head)
                if kind not in _ENCRYPTION:
                    client.recv(length - 8, socket.MSG_WAITALL)
                    client.sendall(b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0")
                    return
                client.sendall(b"N")

    def _cut(self) -> None:
        with self._guard:
            cut, self._open = self._open, []
        for one in cut:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for one in (source, target):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def settings_at(home: Path, port: int, database: str) -> Settings:
    url = f"postgresql://entrepot@127.0.0.1:{port}/{database}"
    return read_settings(home=home, catalog=url, catalog_password=PostgresServer.password)


@pytest.mark.parametrize("cuts", [False, True], ids=["new connections", "all connections"])
@pytest.mark.parametrize("refusal", [STARTING, ENDED], ids=["starting", "ended"])
def test_whichever_connection_meets_a_restart_it_may_be_tried_again(
    postgres_server: PostgresServer, tmp_path: Path, refusal: tuple[str, str], *, cuts: bool
) -> None:
    database = postgres_server.new_database().rpartition("/")[2]
    home = new_home(tmp_path / "entrepot")
    Catalog(settings_at(home, postgres_server.port, database)).close()
    failures = list[CatalogUnusable]()
    for allowed in range(20):
        with Front(postgres_server.port, allowed, refusal, cuts=cuts) as front:
            try:
                Catalog(settings_at(home, front.port, database)).close()
            except CatalogUnusable as error:
                failures.append(error)
            if front.seen <= allowed:
                break
    else:
        pytest.fail("it opens ever more connections")
    assert {type(error) for error in failures} == {CatalogUnavailable}, failures
    assert len(failures) >= 3, "the lake, its lock and the state have connections of their own"


def test_a_server_that_is_not_there_may_come(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnavailable):
        Catalog(settings_at(new_home(tmp_path / "entrepot"), free_port(), "entrepot"))


def test_a_wrong_password_does_not_pass_by_itself(postgres_server: PostgresServer, tmp_path: Path) -> None:
    settings = read_settings(
        home=new_home(tmp_path / "entrepot"), catalog=postgres_server.new_database(), catalog_password="wrong"
    )
    with pytest.raises(CatalogUnusable) as failed:
        Catalog(settings)
    assert not failed.value.retryable
