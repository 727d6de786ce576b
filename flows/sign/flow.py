"""The flows `sign-content` and `attest-content`: signatures and documents about content, attached to it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.catalog import Catalog
from catalog.filters.selector import Selector
from catalog.settings import Settings
from catalog.signing.atomic import plan_atomic
from catalog.signing.plan import plan_attestation, plan_signing, read_document, select_manifests, with_held_children
from catalog.units import format_time
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from catalog.work_roots import read_allowed
from flows.runs.operation import Operation, OperationResult
from flows.runs.operation_flow import run_operation
from flows.sign.request import (
    PREDICATE_TYPES,
    AttestRequest,
    SignRequest,
    read_any_signer,
    read_identity_token,
    read_signer,
    read_trust,
)
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.signing.keys import Signer
from oci.signing.pgp_keys import PgpSigner

if TYPE_CHECKING:
    from oci.signing.keyless import KeylessSigner  # a second to import

    AnySigner = Signer | PgpSigner | KeylessSigner


def _now() -> str:
    return format_time(datetime.now(UTC).replace(microsecond=0))


def prepare_signing(catalog: Catalog, request: SignRequest) -> Operation:
    """Load the key and choose what to sign; raises KeyInvalid, NameUnknown, ManifestUnknown, InvalidInput."""
    if request.keyless and request.key:
        raise InvalidInput("either a key or keyless, not both")
    selector = Selector.parse(request.source)
    signer = _keyless(catalog.settings, request) if request.keyless else read_any_signer(catalog.settings, request.key)
    if request.identity and not isinstance(signer, PgpSigner):
        raise InvalidInput("an identity is signed by OpenPGP keys only; leave it out")
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


def _keyless(settings: Settings, request: SignRequest) -> "KeylessSigner":
    from oci.signing.keyless import KeylessSigner

    return KeylessSigner(read_trust(settings, request.trust_config), read_identity_token(settings))


def _by(signer: "AnySigner") -> str:
    if isinstance(signer, Signer | PgpSigner):
        return f"with the key {signer.verifier.fingerprint}"
    return f"as {signer.verifier.who.identity}"


def _plan(
    catalog: Catalog, latest: Snapshot, request: SignRequest, digests: list[Digest], signer: "AnySigner"
) -> list[Change]:
    if isinstance(signer, PgpSigner):
        identity = request.identity or f"{catalog.settings.listen}/{latest.repository}"
        timestamp = int(datetime.now(UTC).timestamp())
        return plan_atomic(catalog, latest, digests, signer, identity=identity, timestamp=timestamp)
    if isinstance(signer, Signer):
        return plan_signing(catalog, latest, digests, signer, reference=latest.repository, created=_now())
    from catalog.signing.keyless import plan_keyless

    return plan_keyless(catalog, latest, digests, signer, created=_now())


def prepare_attestation(catalog: Catalog, request: AttestRequest) -> Operation:
    """Read the document and what it is about; raises KeyInvalid, ManifestUnknown, InvalidInput."""
    selector = Selector.parse(request.source)
    if not (selector.tag or selector.digest):
        raise InvalidInput(
            f"say which manifest of {selector.repository} the document is about: NAME:TAG or NAME@DIGEST"
        )
    signer = read_signer(catalog.settings, request.key) if request.signed else None
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
        plan=lambda latest: plan_attestation(catalog, latest, digest, document, signer, created=_now()),
    )


@flow(name="sign-content", flow_run_name="sign {request.source}", persist_result=False, validate_parameters=True)
async def sign_content(request: SignRequest) -> "State[OperationResult]":
    """Sign manifests with a key; run again, it signs only what that key has not signed."""
    return await run_operation(lambda catalog: prepare_signing(catalog, request), actor="sign-content")


@flow(name="attest-content", flow_run_name="attest {request.source}", persist_result=False, validate_parameters=True)
async def attest_content(request: AttestRequest) -> "State[OperationResult]":
    """Attach a document to an image, as a signed attestation or as it is; the referrers API lists it."""
    return await run_operation(lambda catalog: prepare_attestation(catalog, request), actor="attest-content")
