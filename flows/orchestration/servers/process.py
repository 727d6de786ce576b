"""Our Prefect server as a process: on a socket that is held here, with a login that only its environment carries."""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.settings import Settings
from flows.orchestration.processes.children import Child, Processes
from flows.orchestration.servers.home import server_environment
from oci.errors import SettingsInvalid

_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class PrefectProcess:
    """What a server of ours is started with. The socket stays ours: nobody else takes the port while the server is started
    again, so that its clients give their login to no other process."""

    settings: Settings
    socket: socket.socket
    login: str = field(repr=False)
    api_only: bool = False

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.socket.getsockname()[1])

    @property
    def api_url(self) -> str:
        """Its API."""
        return f"http://127.0.0.1:{self.port}/api"

    def start(self, processes: Processes, name: str, *, again: bool = False) -> Child:
        """Start it, or start it again."""
        number = self.socket.fileno()
        command = [sys.executable, "-m", "flows.orchestration.servers.server", str(self.port), f"--socket={number}"]
        command += ["--api-only"] if self.api_only else []
        env: Mapping[str, str | None] = server_environment(self.settings, self.port, self.login)
        return processes.start(name, command, env=env, is_restarted=True, append=again, pass_fds=(number,))


def loopback_socket(port: int = 0) -> socket.socket:
    """A listening socket of 127.0.0.1, of any free port by default; raise SettingsInvalid, saying how to change a taken one.

    It listens from now on, before its server accepts: a port that is only bound could be taken by another user's process, which
    would be sent the login.
    """
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingsInvalid(
            f"Prefect's server cannot listen on 127.0.0.1:{port} ({error.strerror}); "
            "choose another by --prefect-port or ENTREPOT_PREFECT_API_URL"
        ) from None
    return bound
