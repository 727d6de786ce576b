"""Blobs as objects of an S3 bucket, under PREFIX/ALGORITHM/first two digits/HEX; staged in a local folder.

Credentials and region come from where every AWS tool looks: the environment, `~/.aws`, the machine's role.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from catalog.blobs.local_store import (
    NOT_BLOBS,
    QUARANTINE,
    BlobVanished,
    Stored,
    check_staging,
    digest_of_name,
    storage_errors,
)
from oci.digest import Digest
from oci.errors import SettingsInvalid, StorageCorrupt, StorageUnavailable

_PART = 64 * 1024 * 1024
"""Bytes of one part of an upload: a blob of 640 GB fits into the 10,000 parts that S3 allows."""

_SKIPPED = 1024 * 1024
"""Bytes that are rather read and dropped than asked for anew."""

_RESUMED = 3
"""How often the reading of an object goes on by a new request, after the store has broken off."""

_URL_SECONDS = 1200
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True, slots=True)
class S3Patience:
    """How long one request waits for a connection and for the next bytes, in seconds, and how often it is tried in all."""

    connect: float
    read: float
    tries: int


QUICK = S3Patience(connect=3, read=8, tries=3)
"""Of requests that take the store moments, such as those within a transaction: less than the 30 seconds that others wait
for its locks."""

PATIENT = S3Patience(connect=10, read=60, tries=4)
"""Of requests that bring bytes, or have the store copy them: it may write them to disks before it answers."""


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, and what its objects' keys begin with. `endpoint` empty: AWS."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""


class DuckdbSecret:
    """The fields of DuckDB's secret by which it reads and writes at a place as we do."""

    def __init__(self, place: S3Place) -> None:
        """Find the credentials; raise StorageUnavailable."""
        self._place = place
        session = boto3.session.Session()
        with s3_errors(place.bucket):
            self._credentials = session.get_credentials()
            self._region = session.region_name or "us-east-1"

    def fields(self) -> dict[str, str]:
        """Return them as of now; credentials of a role are renewed minutes before they expire. Raise StorageUnavailable."""
        place, fields = self._place, {"REGION": self._region}
        if self._credentials is not None:
            with s3_errors(place.bucket):
                keys = self._credentials.get_frozen_credentials()
            fields |= {"KEY_ID": keys.access_key or "", "SECRET": keys.secret_key or ""}
            if keys.token:
                fields["SESSION_TOKEN"] = keys.token
        if place.endpoint:
            url = urlsplit(place.endpoint)
            fields |= {"ENDPOINT": url.netloc, "USE_SSL": str(url.scheme == "https").lower(), "URL_STYLE": "path"}
        return fields


class S3BlobStore:
    """A BlobStore in a bucket; usable from any thread and by several machines."""

    is_remote = True

    def __init__(self, place: S3Place, staging: Path, *, redirect: bool) -> None:
        self._bucket, self._prefix, self._staging, self._redirect = place.bucket, place.prefix, staging, redirect
        with storage_errors(staging):
            staging.mkdir(parents=True, exist_ok=True)
        with s3_errors(place.bucket):
            session = boto3.session.Session()
            self._client, self._sender = _client(session, place, QUICK), _client(session, place, PATIENT)
            self._check_bucket()

    def _check_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if is_missing(error):
                raise SettingsInvalid(
                    f"ENTREPOT_STORAGE: there is no bucket {self._bucket!r}; make it first, or name another"
                ) from None
            raise

    @property
    def staging(self) -> Path:
        return self._staging

    @property
    def client(self) -> Any:
        """Return boto3's client for requests that take the store moments."""
        return self._client

    @property
    def sender(self) -> Any:
        """Return boto3's client for requests that bring bytes, or have the store copy them."""
        return self._sender

    @property
    def bucket(self) -> str:
        """Return the bucket's name."""
        return self._bucket

    def key(self, digest: Digest) -> str:
        """Return where the blob lies, or would."""
        parts = (self._prefix, digest.algorithm, digest.encoded[:2], digest.encoded)
        return "/".join(part for part in parts if part)

    def send(self, staged: Path, digest: Digest) -> None:
        self.upload(staged, self.key(digest))

    def upload(self, staged: Path, key: str) -> None:
        """Upload a file in parts, each with a checksum that S3 compares."""
        with s3_errors(self._bucket):
            self._sender.upload_file(
                str(staged),
                self._bucket,
                key,
                ExtraArgs={"ContentType": "application/octet-stream", "ChecksumAlgorithm": "CRC32"},
                Config=TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4),
            )

    def adopt(self, staged: Path, digest: Digest) -> None:
        if self._size(digest) != staged.stat().st_size:
            raise BlobVanished(f"{digest} was removed from the bucket {self._bucket} while it was taken in")
        staged.unlink()

    def settle(self, digests: Iterable[Digest]) -> None:
        """S3 has answered that it keeps what was sent."""

    def check_blob(self, digest: Digest, size: int) -> None:
        found = self._size(digest)
        if found is None:
            raise StorageCorrupt(f"{digest} is recorded as held, but there is no such object in {self._bucket}")
        if found != size:
            raise StorageCorrupt(f"{digest} is recorded with {size} bytes, but its object has {found}")

    def identity(self, digest: Digest) -> str:
        found = self._head(digest)
        return "" if found is None else f"{found['ETag']} {found['LastModified']}"

    def _size(self, digest: Digest) -> int | None:
        found = self._head(digest)
        return None if found is None else int(found["ContentLength"])

    def _head(self, digest: Digest) -> dict[str, Any] | None:
        with s3_errors(self._bucket):
            try:
                found: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=self.key(digest))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
        return found

    def open(self, digest: Digest, size: int) -> "S3BlobReader":
        reader = S3BlobReader(self._client, self._bucket, self.key(digest), size)
        try:
            reader.begin(0)
        except StorageCorrupt:
            raise StorageCorrupt(
                f"{digest} is recorded with {size} bytes, but {self._bucket} has no such object"
            ) from None
        return reader

    @property
    def redirects(self) -> bool:
        return self._redirect

    def url(self, digest: Digest) -> str:
        """A URL that gives the blob to anybody for twenty minutes."""
        parameters = {"Bucket": self._bucket, "Key": self.key(digest)}
        return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=_URL_SECONDS))

    def delete(self, digest: Digest) -> None:
        with s3_errors(self._bucket):
            self._client.delete_object(Bucket=self._bucket, Key=self.key(digest))

    def set_aside(self, digest: Digest) -> None:
        aside = self.name_key(f"{QUARANTINE}/{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}")
        with s3_errors(self._bucket):
            try:
                self._sender.copy({"Bucket": self._bucket, "Key": self.key(digest)}, self._bucket, aside)
            except ClientError as error:
                if not is_missing(error):
                    raise
            self._client.delete_object(Bucket=self._bucket, Key=self.key(digest))

    def stored(self) -> Iterator[Stored]:
        start = self.name_key("")
        with s3_errors(self._bucket):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start):
                for one in page.get("Contents", ()):
                    name = one["Key"].removeprefix(start)
                    if name.partition("/")[0] in NOT_BLOBS:
                        continue
                    digest, aside = digest_of_name(name)
                    yield Stored(name, digest, int(one["Size"]), one["LastModified"].timestamp(), aside)

    def remove_stored(self, name: str) -> None:
        with s3_errors(self._bucket):
            self._client.delete_object(Bucket=self._bucket, Key=self.name_key(name))

    def name_key(self, name: str) -> str:
        """Return the key of what has a name within the store."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def check(self) -> None:
        check_staging(self._staging)
        with s3_errors(self._bucket):
            self._check_bucket()


class S3BlobReader:
    """An object, read by one request as long as it is read in order."""

    def __init__(self, client: Any, bucket: str, key: str, size: int) -> None:
        self._client, self._bucket, self._key, self.size = client, bucket, key, size
        self._body: Any = None
        self._position = 0

    def begin(self, offset: int) -> None:
        """Ask for the bytes from `offset` on; raise StorageCorrupt when they are not there."""
        self.close()
        self._position = offset
        if self.size == 0:
            return
        with s3_errors(self._bucket):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={offset}-")
            except ClientError as error:
                if is_missing(error) or error_code(error) in ("416", "InvalidRange"):
                    raise StorageCorrupt(f"{self._key} is not whole in {self._bucket}") from None
                raise
        self._body = answer["Body"]
        if int(answer["ContentLength"]) != self.size - offset:
            self.close()
            raise StorageCorrupt(f"{self._key} is not whole in {self._bucket}")

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self._body is None or not 0 <= offset - self._position <= _SKIPPED:
            self.begin(offset)
        for tries_left in reversed(range(_RESUMED)):
            try:
                with s3_errors(self._bucket):
                    self._read(offset - self._position)
                    return self._read(length)
            except StorageUnavailable:
                if not tries_left:
                    raise
                self.begin(offset)
        raise AssertionError("the last try returns or raises")

    def _read(self, length: int) -> bytes:
        """Read so many bytes, or raise."""
        data = bytearray()
        while len(data) < length:
            chunk = self._body.read(length - len(data))
            if not chunk:
                raise StorageUnavailable(f"{self._bucket} broke off {self._key} after {self._position} bytes")
            data += chunk
            self._position += len(chunk)
        return bytes(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _client(session: Any, place: S3Place, patience: S3Patience) -> Any:
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if place.endpoint else "auto"},
        retries={"mode": "standard", "total_max_attempts": patience.tries},
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        max_pool_connections=64,
    )
    return session.client("s3", endpoint_url=place.endpoint or None, config=config)


def probe_bucket(place: S3Place, name: str) -> datetime | None:
    """Put, read and delete a small object below `doctor/`; return the store's clock, where it tells it.

    Raises StorageUnavailable, and StorageCorrupt for other bytes than were put.
    """
    key = "/".join(part for part in (place.prefix, "doctor", name) if part)
    with s3_errors(place.bucket):
        client = _client(boto3.session.Session(), place, replace(QUICK, tries=1))
        client.put_object(Bucket=place.bucket, Key=key, Body=name.encode())
        try:
            found = client.get_object(Bucket=place.bucket, Key=key)
            body = found["Body"].read(len(name) + 1)
        finally:
            client.delete_object(Bucket=place.bucket, Key=key)
    if body != name.encode():
        raise StorageCorrupt(f"S3 bucket {place.bucket} gave back other bytes than were put")
    date = found["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    return parsedate_to_datetime(date) if date else None


def error_code(error: ClientError) -> str:
    """Return S3's name of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Return whether an object, or its bucket, is not there."""
    return error_code(error) in (*_MISSING, "NoSuchBucket")


@contextlib.contextmanager
def s3_errors(bucket: str) -> Iterator[None]:
    """Turn what boto3 raises into errors that say what to do."""
    try:
        yield
    except ClientError as error:
        raise StorageUnavailable(
            f"S3 bucket {bucket}: {error_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
        ) from error
    except (BotoCoreError, HTTPClientError, Boto3Error) as error:
        raise StorageUnavailable(f"S3 bucket {bucket} cannot be used: {error}") from error
