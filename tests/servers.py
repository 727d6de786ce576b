"""Real servers and real clients for tests: each in a folder of its own, on a free loopback port, stopped by pid."""

import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.fork_server import ForkedProcess, ForkServer

ROOT = Path(__file__).resolve().parent.parent
# Read before conftest.py empties the environment of ENTREPOT_… settings.
TOOLS_REQUIRED = os.environ.get("ENTREPOT_REQUIRE_TOOLS") == "1"
# Built where Go is there.
GO_TOOLS = frozenset(
    {"oras", "helm", "cosign", "versitygw", "conformance", "compose-go", "policy-pull", "notation-policy"}
)
# Below the kernel's ephemeral range (32768 and up), so that no outgoing connection takes a port between choice and use.
FIRST_PORT, LAST_PORT = 20000, 32000


_FOREIGN = ("ENTREPOT_", "PREFECT_", "XDG_", "DOCKER_", "CONTAINERS_", "AWS_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"}


def isolate(environ: MutableMapping[str, str], home: Path) -> None:
    """Take the user's settings out of `environ` and point every tool's idea of home into `home`."""
    for name in list(environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES or name == "REGISTRY_AUTH_FILE":
            del environ[name]
    home.mkdir(parents=True, exist_ok=True)
    environ["HOME"] = str(home)
    environ["ENTREPOT_HOME"] = str(home / "entrepot")
    environ["PREFECT_HOME"] = str(home / "prefect")
    environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    environ["DO_NOT_TRACK"] = "1"
    # Else each of the many processes that tests start compiles our modules again, for up to a second.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)


def tool(name: str) -> str:
    """The path of an executable; skip the test when it is missing, or fail when ENTREPOT_REQUIRE_TOOLS=1."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (`make tools` as root installs the system tools that tests use)"
    if TOOLS_REQUIRED and (name not in GO_TOOLS or shutil.which("go")):
        pytest.fail(f"{reason}; ENTREPOT_REQUIRE_TOOLS=1 makes that a failure", pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A loopback port that nothing listens on now; drawn at random, so that parallel runs do not meet."""
    for _ in range(100):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port found between {FIRST_PORT} and {LAST_PORT}")


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll `ready` until it is true; AssertionError that says `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not so after {seconds:.0f} s"
        time.sleep(0.02)


def answers(url: str, *, ca_file: Path | None = None, statuses: Sequence[int] = (200,)) -> bool:
    """Whether a GET of `url` is answered with one of `statuses`."""
    try:
        return get(url, ca_file=ca_file).status_code in statuses
    except httpx.TransportError:
        return False


def get(url: str, *, ca_file: Path | None = None, login: str | None = None) -> httpx.Response:
    """Send one GET that trusts `ca_file`, with a `login` of the form `user:password`, through no proxy."""
    trusted = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else False
    with httpx.Client(verify=trusted, trust_env=False, timeout=5) as client:
        return client.get(url, auth=httpx.BasicAuth(*login.split(":", 1)) if login else None)


# --- child processes -------------------------------------------------------------------------------------------

_forks: list[ForkServer] = []


@contextlib.contextmanager
def forked_from(server: ForkServer) -> Iterator[None]:
    """Have processes of ours forked from `server`, where they can be; outside of this each is started anew."""
    _forks.append(server)
    try:
        yield
    finally:
        _forks.remove(server)
        server.close()


def forks(command: Sequence[str], env: Mapping[str, str]) -> ForkServer | None:
    """What a command with this environment is to be forked from; None for one to be started anew."""
    return next((server for server in reversed(_forks) if server.can_start(command, env)), None)


def run_command(
    command: Sequence[str], *, text: str = "", env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end, whatever its exit code, with `text` as its input and `env` on top of the test's."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        process = _popen(command, env or {}, ROOT, stdin=given, stdout=out, stderr=err)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(15)
            raise
        assert process.returncode is not None
        shown = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    return subprocess.CompletedProcess(list(command), process.returncode, *shown)


def _popen(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    stdin: IO[bytes] | int,
    stdout: IO[bytes],
    stderr: IO[bytes],
    anew: bool = False,
    leads: bool = False,
) -> "subprocess.Popen[bytes] | ForkedProcess":
    whole = {**os.environ, **env}
    if not anew and (server := forks(command, whole)):
        return server.start(
            command, env=whole, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=leads
        )
    return subprocess.Popen(
        list(command), stdin=stdin, stdout=stdout, stderr=stderr, env=whole, cwd=cwd, start_new_session=leads
    )


@dataclass
class Child:
    """A process of ours: its output goes to `log`, it is awaited, stopped and killed by its own pid.

    It leads a process group of its own, which `kill` and the last step of `stop` take down with it. `anew` starts it without
    what others have imported before, for its memory to be its own.
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    anew: bool = False
    ends_by: int = signal.SIGTERM
    process: "subprocess.Popen[bytes] | ForkedProcess | None" = None

    def start(self) -> "Child":
        """Start it with the test's environment and `env` on top; its log goes on where it ended."""
        assert not self.running, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = _popen(
                self.command,
                self.env,
                self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                anew=self.anew,
                leads=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float = 30) -> "Child":
        """Poll until `ready` while the process lives; AssertionError with its log otherwise."""

        def ready_or_dead() -> bool:
            assert self.running, f"{self.name} ended with {self.process and self.process.returncode}\n{self.tail()}"
            return ready()

        try:
            wait_until(ready_or_dead, seconds, f"{self.name} is ready")
        except AssertionError as error:
            if self.running:
                raise AssertionError(f"{error}\n{self.tail()}") from None
            raise
        return self

    def wait(self, seconds: float = 30) -> int:
        """Its exit code, once it ends by itself."""
        assert self.process is not None
        return self.process.wait(seconds)

    def signal(self, number: int) -> None:
        """Send a signal to this one process."""
        if self.running:
            os.kill(self.pid, number)

    def stop(self, *, seconds: float = 15) -> int:
        """Send SIGTERM, or what it ends by, then SIGKILL to its group after `seconds`; return its exit code."""
        assert self.process is not None
        self.signal(self.ends_by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """SIGKILL to the process and what it started in its group, as a power cut would; returns its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.process.wait(15)

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 60) -> str:
        """The end of its log, headed by its name."""
        return "\n".join([f"--- log of {self.name} ({' '.join(self.command)})", *self.output().splitlines()[-lines:]])

    def memory(self) -> int:
        """Resident bytes now (VmRSS)."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """Resident bytes at most so far (VmHWM)."""
        return self._status("VmHWM")

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.name}: no {key} in its status")


@dataclass
class Children:
    """The processes of one test, module or benchmark; leaving it stops all that still run, last started first."""

    folder: Path
    all: list[Child] = field(default_factory=list)

    def add(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        anew: bool = False,
    ) -> Child:
        """A child that is not started yet."""
        log = self.folder / "logs" / f"{len(self.all)}-{name}.log"
        child = Child(name, command, log, dict(env or {}), cwd, anew)
        self.all.append(child)
        return child

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        anew: bool = False,
    ) -> Child:
        """A child that was just started."""
        return self.add(name, command, env=env, cwd=cwd, anew=anew).start()

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self.all):
            if child.process is not None:
                child.stop()


# --- certificates ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """PEM files of a server certificate for loopback, and of the authority that signed it.

    `folder` holds `ca.crt` alone, which is what `podman --cert-dir` and `skopeo --src-cert-dir` want.
    """

    folder: Path
    ca_file: Path
    cert_file: Path
    key_file: Path


def make_certificate(folder: Path, *, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> Certificate:
    """A new authority and a server certificate for `hosts`, valid for a day."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Entrepot test authority")])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    key_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    ca = (
        _builder(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(key_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _builder(server, authority, server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    trusted = folder / "trusted"
    trusted.mkdir(parents=True)
    made = Certificate(trusted, trusted / "ca.crt", folder / "server.pem", folder / "server-key.pem")
    made.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.cert_file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.key_file.touch(mode=0o600)
    made.key_file.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- registries ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DockerRegistry:
    """A running docker-registry of the distribution; `username` is empty when everybody may do everything."""

    child: Child
    port: int
    storage: Path
    username: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, the registry part of a reference."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def creds(self) -> str:
        """`user:password`, for skopeo's and podman's `--creds`."""
        return f"{self.username}:{self.password}"


# The one user of a docker-registry with logins, and the bcrypt hash of the password (cost 5, to be quick).
UPSTREAM_USER, UPSTREAM_PASSWORD = "puller", "pull-secret"
UPSTREAM_HASH = "$2y$05$iEhYgHaHabE.SNIAJQhcy.ETl4kXX2A.w69uOAwtRtc5zWFv7cfd."


def start_docker_registry(
    children: Children,
    *,
    auth: bool = False,
    storage: Path | None = None,
    port: int | None = None,
    settings: Mapping[str, object] | None = None,
    certificate: Certificate | None = None,
) -> DockerRegistry:
    """Start Debian's docker-registry with deletes on, by TLS where a certificate is given.

    `auth` asks for UPSTREAM_USER, `storage` and `port` are of an earlier one, `settings` replace top-level keys of its
    configuration.
    """
    binary = tool("docker-registry")
    number = len(children.all)
    folder = children.folder / f"docker-registry-{number}"
    storage = storage or folder / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    tls = {"tls": {"certificate": str(certificate.cert_file), "key": str(certificate.key_file)}} if certificate else {}
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of one test", **tls},
    }
    if auth:
        users = folder / "htpasswd"
        users.write_text(f"{UPSTREAM_USER}:{UPSTREAM_HASH}\n")
        config["auth"] = {"htpasswd": {"realm": "upstream", "path": str(users)}}
    config.update(settings or {})
    # The configuration is YAML, and JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(config))
    child = children.start("docker-registry", [binary, "serve", str(folder / "config.yml")])
    url, ca_file = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v2/", certificate.ca_file if certificate else None
    child.wait_ready(lambda: answers(url, ca_file=ca_file, statuses=(200, 401)))
    return DockerRegistry(child, port, storage, UPSTREAM_USER if auth else "", UPSTREAM_PASSWORD if auth else "")


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one bucket; its objects are files of `folder`."""

    child: Child
    port: int
    folder: Path

    bucket = "blobs"

    @property
    def env(self) -> dict[str, str]:
        """What makes an installation of ours keep its blobs there."""
        return {
            "ENTREPOT_STORAGE": f"s3://{self.bucket}/registry",
            "ENTREPOT_S3_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def start_s3(children: Children) -> S3Server:
    """Start the Versity S3 gateway over a folder."""
    binary, port = tool("versitygw"), free_port()
    folder = children.folder / f"s3-{len(children.all)}"
    for name in (f"data/{S3Server.bucket}", "metadata"):
        (folder / name).mkdir(parents=True)
    arguments = ["--port", f"127.0.0.1:{port}", "--access", "tester", "--secret", "tester-secret", "--quiet"]
    child = children.start(
        "s3", [binary, *arguments, "posix", "--sidecar", str(folder / "metadata"), str(folder / "data")]
    )
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/", statuses=(200, 403)))
    return S3Server(child, port, folder / "data" / S3Server.bucket)


@dataclass(frozen=True)
class EntrepotServer:
    """A running registry of ours; `child` may be killed and started again on the same port and home."""

    child: Child
    port: int
    home: Path
    certificate: Certificate | None = None
    username: str = "admin"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, the registry part of a reference."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"

    @property
    def password(self) -> str:
        """The administrator's password, as the first start wrote it."""
        return (self.home / "admin-password").read_text().strip()

    @property
    def creds(self) -> str:
        """`admin:PASSWORD`, for skopeo's and podman's `--creds`."""
        return f"{self.username}:{self.password}"

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, as httpx takes them."""
        return self.username, self.password

    def wait_ready(self, *, seconds: float = 60) -> "EntrepotServer":
        """Await `/readyz`."""
        ca_file = self.certificate.ca_file if self.certificate else None
        self.child.wait_ready(lambda: answers(f"{self.url}/readyz", ca_file=ca_file), seconds=seconds)
        return self

    def restart(self) -> "EntrepotServer":
        """Start it again after `child.stop()` or `child.kill()`, and await it."""
        self.child.start()
        return self.wait_ready()


def start_entrepot(
    children: Children,
    home: Path,
    *,
    certificate: Certificate | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ready: bool = True,
    anew: bool = False,
) -> EntrepotServer:
    """Start our registry on a free loopback port over `home`, by TLS where a certificate is given; `anew` as of a Child."""
    port = free_port()
    command = [sys.executable, "-m", "registry_api", "--listen", f"127.0.0.1:{port}", "--home", str(home)]
    if certificate is not None:
        command += ["--tls-cert", str(certificate.cert_file), "--tls-key", str(certificate.key_file)]
    child = children.start("entrepot", [*command, *arguments], env=env, anew=anew)
    server = EntrepotServer(child, port, home, certificate)
    return server.wait_ready() if ready else server


# --- clients ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Client:
    """A command of somebody else's, run with state, policy and logins of its own: call it with its arguments."""

    binary: str
    options: tuple[str, ...]
    env: Mapping[str, str]

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run it; a non-zero exit raises AssertionError with its output, unless `check` is false."""
        done = subprocess.run(
            [self.binary, *self.options, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self.env},
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join([self.binary, *arguments])} exited {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done


def _container_settings(folder: Path) -> dict[str, str]:
    """Settings files of the containers tools under `folder`, and the environment that points to them."""
    home = folder / "home"
    settings = home / ".config" / "containers"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    (settings / "registries.conf").write_text('unqualified-search-registries = []\nshort-name-mode = "disabled"\n')
    (settings / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder / "graph"}"\nrunroot = "{folder / "run"}"\n'
    )
    (settings / "containers.conf").write_text('[engine]\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n')
    (folder / "auth.json").write_text("{}")
    return {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "CONTAINERS_CONF": str(settings / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(settings / "registries.conf"),
        "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
        "TMPDIR": str(folder),
    }


def make_skopeo(folder: Path) -> Client:
    """skopeo with a policy that accepts everything, and no settings or logins of the user's."""
    env = _container_settings(folder)
    policy = folder / "home" / ".config" / "containers" / "policy.json"
    return Client(tool("skopeo"), ("--policy", str(policy), "--tmpdir", str(folder)), env)


def make_podman(folder: Path) -> Client:
    """podman with storage roots of its own under `folder`: a short path, driver vfs, which needs no kernel support."""
    binary = tool("podman")
    env = _container_settings(folder)
    options = ("--root", str(folder / "graph"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "libpod"))
    return Client(binary, (*options, "--storage-driver", "vfs"), env)
