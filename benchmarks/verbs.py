"""What flows cost above the plain tools: bundles beside tar and sha256sum, builds beside buildah, layers on demand beside
their upstream."""

import http.client
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.content import Image, make_image, make_layer
from benchmarks.rows import Row
from benchmarks.stage import ENTREPOT, Prefect, Stage, sync_env, timed_command, timed_sync
from benchmarks.syncing import far, fill, relayed
from benchmarks.wire import Server
from tests.servers import DockerRegistry, EntrepotServer, tool

_LAYER = 32 * 1024 * 1024


def verb_rows(stage: Stage, *, rounds: int, layers: int) -> Iterator[Row]:
    """Bundles of `layers` layers of 32 MB, builds on such a layer, and layers on demand."""
    upstream, registry = stage.peer("upstream")
    images = [make_image(f"v{number}", [make_layer(f"verbs {number}", _LAYER)]) for number in range(layers)]
    fill(upstream, "bench/verbs", images)
    prefect = stage.prefect()
    home = stage.folder / "verbs"
    timed_sync(stage, f"{registry.host}/bench/verbs", "bench/verbs", home, prefect)
    yield from _bundles(stage, home, prefect, rounds)
    yield from _builds(stage, prefect, rounds)
    yield from _on_demand(stage, registry, upstream, prefect, rounds)


def _inside(stage: Stage, prefect: Prefect, home: Path, *arguments: str, **env: str) -> float:
    """Seconds inside the flow run of a command."""
    timed_command(stage, arguments[0], [str(ENTREPOT), *arguments], {**sync_env(home, prefect), **env})
    return prefect.last_run_seconds()


def _shell(stage: Stage, command: str) -> float:
    return timed_command(stage, "shell", ["sh", "-ec", command], {})


def _bundles(stage: Stage, home: Path, prefect: Prefect, rounds: int) -> Iterator[Row]:
    exported: list[float] = []
    imported: list[float] = []
    packed: list[float] = []
    unpacked: list[float] = []
    blobs = shlex.quote(str(home / "blobs"))
    for number in range(rounds):
        bundle, archive = stage.folder / f"bundle-{number}.tar", stage.folder / f"plain-{number}.tar"
        exported.append(_inside(stage, prefect, home, "export", str(bundle), "bench/verbs"))
        packed.append(_shell(stage, f"tar -cf {archive} -C {blobs} sha256; sha256sum {archive}; sync {archive}"))
        imported.append(_inside(stage, prefect, stage.folder / f"imported-{number}", "import", str(bundle)))
        target = stage.folder / f"unpacked-{number}"
        found = f"find {target} -type f -exec sha256sum {{}} +"
        unpacked.append(_shell(stage, f"mkdir {target}; tar -xf {archive} -C {target}; {found}; sync -f {target}"))
        for path in (bundle, archive):
            path.unlink()
    note = "inside a running flow; peer: the same bytes by tar and sha256sum, synced to disk"
    yield Row("export a bundle", "s", tuple(exported), tuple(packed), 0.5, "less", note)
    yield Row("import a bundle", "s", tuple(imported), tuple(unpacked), 0.5, "less", note)


def _builds(stage: Stage, prefect: Prefect, rounds: int) -> Iterator[Row]:
    _, running = stage.ours("builds")
    context = stage.folder / "context"
    context.mkdir()
    (context / "Containerfile").write_text("FROM scratch\nCOPY data /data\n")
    ours: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        (context / "data").write_bytes(os.urandom(_LAYER))
        tag = f"bench/built:r{number}"
        arguments = ("build", tag, str(context))
        ours.append(_inside(stage, prefect, running.home, *arguments, ENTREPOT_LISTEN=running.host))
        bare.append(_bare_build(stage, running, context, f"bench/bare:r{number}"))
    running.child.stop()
    note = "inside a running flow; peer: buildah build and push to the same registry"
    yield Row("build an image", "s", tuple(ours), tuple(bare), 1 / 1.5, "less", note)


def _bare_build(stage: Stage, running: EntrepotServer, context: Path, name: str) -> float:
    folder = stage.folder / "buildah"
    folder.mkdir(exist_ok=True)
    policy = folder / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    buildah = f"CONTAINERS_STORAGE_CONF={storage} {tool('buildah')}"
    options = f"--signature-policy {policy} --tls-verify=false"
    return _shell(
        stage,
        f"{buildah} build {options} --isolation chroot --format oci --no-cache --pull-always --iidfile {folder}/iid {context};"
        f"{buildah} push {options} --creds {running.creds} $(cat {folder}/iid) docker://{running.host}/{name};"
        f"{buildah} rmi --force $(cat {folder}/iid)",
    )


def _on_demand(
    stage: Stage, registry: DockerRegistry, upstream: Server, prefect: Prefect, rounds: int
) -> Iterator[Row]:
    """The first byte of layers that nobody has asked for yet; asked of us, and of the upstream itself, near and far away."""
    count = 4 * rounds
    images = [make_image(f"v{number}", [make_layer(f"demand {number}", 4_000_000)]) for number in range(count)]
    fill(upstream, "bench/demand", images)
    for delay in (0.0, 0.02):
        host = relayed(stage, registry.port, delay) if delay else registry.host
        home = stage.folder / f"demand-{delay}"
        command = [str(ENTREPOT), "sync", f"{host}/bench/demand", "demand", "--policy", "on_demand", "--json"]
        timed_command(stage, "sync", command, sync_env(home, prefect))
        server, running = stage.ours(f"demand-{delay}")
        ours: list[float] = []
        direct: list[float] = []
        for image in images:
            path = f"blobs/{_layer_of(image)}"
            direct.append(_first_byte(int(host.rpartition(":")[2]), f"/v2/bench/demand/{path}"))
            ours.append(_first_byte(server.port, f"/v2/demand/{path}"))
        running.child.stop()
        note = f"4 MB layers, each asked for once; upstream {far(delay)}; peer: the upstream asked directly"
        yield Row("first byte of a layer on demand", "ms", tuple(ours), tuple(direct), 1 / 1.5, "less", note)


def _layer_of(image: Image) -> str:
    return image.blobs[1].digest


def _first_byte(port: int, path: str) -> float:
    """Milliseconds from the request to the first byte, on a connection that is open already."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/v2/")
    connection.getresponse().read()
    start = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read(1)
    taken = (time.perf_counter() - start) * 1000
    answer.read()
    connection.close()
    return taken
