"""What questions answer, worked out in plain Python from snapshots and the images that a test has made."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot

Row = tuple[Any, ...]
ARM = "linux/arm64"
SIGNATURES = ("application/vnd.dev.cosign.artifact.sig.v1+json",)
BASE_NAME = "org.opencontainers.image.base.name"


@dataclass(frozen=True)
class Image:
    """A manifest as a test has made it; `parts` are (role, digest, size)."""

    digest: str
    kind: str
    size: int
    artifact_type: str = ""
    platform: str = ""
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    parts: tuple[tuple[str, str, int], ...] = ()
    child_platforms: tuple[str, ...] = ()

    @property
    def layers(self) -> list[str]:
        return [digest for role, digest, _ in self.parts if role == "layer"]

    @property
    def bytes(self) -> int:
        return self.size + sum(size for role, _, size in self.parts if role != "manifest")


@dataclass
class Reference:
    """The latest snapshots, and every manifest by digest."""

    catalog: Catalog
    images: Mapping[str, Image]

    def __post_init__(self) -> None:
        self.latest: dict[str, Snapshot] = {
            name: self.catalog.snapshots.get(name) for name in self.catalog.snapshots.names()
        }

    def held(self, kind: str = "") -> Iterator[tuple[str, Image]]:
        for name, snapshot in self.latest.items():
            for digest in snapshot.manifests:
                if not kind or self.images[str(digest)].kind == kind:
                    yield name, self.images[str(digest)]

    def tags(self) -> Iterator[tuple[str, str, Image]]:
        for name, snapshot in self.latest.items():
            for tag, digest in snapshot.tags.items():
                yield name, tag, self.images[str(digest)]

    def biggest_images(self) -> list[Row]:
        tagged = defaultdict(list)
        for name, tag, image in self.tags():
            tagged[name, image.digest].append(tag)
        return [
            (name, image.digest, image.bytes, len(image.layers), ", ".join(sorted(tagged[name, image.digest])) or None)
            for name, image in self.held("image")
        ]

    def _grouped(self, kinds: tuple[str, ...], key: Callable[[Image], Any]) -> dict[Any, tuple[set[str], set[str]]]:
        found: dict[Any, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        for name, image in self.held():
            if image.kind in kinds or not kinds:
                found[key(image)][0].add(image.digest)
                found[key(image)][1].add(name)
        return found

    def images_by_base_layer(self) -> list[Row]:
        groups = self._grouped(("image",), lambda image: image.layers[0])
        return [
            (
                layer,
                len(images),
                len(names),
                max(self.images[one].labels.get(BASE_NAME, "") for one in images),
                min(names),
            )
            for layer, (images, names) in groups.items()
        ]

    def images_by_label(self) -> list[Row]:
        groups = self._grouped(("image",), lambda image: image.labels.get("team"))
        return [
            (value, len(images), len(names), min(names))
            for value, (images, names) in groups.items()
            if value is not None
        ]

    def images_by_platform(self) -> list[Row]:
        groups = self._grouped(("image",), lambda image: image.platform)
        return [(*platform.split("/"), "", len(images), len(names)) for platform, (images, names) in groups.items()]

    def images_on_base(self) -> list[Row]:
        return [
            (image.labels[BASE_NAME], name, tag, image.digest)
            for name, tag, image in self.tags()
            if image.kind == "image" and image.labels.get(BASE_NAME)
        ]

    def kinds(self) -> list[Row]:
        groups = self._grouped((), lambda image: (image.kind, image.artifact_type))
        return [(*key, len(images), len(names)) for key, (images, names) in groups.items()]

    def old_images(self) -> list[Row]:
        return [
            (name, tag, image.digest)
            for name, tag, image in self.tags()
            if image.kind == "image" and image.created < "2020"
        ]

    def same_content(self) -> list[Row]:
        found = defaultdict(list)
        for name, tag, image in self.tags():
            found[image.digest].append((name, tag))
        return [
            (digest, len({name for name, _ in places}), ", ".join(f"{name}:{tag}" for name, tag in sorted(places)))
            for digest, places in found.items()
            if len({name for name, _ in places}) > 1
        ]

    def shared_layers(self) -> list[Row]:
        places: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, snapshot in self.latest.items():
            for digest, size in snapshot.blobs.items():
                places[str(digest), size].append(name)
        return [
            (digest, size, len(names), size * (len(names) - 1), min(names))
            for (digest, size), names in places.items()
            if len(names) > 1
        ]

    def usage(self) -> list[Row]:
        used: dict[str, dict[str, int]] = {}
        for name in self.latest:
            blobs: dict[str, int] = {}
            used[name] = blobs
            for version in self.catalog.history.versions(name):
                snapshot = self.catalog.snapshots.get(name, version.number)
                blobs |= {str(digest): size for digest, size in snapshot.blobs.items()}
                blobs |= {str(digest): self.images[str(digest)].size for digest in snapshot.manifests}
        spread = Counter(digest for blobs in used.values() for digest in blobs)
        return [
            (
                name,
                sum(blobs.values()),
                sum(size for digest, size in blobs.items() if spread[digest] > 1),
                sum(size for digest, size in blobs.items() if spread[digest] == 1),
            )
            for name, blobs in used.items()
            if blobs
        ]

    def unsigned_images(self) -> list[Row]:
        signed = {(name, image.subject) for name, image in self.held() if image.artifact_type in SIGNATURES}
        return [
            (name, tag, image.digest, image.kind)
            for name, tag, image in self.tags()
            if image.kind in ("image", "index") and (name, image.digest) not in signed
        ]

    def without_sbom(self) -> list[Row]:
        having = {(name, image.subject) for name, image in self.held("sbom")}
        return [
            (name, tag, image.digest)
            for name, tag, image in self.tags()
            if image.kind == "image" and (name, image.digest) not in having
        ]

    def without_platform(self) -> list[Row]:
        found = []
        for name, tag, image in self.tags():
            offered = {image.platform} if image.kind == "image" else set()
            offered |= set(image.child_platforms) if image.kind in ("index", "artifact") else set()
            if offered and ARM not in offered:
                found.append((name, tag, ", ".join(sorted(offered))))
        return found

    def untagged(self) -> list[Row]:
        tagged = {(name, image.digest) for name, _, image in self.tags()}
        inside = {(name, digest) for name, image in self.held("index") for _, digest, _ in image.parts}
        return [
            (name, image.digest, image.kind, image.size)
            for name, image in self.held()
            if (name, image.digest) not in tagged | inside and not image.subject
        ]

    def used_by(self, digest: str) -> list[Row]:
        return [
            (name, image.digest, role, position)
            for name, image in self.held()
            for position, (role, part, _) in enumerate(image.parts)
            if part == digest
        ]

    def where_is(self, digest: str) -> list[Row]:
        found = []
        for name, snapshot in self.latest.items():
            blobs, manifests = set(map(str, snapshot.blobs)), set(map(str, snapshot.manifests))
            if digest in blobs | manifests:
                tags = sorted(tag for tag, target in snapshot.tags.items() if target == digest)
                found.append((name, "manifest" if digest in manifests else "blob", ", ".join(tags) or None))
        return found

    def stale_repositories(self) -> list[Row]:
        return [(name, snapshot.version, len(snapshot.tags)) for name, snapshot in self.latest.items()]
