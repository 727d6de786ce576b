"""The course of `entrepot up`: everything one machine needs, started, filled once, and watched until it is stopped."""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from catalog.access.store import ADMINISTRATOR, ensure_administrator, password_file
from catalog.prefect.address import PrefectAddress, ensure_login
from catalog.running_instance import Running, write_running
from catalog.settings import Settings, check_address
from flows.demo import upstream as demo
from flows.direct.find_server import is_answering
from flows.orchestration.processes.children import Child, Processes, check_port_is_free
from flows.orchestration.processes.restarts import Restarted
from flows.orchestration.servers.home import (
    prefect_environment,
    prepare_home,
    quiet_environment,
    set_environment,
    worker_environment,
)
from flows.orchestration.servers.process import PrefectProcess, loopback_socket
from flows.runs.pull_command import registry_url
from oci.remote.network.loopback import is_loopback

SERVER_SECONDS, READY_SECONDS = 120.0, 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run: `prefect_port` is None where the settings name a Prefect server on another machine."""

    settings: Settings
    api_url: str
    prefect_port: int | None
    demo_listen: str = ""

    @property
    def ui_url(self) -> str:
        """Prefect's user interface."""
        return self.api_url.removesuffix("/api")


def make_plan(settings: Settings, *, prefect_port: int | None = None, demo_port: int | None = None) -> Plan:
    """Decide what to start; `prefect_port` stands for a server here, whatever the settings say."""
    demo_listen = f"127.0.0.1:{demo_port}" if demo_port else ""
    if prefect_port:
        return Plan(settings, f"http://127.0.0.1:{prefect_port}/api", prefect_port, demo_listen)
    url = urlsplit(settings.prefect_api_url)
    here = url.port or 80 if is_loopback(url.netloc) else None
    return Plan(settings, settings.prefect_api_url.rstrip("/"), here, demo_listen)


def check_ports(plan: Plan) -> None:
    """Raise SettingsInvalid for an address that is refused, and for the first port that is taken."""
    check_address(plan.settings)
    if plan.prefect_port:
        loopback_socket(plan.prefect_port).close()
    host, port = plan.settings.listen_address
    check_port_is_free(host, port, what="the registry", change="--listen or ENTREPOT_LISTEN")
    if plan.demo_listen:
        port = int(plan.demo_listen.rpartition(":")[2])
        check_port_is_free("127.0.0.1", port, what="the demo upstream", change="--demo-port")


class Up:
    """What is up. Use it as: start, then whatever needs it, then `watch`; `processes` stops it all."""

    def __init__(self, plan: Plan, processes: Processes, say: Say) -> None:
        self.plan, self._processes, self._say = plan, processes, say
        self.new_password: str | None = None
        self._restarted: list[Restarted] = []

    def start(self) -> str:
        """Start all, wait until each is ready, register the deployments; return the demo's remote, empty without one.

        1. Server, registry and demo upstream at once. 2. The demo is filled. 3. Deployments. 4. The worker.
        """
        plan, settings, started = self.plan, self.plan.settings, time.monotonic()
        self.new_password = ensure_administrator(settings)
        prepare_home(settings)
        if not settings.work_roots:
            settings.allowed_roots[0].mkdir(exist_ok=True, mode=0o700)
        # 1
        server = self._prepare_server()
        api = PrefectAddress(plan.api_url, server.login if server else "")
        set_environment({**prefect_environment(settings, api), **quiet_environment(debug=False)})
        awaited = self._start_server(server)
        registry = self._start_registry("registry", settings, {})
        upstream = self._start_demo()
        from flows.orchestration import deployments  # imports Prefect, a second that the server needs too

        self._await_registry(registry, settings)
        # 2
        remote = self._fill_demo(upstream) if upstream else ""
        self._say(f"registry     {registry_url(settings)}")
        # 3
        self._await_api(awaited)
        changed = deployments.register(own=server is not None)
        self._say(f"Prefect      {plan.ui_url}" + (f" ({changed} deployments registered)" if changed else ""))
        # 4
        self._start_worker(api)
        running = Running(os.getpid(), plan.ui_url, plan.api_url, registry_url(settings), server is not None)
        write_running(settings, running)
        self._say(f"all is up after {time.monotonic() - started:.1f} s")
        return remote

    def _prepare_server(self) -> PrefectProcess | None:
        port, settings = self.plan.prefect_port, self.plan.settings
        return PrefectProcess(settings, loopback_socket(port), ensure_login(settings)) if port else None

    def _start_server(self, server: PrefectProcess | None) -> Child | None:
        if server is None:
            return None
        kept = Restarted(
            self._processes, lambda again: server.start(self._processes, "prefect-server", again=again), self._say
        )
        self._restarted.append(kept)
        return kept.child

    def _await_api(self, server: Child | None) -> None:
        url = self.plan.api_url
        if server is not None:
            self._processes.wait_ready(server, lambda: is_answering(url), seconds=SERVER_SECONDS)

    def _start_registry(self, name: str, settings: Settings, env: dict[str, str | None]) -> Child:
        command = [sys.executable, "-m", "registry_api", "--home", str(settings.root), "--listen", settings.listen]
        for option, file in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
            command += [option, str(file)] if file else []
        if settings.allow_plain_http:
            command.append("--allow-plain-http")
        return self._processes.start(name, command, env=env)

    def _await_registry(self, registry: Child, settings: Settings) -> None:
        url = f"{registry_url(settings)}/readyz"
        self._processes.wait_ready(registry, lambda: _is_ready(url), seconds=READY_SECONDS)

    def _start_demo(self) -> Child | None:
        if not self.plan.demo_listen:
            return None
        settings = demo.demo_settings(self.plan.settings, self.plan.demo_listen)
        ensure_administrator(settings)
        return self._start_registry("demo-upstream", settings, demo.DEMO_ENVIRONMENT)

    def _fill_demo(self, upstream: Child) -> str:
        settings = demo.demo_settings(self.plan.settings, self.plan.demo_listen)
        self._await_registry(upstream, settings)
        return asyncio.run(demo.seed(settings, registry_url(settings)))

    def _start_worker(self, api: PrefectAddress) -> None:
        ready = self.plan.settings.root / "logs" / "worker.ready"
        env = worker_environment(self.plan.settings, api, os.environ, str(Path(sys.executable).parent))
        command = [sys.executable, "-m", "flows.orchestration.worker", str(ready), *([] if api.login else ["--reap"])]

        def start(again: bool) -> Child:
            ready.unlink(missing_ok=True)
            return self._processes.start("worker", command, env=env, is_restarted=True, append=again)

        kept = Restarted(self._processes, start, self._say)
        self._restarted.append(kept)
        self._processes.wait_ready(kept.child, ready.exists, seconds=READY_SECONDS)

    def check(self) -> None:
        """Start again what has ended of Prefect; raise ProcessFailed when anything else has ended."""
        for kept in self._restarted:
            kept.tend()
        self._processes.check()

    def watch(self) -> None:
        """Wait for ever, or until `check` raises."""
        while True:
            self.check()
            time.sleep(0.5)

    def flow_run_url(self, run_id: str) -> str:
        """Return where Prefect's user interface shows a flow run."""
        return f"{self.plan.ui_url}/runs/flow-run/{run_id}"

    def prefect_login_text(self) -> str:
        """Return where Prefect's login stands; of a server that is not this home's nothing is known."""
        if self.plan.prefect_port is None:
            return "its own"
        return f"the whole line in {self.plan.settings.prefect_login_file}"

    def password_text(self) -> str:
        """Return where the administrator's password stands; at the first start the password itself."""
        file = password_file(self.plan.settings)
        if self.new_password:
            return f"{self.new_password} (kept in {file})"
        return (
            f"in {file}"
            if file.exists()
            else f"as it was set; `entrepot user set {ADMINISTRATOR} --password` sets another"
        )


def _is_ready(url: str) -> bool:
    """Return whether a registry of ours answers; what certificate it has does not matter for that."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=2.0) as response:
            return bool(response.status == 200)
    except (HTTPError, URLError, OSError):
        return False
