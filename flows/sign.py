"""The flows `sign-content` and `attest-content`: signatures and documents about content, attached to it."""

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.catalog import Catalog
from catalog.changes import Change
from catalog.curation import Pick
from catalog.sign import choose, plan_attestation, plan_signing, read_document, with_children
from catalog.sign_atomic import plan_atomic
from catalog.snapshot import Snapshot
from flows.operation import Operation, OperationResult
from flows.operation_flow import run_operation
from flows.sign_request import PREDICATE_TYPES, AttestRequest, SignRequest, read_any_signer, read_signer
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.signing.keys import Signer
from oci.signing.pgp import PgpSigner


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def prepare_signing(catalog: Catalog, request: SignRequest) -> Operation:
    """Load the key and choose what to sign; raises KeyInvalid, NameUnknown, ManifestUnknown, InvalidInput."""
    signer, pick = read_any_signer(catalog.settings, request.key), Pick.parse(request.source)
    if request.identity and not isinstance(signer, PgpSigner):
        raise InvalidInput("an identity is signed by OpenPGP keys only; leave it out")
    snapshot = catalog.snapshot(pick.repository)
    digests = choose(snapshot, pick, include=request.include, exclude=request.exclude)
    if request.recursive:
        digests = with_children(catalog, snapshot, digests)
    return Operation(
        repository=pick.repository,
        name="sign",
        message=f"signed {len(digests)} manifests with the key {signer.verifier.fingerprint}",
        plan=lambda latest: _plan(catalog, latest, request, digests, signer),
    )


def _plan(
    catalog: Catalog, latest: Snapshot, request: SignRequest, digests: list[Digest], signer: Signer | PgpSigner
) -> list[Change]:
    if isinstance(signer, PgpSigner):
        identity = request.identity or f"{catalog.settings.listen}/{latest.repository}"
        timestamp = int(datetime.now(UTC).timestamp())
        return plan_atomic(catalog, latest, digests, signer, identity=identity, timestamp=timestamp)
    return plan_signing(catalog, latest, digests, signer, reference=latest.repository, created=_now())


def prepare_attestation(catalog: Catalog, request: AttestRequest) -> Operation:
    """Read the document and what it is about; raises KeyInvalid, ManifestUnknown, InvalidInput."""
    pick = Pick.parse(request.source)
    if not (pick.tag or pick.digest):
        raise InvalidInput(f"say which manifest of {pick.repository} the document is about: NAME:TAG or NAME@DIGEST")
    signer = read_signer(catalog.settings, request.key) if request.signed else None
    try:
        data = request.document.expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput(f"the document {request.document} cannot be read: {error.strerror}") from None
    document = read_document(data, PREDICATE_TYPES.get(request.type, request.type))
    (digest,) = choose(catalog.snapshot(pick.repository), pick)
    return Operation(
        repository=pick.repository,
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
