"""The one error tree: every failure a caller can meet, each class carrying its OCI error code.

Source: distribution-spec 1.1, "Error Codes". The faces map classes to HTTP statuses and exit codes in one table each.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

Side = Literal["request", "upstream", "local"]


class EntrepotError(Exception):
    """Something failed; `side` says whose: the request's, the upstream's, or our own."""

    code: ClassVar[str] = "UNKNOWN"
    side: ClassVar[Side] = "local"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, detail: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = dict(detail or {})


# --- the request is at fault -----------------------------------------------------------------------------------


class RequestError(EntrepotError):
    """The caller asked for something that cannot be done as asked."""

    side = "request"


class InvalidInput(RequestError):
    """A value does not have the form its specification gives."""


class DigestInvalid(InvalidInput):
    """A digest is malformed, of an unknown algorithm, or not that of the content."""

    code = "DIGEST_INVALID"


class SizeInvalid(InvalidInput):
    """Content is longer or shorter than was announced."""

    code = "SIZE_INVALID"


class NameInvalid(InvalidInput):
    """A repository name or reference is malformed."""

    code = "NAME_INVALID"


class TagInvalid(InvalidInput):
    """A tag is malformed."""

    code = "TAG_INVALID"


class ManifestInvalid(InvalidInput):
    """A manifest's bytes do not parse, or contradict their media type."""

    code = "MANIFEST_INVALID"


class ManifestTooLarge(InvalidInput):
    """A manifest is larger than this registry accepts."""

    code = "SIZE_INVALID"


class LayoutInvalid(InvalidInput):
    """A folder is not an OCI image layout."""


class UploadInvalid(InvalidInput):
    """An upload request does not fit its session."""

    code = "BLOB_UPLOAD_INVALID"


class RangeInvalid(InvalidInput):
    """A byte range cannot be satisfied, or a chunk does not start where the session ends."""

    code = "BLOB_UPLOAD_INVALID"


class PaginationInvalid(InvalidInput):
    """A paging parameter is not a number."""

    code = "PAGINATION_NUMBER_INVALID"


class Unsupported(RequestError):
    """The operation is not offered."""

    code = "UNSUPPORTED"


class Unauthorized(RequestError):
    """Credentials are missing or wrong."""

    code = "UNAUTHORIZED"


class Denied(RequestError):
    """The caller is known and may not do this."""

    code = "DENIED"


class TagImmutable(Denied):
    """The tag is there already, and may not be moved or deleted."""


class PromotionRefused(Denied):
    """A gate did not let some of the content through; `detail` has every verdict."""


class PolicyRefused(Denied):
    """A trust policy does not let content through; `detail` has the decisions with their reasons."""


class PullRefused(Denied):
    """A gate, such as a hold, keeps content from being pulled; `detail` says why, and until when."""


class QuotaExceeded(Denied):
    """A namespace would hold more than its quota allows."""


class BlobTooLarge(RequestError):
    """A blob is larger than this registry accepts."""

    code = "SIZE_INVALID"


class TooManyRequests(RequestError):
    """The caller has spent its rate, or has too much open; `retry_after` is in seconds."""

    code = "TOOMANYREQUESTS"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(RequestError):
    """What was asked for is not here."""


class NameUnknown(NotFound):
    """No such repository."""

    code = "NAME_UNKNOWN"


class ManifestUnknown(NotFound):
    """No such manifest or tag in the repository."""

    code = "MANIFEST_UNKNOWN"


class BlobUnknown(NotFound):
    """No such blob in the repository."""

    code = "BLOB_UNKNOWN"


class UploadUnknown(NotFound):
    """No such upload session."""

    code = "BLOB_UPLOAD_UNKNOWN"


class DistributionUnknown(NotFound):
    """Nothing is served at such a path."""

    code = "NAME_UNKNOWN"


class RemoteUnknown(NotFound):
    """Nothing is recorded about such a remote."""

    code = "NAME_UNKNOWN"


class VersionUnknown(NotFound):
    """No such version of the repository."""

    code = "NAME_UNKNOWN"


class QuotaUnknown(NotFound):
    """No such quota."""


class RuleUnknown(NotFound):
    """No such rule of retention."""


class PolicyUnknown(NotFound):
    """No such trust policy."""


class AccountUnknown(NotFound):
    """No such user, robot, group, rule or token."""


class RecordUnknown(NotFound):
    """No such hook or subscription."""


class ManifestBlobUnknown(RequestError):
    """A manifest names content that the repository does not hold."""

    code = "MANIFEST_BLOB_UNKNOWN"


class Conflict(RequestError):
    """What the change was planned on is no longer so: plan again."""

    retryable = True


class InUse(RequestError):
    """What should go is still needed; the message says by what."""

    code = "DENIED"


class QueryInvalid(RequestError):
    """A question to the catalogue is not valid SQL, or not a question."""


class SettingsInvalid(RequestError):
    """A setting has a value that cannot be used."""


# --- an upstream is at fault -----------------------------------------------------------------------------------


class RemoteError(EntrepotError):
    """An upstream registry failed; `registry` names it, `status` is its HTTP status where it responded."""

    side = "upstream"

    def __init__(
        self,
        message: str,
        *,
        registry: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"upstream {registry}: {message}" if registry else message, detail=detail)
        self.registry = registry
        self.status = status
        self.retry_after = retry_after


class RemoteUnavailable(RemoteError):
    """The upstream did not respond, responded with 5xx, or broke off."""

    retryable = True


class RemoteSilent(RemoteUnavailable):
    """The upstream has not sent a byte for as long as ENTREPOT_SILENCE_TIMEOUT allows."""

    retryable = False


class RemoteRateLimited(RemoteError):
    """The upstream responded with 429; `retry_after` is in seconds."""

    code = "TOOMANYREQUESTS"
    retryable = True


class RemoteUnauthorized(RemoteError):
    """The upstream wants other credentials, or refuses these."""

    code = "UNAUTHORIZED"


class RemoteTokenEnded(RemoteUnauthorized):
    """The upstream no longer accepts the token of a body that was sent once; with a new token it may accept it."""

    retryable = True


class RemoteNotFound(RemoteError):
    """The upstream has no such repository, tag, manifest or blob."""

    code = "MANIFEST_UNKNOWN"


class RemoteLeftOut(RemoteNotFound):
    """The upstream is an Entrepôt that holds an index without this child of it."""


class RemoteRefused(RemoteError):
    """The upstream responded with an error that another try does not mend."""


class RemoteLoop(RemoteRefused):
    """The upstream leads back to this registry: a cache of itself, or caches of each other."""


class RemoteUnusable(RemoteError):
    """The record of a remote names a file or variable that is not there, or cannot be used."""


class RemoteCorrupt(RemoteError):
    """The upstream sent bytes that are not what their digest, size or media type says."""

    code = "DIGEST_INVALID"


# --- we are at fault -------------------------------------------------------------------------------------------


class LocalError(EntrepotError):
    """This installation failed."""


class PolicyUndecided(LocalError):
    """A trust policy could not be asked: signatures or the trust configuration cannot be had; `detail` has the decisions."""

    retryable = True


class StorageFull(LocalError):
    """The blob store has no room left."""


class StorageUnavailable(LocalError):
    """The blob store does not respond, or refuses."""

    retryable = True


class StorageCorrupt(LocalError):
    """The store does not hold what the catalogue says, or what its digest says."""


class CatalogUnusable(LocalError):
    """The catalogue cannot be opened or written: locked for too long, too new, damaged."""


class CatalogBusy(CatalogUnusable):
    """Another process has held the catalogue's write lock for too long."""


class CatalogUnavailable(CatalogUnusable):
    """The catalogue's database does not answer; it may again in a moment."""

    retryable = True


class CatalogWentBack(CatalogUnavailable):
    """The catalogue's database lacks what it had, as after a restore; processes that know more are to be restarted."""


class CatalogMoved(CatalogUnusable):
    """The catalogue has moved to another place, or is still arriving there; it is read, and takes no changes."""


class CatalogNewer(CatalogUnusable):
    """A newer release has changed the schema so that this one may not write; it is to be upgraded, and others may answer."""

    retryable = True


class CatalogOutdated(CatalogUnusable):
    """The catalogue has another schema than this release, which opening it for writing would bring up to date."""
