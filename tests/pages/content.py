"""A registry with some of everything that pages show: mirrors, images with history, signatures, charts, private content."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.versions.changes import AddManifest, Commit, RemoveTag, SetTag
from catalog.versions.version_origins import VersionOrigin
from oci import mediatypes
from oci.digest import Digest
from oci.kinds import COSIGN_LAYER, HELM_CONFIG
from oci.manifest import Manifest, required_blobs
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform

PASSWORD = "correct horse"
PACKAGES = 130
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")
STEPS = (
    "/bin/sh -c #(nop) ADD file:4b6ba8d1a4d5 in / ",
    "RUN /bin/sh -c apk add --no-cache ca-certificates curl tzdata # buildkit",
    "COPY --from=build /out/server /usr/local/bin/server # buildkit",
)


def make_image(
    store: MemoryStore, text: str, platform: Platform = AMD64, labels: Mapping[str, str] | None = None, **config: object
) -> Manifest:
    """An image of three layers with a history that tells the commands, and one more that made none."""
    packed = pack_image(
        store,
        [{f"{text}-{number}": text * (40 << number)} for number in range(len(STEPS))],
        platform=platform,
        config={"Labels": dict(labels or {}), **config},
        created="2026-05-04T10:00:00Z",
    )
    document = json.loads(store.blobs[packed.config.digest]) if packed.config else {}
    document["history"] = [{"created_by": step} for step in STEPS] + [{"created_by": "CMD server", "empty_layer": True}]
    described = store.put_blob(json.dumps(document).encode(), mediatypes.OCI_CONFIG)
    manifest = {**json.loads(packed.raw), "config": described.to_json()}
    return store.put_manifest(json.dumps(manifest).encode(), packed.media_type)


def make_spdx(names: Iterable[str]) -> bytes:
    """A bill of materials in SPDX, with a package URL for each package."""
    packages = [
        {
            "name": name,
            "versionInfo": "1.2.3-r4",
            "externalRefs": [
                {"referenceType": "purl", "referenceLocator": f"pkg:apk/alpine/{name}@1.2.3-r4?arch=x86_64"}
            ],
        }
        for name in names
    ]
    return json.dumps({"spdxVersion": "SPDX-2.3", "packages": packages}).encode()


def make_provenance(digest: Digest, source: str, builder: str = "https://builder.example/actions@v2") -> bytes:
    """A statement of SLSA v1 in an envelope with one signature."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {digest.algorithm: digest.encoded}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://builder.example/container/v1",
                "externalParameters": {
                    "workflow": {"repository": source, "ref": "refs/tags/v1.0", "path": "build.yaml"}
                },
                "resolvedDependencies": [
                    {"uri": f"git+{source}@refs/tags/v1.0", "digest": {"gitCommit": "0f" * 20}},
                    {"uri": "pkg:docker/alpine@3.22", "digest": {"sha256": "ab" * 32}},
                    {"uri": EVIL},
                ],
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {
                    "invocationId": "run/77",
                    "startedOn": "2026-05-04T09:00:00Z",
                    "finishedOn": "2026-05-04T09:03:00Z",
                },
            },
        },
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{"sig": "MEUCIQ"}]}
    return json.dumps(envelope).encode()


@dataclass
class Filler:
    """Commits content as pushes and syncs do, `ago` before now."""

    catalog: Catalog
    now: datetime

    def commit(
        self,
        name: str,
        store: MemoryStore,
        tags: Mapping[str, Manifest],
        *,
        operation: str = "push",
        actor: str = "admin",
        ago: timedelta = timedelta(),
        origins: tuple[VersionOrigin, ...] = (),
        removed: tuple[str, ...] = (),
        flow_run_id: str = "",
        private: bool = False,
        others: tuple[Manifest, ...] = (),
    ) -> None:
        """Make one version that sets tags and removes some; `others` come without a tag."""
        manifests: list[Manifest] = []
        for manifest in (*tags.values(), *others):
            manifests += [store.manifests[child.digest] for child in manifest.manifests]
            manifests.append(manifest)
        for manifest in manifests:
            for blob in required_blobs(manifest):
                self.catalog.content.put(store.blobs[blob.digest], blob.digest, name)
            self.catalog.content.put(manifest.raw, manifest.digest, name, manifest.media_type)
        changes = [AddManifest(manifest.descriptor) for manifest in manifests]
        self.catalog.commits.commit(
            Commit(
                repository=name,
                operation=operation,
                changes=(
                    *changes,
                    *(SetTag(tag, manifest.digest) for tag, manifest in tags.items()),
                    *map(RemoveTag, removed),
                ),
                operation_id=f"{operation} {name} {ago}",
                actor=actor,
                created_at=self.now - ago,
                version_origins=origins,
                flow_run_id=flow_run_id,
                message=f"{operation} of {name}",
                serve="private" if private else "public",
            )
        )


def add_account(catalog: Catalog, name: str, grant: str) -> None:
    """Add an account that a rule lets do something."""
    desk = Administration(
        AccessStore(catalog.settings, catalog.state), catalog.events, actor="admin", now=lambda: datetime.now(UTC)
    )
    desk.add_account(name, password=PASSWORD)
    desk.add_rule([f"user:{name}"], parse_grant(grant))


def fill_registry(catalog: Catalog, now: datetime) -> dict[str, Digest]:
    """Fill a new registry; return the digests of what tests look at, by name."""
    filler, store = Filler(catalog, now), MemoryStore()
    found: dict[str, Digest] = {}

    def index(text: str) -> Manifest:
        children = [
            (make_image(store, f"{text} {arch}", arch, {"org.opencontainers.image.version": text}), arch)
            for arch in (AMD64, ARM64)
        ]
        return pack_index(store, children)

    hub = (VersionOrigin("remote", "docker.io/library/alpine"),)
    for number, ago in enumerate((20, 13, 9, 2)):
        tag = f"3.{19 + number}"
        made = index(tag)
        found[f"alpine:{tag}"] = made.digest
        filler.commit(
            "library/alpine", store, {tag: made, "latest": made}, operation="sync", actor="flow",
            ago=timedelta(days=ago), origins=hub, flow_run_id="0a6c4f9e-6a44-4d7c-9f0c-0f7a52c9a1d2",
            removed=("3.19",) if number == 3 else (),
        )  # fmt: skip
    for name, upstream, ago in (
        ("library/debian", "docker.io/library/debian", 26),
        ("k8s/pause", "registry.k8s.io/pause", 6),
        ("quay/prometheus/node-exporter", "quay.io/prometheus/node-exporter", 1),
    ):
        filler.commit(
            name, store, {"stable": index(name)}, operation="sync", actor="flow", ago=timedelta(days=ago),
            origins=(VersionOrigin("remote", upstream),),
        )  # fmt: skip
    server = make_image(
        store, "server", AMD64, {"org.opencontainers.image.title": "server", "evil": EVIL},
        Entrypoint=["/usr/local/bin/server"], Cmd=["--listen", ":8080"], User="65532", WorkingDir="/srv",
        Env=["PATH=/usr/local/bin:/usr/bin", "MODE=production"], ExposedPorts={"8080/tcp": {}},
    )  # fmt: skip
    found["server"] = server.digest
    first = make_image(store, "server 1.0")
    found["server:v1.0"] = first.digest
    filler.commit("team/server", store, {"v1.0": first}, ago=timedelta(days=12), actor="ci")
    filler.commit("team/server", store, {"v1.1": server, "latest": server}, ago=timedelta(hours=30), actor="ci")
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": server.digest}}}).encode()
    signature = pack_artifact(
        store, "application/vnd.dev.cosign.artifact.sig.v1+json", [(COSIGN_LAYER, payload)], subject=server,
        annotations={"dev.cosignproject.cosign/signature": "MEUCIQ", "note": EVIL},
    )  # fmt: skip
    names = ["openssl", EVIL, *(f"lib{number}" for number in range(PACKAGES - 2))]
    sbom = pack_artifact(store, "application/spdx+json", [("application/spdx+json", make_spdx(names))], subject=server)
    provenance = pack_artifact(
        store, "application/vnd.in-toto+json",
        [("application/vnd.dsse.envelope.v1+json", make_provenance(first.digest, "https://git.example/team/server"))],
        subject=first,
    )  # fmt: skip
    sbom_signature = pack_artifact(
        store, "application/vnd.dev.cosign.artifact.sig.v1+json", [(COSIGN_LAYER, b"{}")], subject=sbom
    )
    filler.commit(
        "team/server",
        store,
        {},
        ago=timedelta(hours=29),
        actor="flow",
        operation="sign",
        others=(signature, sbom, sbom_signature, provenance),
    )
    found["signature"] = signature.digest
    chart = pack_artifact(
        store, "", [("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart")],
        config=(HELM_CONFIG, b'{"name": "gateway", "version": "1.4.2"}'),
    )  # fmt: skip
    filler.commit("charts/gateway", store, {"1.4.2": chart}, ago=timedelta(days=4), actor="ci")
    model = pack_artifact(store, "application/vnd.example.model", [("application/octet-stream", b"weights" * 4000)])
    filler.commit("models/tiny", store, {"2026-05": model}, ago=timedelta(days=3), actor="research")
    flatpak = make_image(store, "flatpak", AMD64, {"org.flatpak.ref": "app/org.example.Editor/x86_64/stable"})
    filler.commit("apps/editor", store, {"stable": flatpak}, ago=timedelta(days=5), actor="ci")
    secret = make_image(store, "secret", AMD64, {"codename": "nightjar"})
    found["secret"] = secret.digest
    filler.commit("private/nightjar", store, {"v9": secret}, ago=timedelta(hours=3), private=True)
    evil = pack_artifact(store, "application/vnd.example.evil", annotations={"org.opencontainers.image.title": EVIL})
    filler.commit("odd/names", store, {"v1": evil}, ago=timedelta(hours=8))
    found["evil"] = evil.digest
    for number, tag in enumerate(("v1", "unreleased")):
        made = make_image(store, f"heron {tag}", AMD64, {"release": tag})
        found[f"heron:{tag}"] = made.digest
        filler.commit("private/heron", store, {tag: made}, ago=timedelta(hours=40 - number), private=True)
    now = filler.now
    stable = Distribution("stable/alpine", "library/alpine", now, now, version=2, description=EVIL)
    catalog.distributions.put(stable, actor="admin")
    released = Distribution("released/heron", "private/heron", now, now, version=1)
    catalog.distributions.put(released, actor="admin")
    add_account(catalog, "bob", "pull:team/**")
    return found
