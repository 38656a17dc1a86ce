"""Objects of S3 servers: ``aws`` and ``minio`` (contract 13.3).  boto3 is imported when first needed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_madengine.data.config import Source
from pytest_madengine.data.logins import AWS, MINIO, S3Login, s3_login
from pytest_madengine.data.probe import within
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.data.remote import RemoteProvider
from pytest_madengine.data.store import PROBE_LIMIT, Checksum, RemoteFile, TransientError, safe_relative
from pytest_madengine.errors import DataError

DEFAULT_REGION: Final = "us-east-2"
DEFAULT_MINIO: Final = "http://localhost:9000"
WORKERS: Final = 10
#: Bytes read at once from a connection; beyond 128 KiB every piece costs fresh pages from the kernel.
_CHUNK: Final = 64 * 1024
_PLAIN_MD5: Final = re.compile(r"[0-9a-f]{32}")
_BUSY: Final = frozenset(
    {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "Throttling", "ThrottlingException"}
    | {"RequestLimitExceeded", "TooManyRequestsException", "InternalError", "ServiceUnavailable"}
)
_WHY: Final = {
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is not known there",
    "AccessDenied": "access denied",
    "ExpiredToken": "the session token is no longer valid",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object",
    "PreconditionFailed": "the object was changed while it was read",
    "401": "access denied",
    "403": "access denied",
    "404": "there is no such bucket or object",
    "412": "the object was changed while it was read",
}


@dataclass(frozen=True)
class Location:
    """``s3://bucket/prefix``"""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, path: str) -> Location:
        """Reads the ``path`` of an entry.

        :raises Unusable: it is no S3 address.
        """
        match = re.fullmatch(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/(.*))?", path, re.DOTALL)
        if match is None:
            raise Unusable(f"path {path!r} is not of the form s3://bucket/prefix")
        return cls(match[1], (match[2] or "").strip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass
class S3Store:
    """The objects below a location, read with one client."""

    client: Any = field(repr=False)
    location: Location
    endpoint: str
    workers: int = WORKERS
    #: Objects whose ETag is no hash of the content, whatever it looks like.
    _opaque: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        """``s3://bucket/prefix at https://...``"""
        return f"{self.location} at {self.endpoint}"

    def files(self) -> list[RemoteFile]:
        """Everything below the location, or the object it names."""
        prefix = f"{self.location.prefix}/" if self.location.prefix else ""
        found = [file for entry in self._listed(prefix) if (file := self._file(entry, prefix)) is not None]
        if found or not prefix:
            return found
        return [self._single()]

    def read(self, file: RemoteFile, start: int, length: int) -> Iterator[bytes]:
        """A stretch of an object, of the version that was listed."""
        request: dict[str, Any] = {"Bucket": self.location.bucket, "Key": file.key, "IfMatch": file.version}
        if (start, length) != (0, file.size):
            request["Range"] = f"bytes={start}-{start + length - 1}"
        with self._translated(file.key):
            response = self.client.get_object(**request)
            if response.get("SSECustomerAlgorithm") or "kms" in response.get("ServerSideEncryption", ""):
                self._opaque.add(file.key)
            body = response["Body"]
            try:
                yield from body.iter_chunks(_CHUNK)
            finally:
                body.close()

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """The MD5 that a plain ETag is, else a checksum of the whole object where the server has one."""
        if file.size == 0:
            return None
        if file.md5 and file.key not in self._opaque:
            return Checksum("md5", file.md5)
        with self._translated(file.key):
            head = self.client.head_object(
                Bucket=self.location.bucket, Key=file.key, IfMatch=file.version, ChecksumMode="ENABLED"
            )
        return whole_checksum(head)

    def close(self) -> None:
        """Closes the connections."""
        self.client.close()

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        with self._translated(str(self.location)):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.location.bucket, Prefix=prefix):
                yield from page.get("Contents", ())

    def _file(self, entry: dict[str, Any], prefix: str) -> RemoteFile | None:
        key, size, etag = entry["Key"], int(entry["Size"]), entry["ETag"]
        if key.endswith("/"):
            # How consoles write a directory.
            return None
        return self._remote(safe_relative(key[len(prefix) :]), key, size, etag, entry.get("LastModified"))

    def _single(self) -> RemoteFile:
        key = self.location.prefix
        with self._translated(key):
            head = self.client.head_object(Bucket=self.location.bucket, Key=key)
        name = safe_relative(key.rpartition("/")[2])
        return self._remote(name, key, int(head["ContentLength"]), head["ETag"], head.get("LastModified"))

    def _remote(self, path: str, key: str, size: int, etag: str, modified: Any) -> RemoteFile:
        plain = etag.strip('"').lower()
        return RemoteFile(
            path,
            size,
            etag,
            key,
            modified=modified.timestamp() if modified is not None else None,
            md5=plain if _PLAIN_MD5.fullmatch(plain) else "",
        )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            IncompleteReadError,
            ResponseStreamingError,
        )
        from botocore.exceptions import ConnectionError as BotoConnectionError
        from urllib3.exceptions import HTTPError

        broken = (BotoConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)

        try:
            yield
        except ClientError as error:
            text = f"{what} at {self.endpoint}: {reason(error)}"
            code, status = _code(error.response)
            if code in _BUSY or status >= 500 or status == 429:
                raise TransientError(text) from None
            raise DataError(text, hint=_hint(code, status)) from None
        except (*broken, HTTPError, OSError) as error:
            raise TransientError(f"{what} at {self.endpoint}: {reason(error)}") from None
        except BotoCoreError as error:
            raise DataError(f"{what} at {self.endpoint}: {reason(error)}") from None


class _S3Provider(RemoteProvider):
    """What both providers share."""

    fields = frozenset({"region", "endpoint_url"})

    def verify(self, source: Source) -> None:
        """The path is an address, the endpoint an URL."""
        Location.parse(source.path)
        url = source.extra.get("endpoint_url", "")
        if url:
            _check_url(url)

    def _store(self, source: Source, access: Access, login: S3Login | None, endpoint: str) -> S3Store:
        environ = access.environ
        region = source.extra.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        from botocore.exceptions import BotoCoreError

        try:
            client = make_client(login, endpoint, region or DEFAULT_REGION)
        except (BotoCoreError, ValueError) as error:
            # A region that cannot be one, a profile that does not exist.
            raise Unusable(reason(error)) from None
        shown = access.redactor.text(endpoint or str(client.meta.endpoint_url))
        return S3Store(client, Location.parse(source.path), shown)


class MinioProvider(_S3Provider):
    """An S3 server of one's own; usable when its endpoint answers, whatever it says."""

    name = "minio"

    def connect(self, source: Source, access: Access) -> S3Store:
        """The store at the endpoint of the entry, of the login, or on this host."""
        login = s3_login(MINIO, access) or S3Login()
        endpoint = source.extra.get("endpoint_url") or login.endpoint or DEFAULT_MINIO
        _check_url(endpoint)
        store = self._store(source, access, login, endpoint)
        within(PROBE_LIMIT, f"{store.endpoint} does not answer", lambda: _any_answer(store))
        return store


class AwsProvider(_S3Provider):
    """Amazon's S3; usable when the bucket can be listed or the object can be read."""

    name = "aws"

    def connect(self, source: Source, access: Access) -> S3Store:
        """The store, with the keys of the login, else those boto3 finds, else none."""
        login = s3_login(AWS, access)
        endpoint = source.extra.get("endpoint_url", "")
        if login is not None and login.username:
            candidates: list[S3Login | None] = [login]
        else:
            found = within(PROBE_LIMIT, "looking for keys took too long", lambda: _chain_secrets(access))
            candidates = [None, S3Login()] if found else [S3Login()]
        refusal: Unusable | None = None
        for candidate in candidates:
            store = self._store(source, access, candidate, endpoint)
            try:
                within(PROBE_LIMIT, f"{store.endpoint} does not answer", lambda: _readable(store))  # noqa: B023
            except Unusable as error:
                store.close()
                refusal = refusal or error
            else:
                return store
        raise refusal or Unusable("no keys")  # pragma: no branch - there is always a candidate


def make_client(login: S3Login | None, endpoint: str, region: str) -> Any:
    """A client; with ``None`` it uses the default chain of boto3, without a user name no keys at all."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    anonymous = login is not None and not login.username
    options: dict[str, Any] = {"signature_version": UNSIGNED} if anonymous else {}
    if endpoint:
        options["s3"] = {"addressing_style": "path"}
    config = Config(
        connect_timeout=10,
        read_timeout=30,
        # Attempts are counted by us, who know where a transfer broke off.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=WORKERS + 2,
        # Checksums are compared by us, also over several ranges.
        response_checksum_validation="when_required",
        request_checksum_calculation="when_required",
        tcp_keepalive=True,
        **options,
    )
    keys: dict[str, str] = {}
    if login is not None and login.username:
        keys = {"aws_access_key_id": login.username, "aws_secret_access_key": login.password.reveal()}
    session = boto3.session.Session()
    return session.client("s3", region_name=region, endpoint_url=endpoint or None, config=config, **keys)


def whole_checksum(head: dict[str, Any]) -> Checksum | None:
    """The checksum of a whole object in the answer to a HEAD request, of a kind Python can compute."""
    if head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    for algorithm in ("sha256", "sha1", "crc32"):
        text = head.get(f"Checksum{algorithm.upper()}")
        # ``<value>-<parts>`` is a checksum of checksums.
        if isinstance(text, str) and "-" not in text:
            try:
                return Checksum(algorithm, base64.b64decode(text, validate=True).hex())
            except binascii.Error:
                continue
    return None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Unusable("the endpoint is no http or https address")


def _any_answer(store: S3Store) -> None:
    """Asks for one name; a refusal is an answer too."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        store.client.list_objects_v2(Bucket=store.location.bucket, MaxKeys=1)
    except ClientError:
        return
    except (BotoCoreError, OSError) as error:
        raise Unusable(f"{store.endpoint}: {reason(error)}") from None


def _readable(store: S3Store) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = store.location.bucket, store.location.prefix
    try:
        try:
            store.client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except ClientError:
            if not prefix:
                raise
            store.client.head_object(Bucket=bucket, Key=prefix)
    except (ClientError, BotoCoreError, OSError) as error:
        raise Unusable(f"{store.location} at {store.endpoint}: {reason(error)}") from None


def _chain_secrets(access: Access) -> bool:
    """True when the default chain of boto3 finds keys; they are made known to the redactor."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        credentials = boto3.session.Session().get_credentials()
        if credentials is None:
            return False
        frozen = credentials.get_frozen_credentials()
    except BotoCoreError:
        return False
    access.redactor.add(*(text for text in (frozen.secret_key, frozen.token) if text))
    return True


def _code(response: dict[str, Any]) -> tuple[str, int]:
    code = str(response.get("Error", {}).get("Code", ""))
    return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def reason(error: BaseException) -> str:
    """What went wrong, in one line, without the request."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code, status = _code(response)
        message = " ".join(str(response.get("Error", {}).get("Message", "")).split())
        why = _WHY.get(code) or _WHY.get(str(status)) or message[:300] or "refused"
        return f"{why} ({code or status})"
    cause: BaseException | None = error
    while cause is not None:
        # Deep inside lies what the system said; around it are texts that repeat the whole address.
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def _hint(code: str, status: int) -> str:
    if status in {401, 403} or code in {"SignatureDoesNotMatch", "InvalidAccessKeyId"}:
        return f"check {AWS} or {MINIO} in the environment or in the credential file"
    return "check the path in data.json" if status == 404 else ""
