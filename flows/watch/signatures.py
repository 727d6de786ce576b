"""Reads which signatures a manifest has upstream, and whose they claim to be. Nothing is verified.

Sources: cosign, "Tag-based discovery" and specs/SIGNATURE_SPEC.md; sigstore bundle format; distribution-spec, "Referrers".
"""

from collections.abc import Mapping

from catalog.filters.companions import CompanionFilter
from catalog.watch.sightings import Channel, SeenSignature, Signatures
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteLeftOut, RemoteNotFound
from oci.kinds import COSIGN_CERTIFICATE, COSIGN_SIGNATURE, SIGSTORE_BUNDLE, bundle_kind, signature_tag
from oci.manifest import Manifest
from oci.remote.repository import RemoteRepository
from oci.signing.claimed_signers import UNREADABLE, signer_of_bundle, signer_of_certificate
from oci.unicode import clean_text

MOST_SIGNATURES = 20
"""Signatures of one manifest that are looked at."""
_BUNDLE_BYTES = 1024 * 1024
_LONGEST_SIGNER = 300
_CHANNEL_PROVES: Mapping[Channel, frozenset[Channel]] = {
    "referrers": frozenset(("referrers", "fallback")),
    "fallback": frozenset(("fallback",)),
    "tag": frozenset(("tag",)),
}


class SignatureReader:
    """Reads signatures of one repository; `listed` are all its tags, None where that is not known."""

    def __init__(self, repository: RemoteRepository, listed: frozenset[str] | None) -> None:
        self._repository, self._listed = repository, listed
        self._signed_by = CompanionFilter(("signature",))

    async def read(self, digest: Digest, before: Signatures) -> Signatures | None:
        """Return the signatures of a manifest; None where one that was there `before` is missing without a proof.

        What is known from before is not read again. Raise RemoteError.
        """
        found: dict[Digest, SeenSignature] = {}
        tagged = await self._tagged(digest)
        if tagged is not None:
            found[tagged.digest] = before.get(tagged.digest) or await self._read_tagged(tagged)
        referrers = await self._repository.referrers(digest)
        is_answered = not self._repository.remarks  # the API has failed, which says nothing about what it would list
        channel: Channel = "referrers" if self._repository.has_referrers_api else "fallback"
        chosen = [one for one in referrers if self._signed_by.selects(one.artifact_type or "")]
        chosen.sort(key=lambda one: one.digest not in before)  # known ones are always among those looked at
        for descriptor in chosen[:MOST_SIGNATURES]:
            known = before.get(descriptor.digest)
            signer = known.signer if known else await self._read_referrer(descriptor)
            if signer is not None:
                found.setdefault(descriptor.digest, SeenSignature(signer, channel))
        proven = _CHANNEL_PROVES["tag"] | (_CHANNEL_PROVES[channel] if is_answered else frozenset())
        if any(one.channel not in proven for key, one in before.items() if key not in found):
            return None
        return found

    async def _tagged(self, digest: Digest) -> Descriptor | None:
        """Return what cosign's tag of a manifest points to; a tag that a whole list lacks is not asked for."""
        tag = signature_tag(digest)
        if self._listed is not None and tag not in self._listed:
            return None
        try:
            return await self._repository.resolve(tag)
        except RemoteLeftOut:
            raise
        except RemoteNotFound:
            return None

    async def _read_tagged(self, descriptor: Descriptor) -> SeenSignature:
        try:
            layers = (await self._repository.read_manifest(descriptor)).layers[:MOST_SIGNATURES]
        except (RemoteCorrupt, RemoteNotFound):
            return SeenSignature(UNREADABLE, "tag")
        signers = {signer_of_certificate(one.annotations.get(COSIGN_CERTIFICATE, "")) for one in layers}
        return SeenSignature(clean_text(", ".join(sorted(signers)), longest=_LONGEST_SIGNER), "tag")

    async def _read_referrer(self, descriptor: Descriptor) -> str | None:
        """Return who a referrer claims to be signed by; None for a bundle that says it is an attestation."""
        if not (descriptor.artifact_type or "").startswith(SIGSTORE_BUNDLE):
            return clean_text(descriptor.artifact_type or UNREADABLE, longest=_LONGEST_SIGNER)
        try:
            manifest = await self._repository.read_manifest(descriptor)
            if bundle_kind(manifest.annotations) != COSIGN_SIGNATURE:
                return None
            return clean_text(signer_of_bundle(await self._bundle(manifest)), longest=_LONGEST_SIGNER)
        except (RemoteCorrupt, RemoteNotFound):  # one that cannot be read does not end the others
            return UNREADABLE

    async def _bundle(self, manifest: Manifest) -> bytes:
        layer = next(iter(manifest.layers), None)
        if layer is None or layer.size > _BUNDLE_BYTES:
            return b""
        raw = bytearray()
        async for chunk in self._repository.read_blob(layer):
            raw += chunk
            if len(raw) > _BUNDLE_BYTES:
                return b""
        return bytes(raw)
