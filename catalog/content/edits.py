"""Edits of a version's content: tags set, taken away, and content removed. Pure rules; Pulp calls them tag, untag and remove."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from catalog.filters.tags import parse_tag_pattern
from catalog.versions.removal import Children, plan_removal
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import Conflict, DigestInvalid, InvalidInput, ManifestUnknown
from oci.reference import is_tag, parse_tag


@dataclass(frozen=True, slots=True)
class TagEdit:
    """Point a tag to what another tag, or a digest, names."""

    tag: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> "TagEdit":
        """Read `TAG=TAG` or `TAG=DIGEST`; raise InvalidInput."""
        tag, sign, reference = text.partition("=")
        if not sign or not reference:
            raise InvalidInput(f"{text[:200]!r} sets no tag; expected NEW=TAG or NEW=DIGEST")
        return cls(parse_tag(tag), reference if is_tag(reference) else str(Digest.parse(reference)))


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to be done to content, in this order: `tags` are set, tags that match a pattern of `untag` are taken away from
    manifests that stay, and what `remove` names (tags by pattern, manifests by digest) goes with all that belongs to it alone."""

    tags: tuple[TagEdit, ...] = ()
    untag: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tags or self.untag or self.remove)


def apply_edits(content: Snapshot, edits: Edits, children: Callable[[], Children]) -> Snapshot:
    """The content that the edits lead to; `children`, of all its manifests, is asked for where something is removed.

    Raises ManifestUnknown and InvalidInput for what is not there, Conflict for a manifest that something which stays needs.
    """
    tagged = {**content.tags, **{edit.tag: _find(content, edit.reference) for edit in edits.tags}}
    untagged = {tag: digest for tag, digest in tagged.items() if tag not in _matching(tagged, edits.untag)}
    edited = Snapshot(content.repository, content.version, untagged, content.manifests)
    if not edits.remove:
        return edited
    digests = [digest for text in edits.remove if (digest := _digest(text)) is not None]
    for digest in digests:
        _find(edited, digest)
    tags = _matching(untagged, [text for text in edits.remove if _digest(text) is None])
    removal = plan_removal(edited, tags=tags, digests=digests, children=children())
    stays = [(digest, reason) for digest, reason in removal.needed.items() if digest in digests]
    if stays:
        digest, reason = stays[0]
        raise Conflict(f"{digest} cannot be removed: {reason}; remove that too, or untag it")
    return removal.left


def _matching(tags: Mapping[str, Digest], patterns: Iterable[str]) -> set[str]:
    """The tags that patterns match; raise InvalidInput for one that matches none, so that a slip of the pen is no success."""
    found: set[str] = set()
    for text in patterns:
        matches = parse_tag_pattern(text)
        some = {tag for tag in tags if matches(tag)}
        if not some:
            near = ", ".join(sorted(tags)[:5]) or "none"
            raise InvalidInput(f"no tag matches {text}; there are {near}")
        found |= some
    return found


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except DigestInvalid:
        return None


def _find(content: Snapshot, reference: str) -> Digest:
    digest = content.tags.get(reference) or Digest(reference)
    if digest not in content.manifests:
        near = ", ".join(content.sorted_tags[:5]) or "none"
        raise ManifestUnknown(f"{reference} is not among the content of {content.repository}; it has the tags {near}")
    return digest
