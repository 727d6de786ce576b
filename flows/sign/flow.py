"""The flows `sign-content` and `attest-content`: signatures and documents about content, attached to it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.filters.selector import Selector
from catalog.settings import Settings
from catalog.signing.atomic import plan_atomic
from catalog.signing.plan import (
    Document,
    plan_attachment,
    plan_attestation,
    plan_signing,
    read_document,
    select_manifests,
    with_held_children,
)
from catalog.units import format_time
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from catalog.work_roots import read_allowed
from flows.engine.endings import FlowEnd
from flows.engine.flows import flow
from flows.runs.operation import Operation, OperationResult
from flows.runs.operation_flow import run_operation
from flows.sign.request import (
    PREDICATE_TYPES,
    AttestRequest,
    SignRequest,
    read_identity_token,
    read_trust,
)
from flows.sign.signers import read_any_signer, read_signer
from oci.digest import Digest
from oci.errors import InvalidInput, ManifestUnknown
from oci.signing.keys import Signer
from oci.signing.pgp_keys import AtomicSigner

if TYPE_CHECKING:
    from oci.signing.keyless import KeylessSigner  # a second to import

    AnySigner = Signer | AtomicSigner | KeylessSigner


def _now() -> str:
    return format_time(datetime.now(UTC).replace(microsecond=0))


def prepare_signing(catalog: Catalog, request: SignRequest) -> Operation:
    """Open the signer and choose what to sign; raises KeyInvalid, NameUnknown, ManifestUnknown, InvalidInput, SignerFailed."""
    if request.keyless and request.key:
        raise InvalidInput("either a key or keyless, not both")
    selector = Selector.parse(request.source)
    signer = _signer_of(catalog.settings, request)
    if request.identity and not isinstance(signer, AtomicSigner):
        raise InvalidInput("an identity is signed by OpenPGP keys only; leave it out")
    if isinstance(signer, AtomicSigner) and request.form != "both":
        raise InvalidInput("an OpenPGP key makes Atomic signatures, which have one form; leave out the form")
    snapshot = catalog.snapshots.get(selector.repository)
    digests = select_manifests(snapshot, selector, include=request.include, exclude=request.exclude)
    if request.recursive:
        digests = with_held_children(catalog, snapshot, digests)
    return Operation(
        repository=selector.repository,
        name="sign",
        message=f"signed {len(digests)} manifests {_by(signer)}",
        plan=lambda latest: _plan(catalog, latest, request, digests, signer),
    )


def _signer_of(settings: Settings, request: SignRequest) -> "AnySigner":
    return _keyless(settings, request) if request.keyless else read_any_signer(settings, request.key)


def _keyless(settings: Settings, request: SignRequest | AttestRequest) -> "KeylessSigner":
    from oci.signing.keyless import KeylessSigner

    if request.form == "tags":
        raise InvalidInput("keyless signatures are bundles: expected the form bundle")
    trust, token = read_trust(settings, request.trust_config), read_identity_token(settings)
    return KeylessSigner(trust, token, timeout=settings.signer_timeout)


def _by(signer: "AnySigner") -> str:
    if isinstance(signer, Signer | AtomicSigner):
        return f"with the key {signer.verifier.fingerprint}"
    return f"as {signer.verifier.who.identity}"


def _plan(
    catalog: Catalog, latest: Snapshot, request: SignRequest, digests: list[Digest], signer: "AnySigner"
) -> list[Change]:
    if isinstance(signer, AtomicSigner):
        identity = request.identity or f"{catalog.settings.listen}/{latest.repository}"
        timestamp = int(datetime.now(UTC).timestamp())
        return plan_atomic(catalog, latest, digests, signer, identity=identity, timestamp=timestamp)
    if isinstance(signer, Signer):
        return plan_signing(
            catalog, latest, digests, signer, reference=latest.repository, created=_now(), form=request.form
        )
    from catalog.signing.keyless import plan_keyless

    return plan_keyless(catalog, latest, digests, signer, created=_now())


def prepare_attestation(catalog: Catalog, request: AttestRequest) -> Operation:
    """Read the document and what it is about; raises KeyInvalid, ManifestUnknown, InvalidInput, SignerFailed."""
    selector = Selector.parse(request.source)
    if not (selector.tag or selector.digest):
        raise InvalidInput(
            f"{selector.repository} names no manifest: expected NAME:TAG or NAME@DIGEST that the document is about"
        )
    if request.keyless and (request.key or not request.signed):
        raise InvalidInput("expected one of --key, --keyless and --unsigned")
    signer = _attester_of(catalog.settings, request)
    try:
        data = read_allowed(catalog.settings, request.document, "document")
    except OSError as error:
        raise InvalidInput(f"the document {request.document} cannot be read: {error.strerror}") from None
    document = read_document(data, PREDICATE_TYPES.get(request.type, request.type))
    (digest,) = select_manifests(catalog.snapshots.get(selector.repository), selector)
    return Operation(
        repository=selector.repository,
        name="attest",
        message=f"attached a {document.predicate_type} to {digest}",
        plan=lambda latest: _plan_attestation(catalog, latest, request, digest, document, signer),
    )


def _attester_of(settings: Settings, request: AttestRequest) -> "Signer | KeylessSigner | None":
    if request.keyless:
        return _keyless(settings, request)
    return read_signer(settings, request.key) if request.signed else None


def _plan_attestation(
    catalog: Catalog,
    latest: Snapshot,
    request: AttestRequest,
    digest: Digest,
    document: Document,
    signer: "Signer | KeylessSigner | None",
) -> list[Change]:
    if digest not in latest.manifests:
        raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
    if signer is None:
        return plan_attachment(catalog, latest, digest, document)
    if isinstance(signer, Signer):
        return plan_attestation(catalog, latest, digest, document, signer, created=_now(), form=request.form)
    from catalog.signing.keyless import plan_keyless_attestation

    return plan_keyless_attestation(catalog, latest, digest, document, signer, created=_now())


@flow(name="sign-content", flow_run_name="sign {request.source}")
async def sign_content(request: SignRequest) -> FlowEnd[OperationResult]:
    """Sign manifests with a key; run again, it signs only what that key has not signed."""
    return await run_operation(lambda catalog: prepare_signing(catalog, request), actor="sign-content")


@flow(name="attest-content", flow_run_name="attest {request.source}")
async def attest_content(request: AttestRequest) -> FlowEnd[OperationResult]:
    """Attach a document to an image, as a signed attestation or as it is; the referrers API lists it."""
    return await run_operation(lambda catalog: prepare_attestation(catalog, request), actor="attest-content")
