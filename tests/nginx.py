"""A real nginx in front of our registry, with the configuration that `deploy/nginx/entrepot.conf` shows."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT, Certificate, Child, Children, answers, free_port, tool

EXAMPLE = ROOT / "deploy" / "nginx" / "entrepot.conf"
REMEMBERING = ROOT / "deploy" / "nginx" / "public-blobs.inc"
"""What the example may include, so that nginx remembers who may have a public blob."""
OFFLOAD = {"ENTREPOT_OFFLOAD": "x-accel:/blobs", "ENTREPOT_TRUSTED_PROXIES": "127.0.0.1"}
"""The settings that belong to the example."""

_MAIN = """
daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  log_format sent '$request_method $uri $status $body_bytes_sent of_which_proxied=$upstream_response_length';
  access_log {log}; log_subrequest on; keepalive_requests 1000000; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {before}
  include {folder}/entrepot.conf;
  server {{
    listen 127.0.0.1:{files_port}; root {blobs}; access_log off; sendfile on; tcp_nopush on;
    location = /ready {{ return 200; }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx: `port` leads to our registry, `files_port` to the files of its storage folder, whoever asks."""

    child: Child
    port: int
    files_port: int
    certificate: Certificate | None
    log: Path | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, the registry part of a reference."""
        return f"127.0.0.1:{self.port}"

    def sent(self) -> list[str]:
        """Return what it has sent: method, path of the file, status, bytes, and the bytes of it that came from us."""
        assert self.log is not None
        return self.log.read_text().splitlines()

    def decisions(self) -> int:
        """Return how often it has asked us who may have a blob, where it remembers the answers."""
        return sum(line.startswith("GET /.entrepot-decides 200") and not line.endswith("=-") for line in self.sent())

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"


def render_example(
    *,
    port: int,
    plain_port: int,
    upstreams: Sequence[int],
    blobs: Path,
    certificate: Certificate | None,
    remembers: bool = False,
) -> str:
    """Return the example with ports, folder and certificate of a test; without a certificate it listens in plain HTTP.

    It includes `public-blobs.inc` where nginx is to remember who may have a public blob.
    """
    listen = f"listen 127.0.0.1:{port}"
    changes = {
        "    server 127.0.0.1:5080 fail_timeout=1s;\n": "".join(
            f"    server 127.0.0.1:{upstream} fail_timeout=1s;\n" for upstream in upstreams
        ),
        "    listen 80;\n    listen [::]:80;\n": f"    listen 127.0.0.1:{plain_port};\n",
        "    listen 443 ssl;\n    listen [::]:443 ssl;\n": f"    {listen}{' ssl' if certificate else ''};\n",
        "alias /var/lib/entrepot/blobs/;": f"alias {blobs}/;",
        "ssl_certificate /etc/nginx/tls/tls.crt;": f"ssl_certificate {certificate.cert_file};" if certificate else "",
        "ssl_certificate_key /etc/nginx/tls/tls.key;": (
            f"ssl_certificate_key {certificate.key_file};" if certificate else ""
        ),
    }
    text = EXAMPLE.read_text()
    if remembers:
        changes |= {
            "# include conf.d/public-blobs.inc;": f"{REMEMBERING.read_text()}#",
            "root /var/lib/entrepot;": f"root {blobs.parent};",
        }
    for old, new in changes.items():
        assert text.count(old) == 1, f"{EXAMPLE.name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


def lines_before(folder: Path) -> str:
    """Return the lines that `public-blobs.inc` wants outside of any server, with a folder of a test's own."""
    lines = [line[1:].strip() for line in REMEMBERING.read_text().splitlines() if line.startswith("#   ")]
    return "\n  ".join(lines).replace("/var/cache/nginx/entrepot", str(folder / "cache"))


def write_nginx(folder: Path, text: str, *, files_port: int, blobs: Path, log: Path | None = None) -> list[str]:
    """Write a configuration that includes `text` as conf.d would; return nginx's command for it."""
    folder.mkdir(parents=True)
    before = lines_before(folder) if "auth_request" in text else ""
    logging = f"{log} sent" if log else "off"
    (folder / "entrepot.conf").write_text(text)
    main = _MAIN.format(folder=folder, before=before, files_port=files_port, blobs=blobs, log=logging)
    (folder / "nginx.conf").write_text(main)
    return [tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def check_nginx(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Let nginx read its configuration, and no more: `nginx -t`."""
    return subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)


def start_nginx_before(
    children: Children,
    *upstreams: int,
    blobs: Path,
    certificate: Certificate | None = None,
    logs: bool = False,
    remembers: bool = False,
) -> Nginx:
    """Start nginx before a registry of ours at that port, or replicas at several, with the storage folder `blobs`.

    `logs` what it sends.
    """
    port, plain_port, files_port = free_port(), free_port(), free_port()
    text = render_example(
        port=port,
        plain_port=plain_port,
        upstreams=upstreams,
        blobs=blobs,
        certificate=certificate,
        remembers=remembers,
    )
    folder = children.folder / f"nginx-{len(children.all)}"
    log = folder / "access.log" if logs else None
    child = children.start("nginx", write_nginx(folder, text, files_port=files_port, blobs=blobs, log=log))
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{files_port}/ready"))
    return Nginx(child, port, files_port, certificate, log)
