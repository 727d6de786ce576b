"""A network between two machines that can stop to carry bytes: connections stay, and nothing arrives."""

import socket
import threading
from contextlib import suppress
from typing import Literal, Self

Direction = Literal["both", "there", "back"]


class Link:
    """Carries connections to a port of this machine, by a port of its own; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._flows = {"there": threading.Event(), "back": threading.Event()}
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self.mend()

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self._listener.getsockname()[1])

    def cut(self, direction: Direction = "both") -> None:
        """Carry nothing more in a direction; new connections are accepted, as by a switch that drops what it has taken."""
        for name, flow in self._flows.items():
            if direction in ("both", name):
                flow.clear()

    def mend(self) -> None:
        """Carry on, beginning with what was held back."""
        for flow in self._flows.values():
            flow.set()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:  # the link ends, or nobody listens there
                with suppress(OSError, UnboundLocalError):
                    near.close()
                continue
            far.settimeout(None)
            self._sockets |= {near, far}
            threading.Thread(target=self._carry_both, args=(near, far), daemon=True).start()

    def _carry_both(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._carry, args=("back", far, near), daemon=True)
        back.start()
        self._carry("there", near, far)
        back.join()
        self._sockets -= {near, far}
        near.close()
        far.close()

    def _carry(self, name: str, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flows[name].wait()
                target.sendall(data)
        self._flows[name].wait()
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.mend()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._sockets):
            with suppress(OSError):
                one.close()
