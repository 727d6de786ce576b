"""The registries that the pages name, on loopback: one docker-registry behind a proxy that leads every host to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oci.remote.options import RemoteOptions
from tests.forward_proxy import forward_proxy
from tests.mirror import upload
from tests.servers import Children, make_certificate, start_docker_registry

HOSTS = ("127.0.0.1", "registry-1.docker.io", "quay.io", "registry.k8s.io", "registry.example", "mirror.example")
CONTENT = {
    "pause": ("3.9", "3.10"),
    "library/alpine": ("3.20", "3.21", "3.22", "3.22.1", "edge"),
    "library/busybox": ("1.36", "1.37"),
    "demo/app": ("latest",),
    "team/app": ("v1.1", "v1.2", "v1.3-rc1"),
    "prometheus/node-exporter": ("v1.8.2", "v1.9.1"),
    "prom/node-exporter": ("v1.8.2", "v1.9.0"),
}


@contextmanager
def upstreams(children: Children, folder: Path) -> Iterator[dict[str, str]]:
    """Fill and start them; the value is the environment that makes clients reach them."""
    certificate = make_certificate(folder, hosts=HOSTS)
    registry = start_docker_registry(children, certificate=certificate)
    for name, tags in CONTENT.items():
        for tag in tags:
            upload(registry, name, tag, f"{name} {tag}", options=RemoteOptions(ca_file=certificate.ca_file))
    with forward_proxy(leads_to=("127.0.0.1", registry.port)) as proxy:
        yield {"HTTPS_PROXY": proxy.url, "ENTREPOT_CA_FILE": str(certificate.ca_file)}
