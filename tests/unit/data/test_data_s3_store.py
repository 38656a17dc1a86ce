"""S3 stores and providers with a client in memory (contract 13.3); the real server is in tests/e2e."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody
from pytest_madengine.data import s3
from pytest_madengine.data.config import Source
from pytest_madengine.data.logins import S3Login
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.data.s3 import (
    AwsProvider,
    Location,
    MinioProvider,
    S3Store,
    make_client,
    whole_checksum,
)
from pytest_madengine.data.store import Checksum, TransientError
from pytest_madengine.errors import DataError
from pytest_madengine.secrets import Secret


def refusal(code: str, status: int, message: str = "") -> ClientError:
    error = {"Code": code, "Message": message}
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


class FakeClient:
    """A bucket in memory; ``problems`` are raised one by one by any call."""

    def __init__(
        self, objects: dict[str, bytes] | None = None, problems: list[Exception] | None = None
    ) -> None:
        self.objects = objects or {}
        self.problems = problems or []
        self.calls: list[dict[str, Any]] = []
        self.closed = False
        self.extra: dict[str, Any] = {}
        self.meta = type("Meta", (), {"endpoint_url": "https://s3.eu.amazonaws.com"})()
        self.page = 2

    def _call(self, **request: Any) -> None:
        self.calls.append(request)
        if self.problems:
            raise self.problems.pop(0)

    def _entry(self, key: str) -> dict[str, Any]:
        digest = hashlib.md5(self.objects[key]).hexdigest()
        etag = f'"{digest}-3"' if key.startswith("parts/") else f'"{digest}"'
        modified = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
        return {"Key": key, "ETag": etag, "LastModified": modified, "Size": len(self.objects[key])}

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        self._call(**request)
        return {}

    def get_paginator(self, operation: str) -> FakeClient:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._call(**request)
        keys = sorted(key for key in self.objects if key.startswith(request["Prefix"]))
        for start in range(0, len(keys), self.page):
            yield {"Contents": [self._entry(key) for key in keys[start : start + self.page]]}
        yield {}

    def head_object(self, **request: Any) -> dict[str, Any]:
        self._call(**request)
        if request["Key"] not in self.objects:
            raise refusal("404", 404, "Not Found")
        entry = self._entry(request["Key"])
        return {**entry, "ContentLength": entry["Size"], **self.extra}

    def get_object(self, **request: Any) -> dict[str, Any]:
        self._call(**request)
        data = self.objects[request["Key"]]
        if "Range" in request:
            start, end = request["Range"].removeprefix("bytes=").split("-")
            data = data[int(start) : int(end) + 1]
        return {"Body": StreamingBody(io.BytesIO(data), len(data)), **self.extra}

    def close(self) -> None:
        self.closed = True


def store_of(client: FakeClient, path: str = "s3://bucket/set") -> S3Store:
    return S3Store(client, Location.parse(path), "http://there")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a/b", ("bucket", "a/b")),
        ("s3://bucket/a/b/", ("bucket", "a/b")),
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
    ],
)
def test_locations(path: str, expected: tuple[str, str]) -> None:
    """Contract 13.3: `s3://bucket/prefix`."""
    location = Location.parse(path)
    assert (location.bucket, location.prefix) == expected
    assert str(location) == path.rstrip("/")


@pytest.mark.parametrize(
    "path", ["", "bucket/prefix", "s3:/bucket", "s3://", "s3:///x", "https://bucket/x", "s3://a b"]
)
def test_wrong_locations(path: str) -> None:
    with pytest.raises(Unusable, match=r"is not of the form s3://bucket/prefix"):
        Location.parse(path)


def test_listing() -> None:
    """Contract 13.3: everything below the prefix, over all pages; directory markers are no files."""
    objects = {"set/a": b"1", "set/b/c": b"22", "set/b/": b"", "settle": b"no", "set": b"no", "set/d": b""}
    files = {file.path: file for file in store_of(FakeClient(objects)).files()}
    assert {path: file.size for path, file in files.items()} == {"a": 1, "b/c": 2, "d": 0}
    assert files["a"].md5 == hashlib.md5(b"1").hexdigest()
    assert files["a"].modified == 1767312000.0
    assert not files["a"].trust_time
    assert [file.path for file in store_of(FakeClient({"x": b"1"}), "s3://bucket").files()] == ["x"]
    assert store_of(FakeClient(), "s3://bucket").files() == []


def test_a_single_object() -> None:
    """Contract 13.3: `... or that object`."""
    (file,) = store_of(FakeClient({"set/deep/one.bin": b"123"}), "s3://bucket/set/deep/one.bin").files()
    assert (file.path, file.key, file.size) == ("one.bin", "set/deep/one.bin", 3)
    with pytest.raises(DataError, match="set at http://there: there is no such bucket or object"):
        store_of(FakeClient()).files()


def test_keys_that_cannot_be_files() -> None:
    with pytest.raises(DataError, match="cannot be a file name"):
        store_of(FakeClient({"set/../../etc/passwd": b"1"})).files()


def test_reading_asks_for_the_listed_version() -> None:
    client = FakeClient({"set/a": b"0123456789"})
    store = store_of(client)
    (file,) = store.files()
    assert b"".join(store.read(file, 0, 10)) == b"0123456789"
    assert client.calls[-1] == {"Bucket": "bucket", "Key": "set/a", "IfMatch": file.version}
    assert b"".join(store.read(file, 3, 4)) == b"3456"
    assert client.calls[-1]["Range"] == "bytes=3-6"
    assert store.label == "s3://bucket/set at http://there"
    store.close()
    assert client.closed


def test_checksums() -> None:
    """Contract 13.3: compared where available: a plain ETag, else a checksum of the whole object."""
    client = FakeClient({"set/a": b"1", "set/e": b""})
    store = store_of(client)
    plain, empty = store.files()
    assert store.checksum(plain) == Checksum("md5", plain.md5)
    assert store.checksum(empty) is None
    client.extra = {"ServerSideEncryption": "aws:kms"}
    list(store.read(plain, 0, 1))
    assert store.checksum(plain) is None
    parts = store_of(FakeClient({"parts/a": b"1"}), "s3://bucket/parts")
    (file,) = parts.files()
    assert file.md5 == ""
    assert parts.checksum(file) is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, None),
        ({"ChecksumSHA256": base64.b64encode(b"\1" * 32).decode()}, Checksum("sha256", "01" * 32)),
        (
            {"ChecksumCRC32": base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()},
            Checksum("crc32", f"{zlib.crc32(b'x'):08x}"),
        ),
        ({"ChecksumType": "COMPOSITE", "ChecksumSHA1": "AAAA"}, None),
        ({"ChecksumSHA1": "AAAA-3"}, None),
        ({"ChecksumSHA1": "?"}, None),
        ({"ChecksumCRC64NVME": "AAAAAAAAAAA="}, None),
    ],
)
def test_whole_checksums(head: dict[str, Any], expected: Checksum | None) -> None:
    assert whole_checksum(head) == expected


def _reset() -> Exception:
    inner = ResponseStreamingError(error="('Connection broken', 'http://user:planted@h')")
    inner.__context__ = ConnectionResetError(104, "Connection reset by peer")
    return inner


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal("SlowDown", 503), "refused (SlowDown)"),
        (refusal("InternalError", 500, "We\nbroke"), "We broke (InternalError)"),
        (refusal("", 429), "refused (429)"),
        (ReadTimeoutError(endpoint_url="http://there"), "ReadTimeoutError: "),
        (EndpointConnectionError(endpoint_url="http://there"), "EndpointConnectionError: "),
        (_reset(), "Connection reset by peer"),
        (TimeoutError("timed out"), "TimeoutError: timed out"),
    ],
)
def test_troubles_that_pass(error: Exception, text: str) -> None:
    store = store_of(FakeClient({"set/a": b"1"}, [error]))
    with pytest.raises(TransientError) as caught:
        store.files()
    assert f"at http://there: {text}" in str(caught.value)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "text", "hint"),
    [
        (
            refusal("SignatureDoesNotMatch", 403),
            "the secret key is wrong (SignatureDoesNotMatch)",
            "check MAD_AWS_S3",
        ),
        (refusal("InvalidAccessKeyId", 403), "the access key is not known there", "check MAD_AWS_S3"),
        (refusal("403", 403), "access denied (403)", "credential file"),
        (refusal("NoSuchBucket", 404), "there is no such bucket (NoSuchBucket)", "data.json"),
        (refusal("PreconditionFailed", 412), "the object was changed while it was read", ""),
        (refusal("Odd", 400, "odd request"), "odd request (Odd)", ""),
        (NoCredentialsError(), "NoCredentialsError: Unable to locate credentials", ""),
    ],
)
def test_troubles_that_stay(error: Exception, text: str, hint: str) -> None:
    store = store_of(FakeClient({"set/a": b"1"}, [error]))
    with pytest.raises(DataError) as caught:
        store.files()
    assert f"at http://there: {text}" in caught.value.message
    assert hint in caught.value.hint


# ---- providers ------------------------------------------------------------------------------------------

Clients = Callable[..., list[tuple[S3Login | None, str, str]]]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Makes ``make_client`` give these clients; returns what was asked for."""

    def install(*given: FakeClient, chain: bool = False) -> list[tuple[S3Login | None, str, str]]:
        asked: list[tuple[S3Login | None, str, str]] = []
        pending = list(given)

        def make(login: S3Login | None, endpoint: str, region: str) -> FakeClient:
            asked.append((login, endpoint, region))
            return pending.pop(0)

        monkeypatch.setattr(s3, "make_client", make)
        monkeypatch.setattr(s3, "_chain_secrets", lambda access: chain)
        return asked

    return install


def source(path: str = "s3://bucket/set", **extra: str) -> Source:
    return Source("d", "aws", path, extra=extra)


def access(**environ: str) -> Access:
    return Access(Path("/root"), environ)


def test_aws_with_keys(clients: Clients) -> None:
    """Contract 13.3, 13.4: the keys of MAD_AWS_S3, and only those."""
    asked = clients(FakeClient(), chain=True)
    login = json.dumps({"USERNAME": "u", "PASSWORD": "planted"})
    store = AwsProvider().connect(source(), access(MAD_AWS_S3=login))
    assert asked == [(S3Login("u", Secret("planted")), "", "us-east-2")]
    assert store.endpoint == "https://s3.eu.amazonaws.com"


@pytest.mark.parametrize(
    ("environ", "extra", "region"),
    [
        ({}, {}, "us-east-2"),
        ({"AWS_DEFAULT_REGION": "b"}, {}, "b"),
        ({"AWS_DEFAULT_REGION": "b", "AWS_REGION": "a"}, {}, "a"),
        ({"AWS_REGION": "a"}, {"region": "c"}, "c"),
    ],
)
def test_regions(clients: Clients, environ: dict[str, str], extra: dict[str, str], region: str) -> None:
    """Contract 13.3."""
    asked = clients(FakeClient())
    AwsProvider().connect(source(**extra), access(**environ))
    assert asked[0][2] == region


def test_aws_without_keys(clients: Clients) -> None:
    """Contract 13.4: the default chain of boto3, then anonymous."""
    asked = clients(FakeClient())
    AwsProvider().connect(source(), access())
    assert asked[0][0] == S3Login()
    refused = FakeClient(problems=[refusal("AccessDenied", 403)] * 2)
    asked = clients(refused, FakeClient(), chain=True)
    AwsProvider().connect(source(), access())
    assert [login for login, _, _ in asked] == [None, S3Login()]
    assert refused.closed


def test_aws_may_read_without_listing(clients: Clients) -> None:
    """Contract 13.3: bucket can be listed or read."""
    clients(FakeClient({"set": b"1"}, [refusal("AccessDenied", 403)]))
    AwsProvider().connect(source(), access())


@pytest.mark.parametrize("path", ["s3://bucket/set", "s3://bucket"])
def test_aws_is_unusable(clients: Clients, path: str) -> None:
    """Contract 13.2: one reason, that of the first attempt."""
    denied = [refusal("AccessDenied", 403)] * 2
    clients(FakeClient(problems=denied[:]), FakeClient(problems=[BotoCoreError()]), chain=True)
    with pytest.raises(Unusable, match=rf"^{path} at https://s3\.eu\.amazonaws\.com: access denied"):
        AwsProvider().connect(source(path), access())


@pytest.mark.parametrize(
    ("extra", "environ", "endpoint"),
    [
        ({}, {}, "http://localhost:9000"),
        ({}, {"MINIO_ENDPOINT": "http://a:1"}, "http://a:1"),
        ({"endpoint_url": "https://c"}, {"MINIO_ENDPOINT": "http://a:1"}, "https://c"),
    ],
)
def test_minio(clients: Clients, extra: dict[str, str], environ: dict[str, str], endpoint: str) -> None:
    """Contract 13.3, 13.4: endpoint of the entry, of the login, or localhost; any answer will do."""
    asked = clients(FakeClient(problems=[refusal("AccessDenied", 403)]))
    MinioProvider().connect(source(**extra), access(MAD_MINIO=json.dumps(environ)))
    assert asked[0][:2] == (S3Login("", Secret(""), environ.get("MINIO_ENDPOINT", "")), endpoint)


def test_minio_that_does_not_answer(clients: Clients) -> None:
    clients(FakeClient(problems=[EndpointConnectionError(endpoint_url="http://localhost:9000")]))
    with pytest.raises(Unusable, match=r"^http://localhost:9000: EndpointConnectionError"):
        MinioProvider().connect(source(), access())


def test_passwords_in_endpoints_are_not_shown(clients: Clients) -> None:
    clients(FakeClient())
    store = MinioProvider().connect(source(endpoint_url="http://u:planted@h:1"), access())
    assert "planted" not in store.label


@pytest.mark.parametrize("url", ["ftp://h", "h:9000", "http://", "http://h:x", "http://[", "http://h:0"])
def test_wrong_endpoints(url: str) -> None:
    with pytest.raises(Unusable, match="no http or https address"):
        AwsProvider().verify(source(endpoint_url=url))
    with pytest.raises(Unusable, match="no http or https address"):
        MinioProvider().connect(source(), access(MAD_MINIO=json.dumps({"MINIO_ENDPOINT": url})))


def test_clients() -> None:
    """Anonymous without a user name, path addressing with an endpoint, one attempt per request."""
    from botocore import UNSIGNED

    client = make_client(S3Login(), "http://127.0.0.1:9", "us-east-2")
    assert client.meta.config.signature_version is UNSIGNED
    assert client.meta.config.s3["addressing_style"] == "path"
    assert client.meta.config.retries["total_max_attempts"] == 1
    client.close()
    client = make_client(S3Login("u", Secret("p")), "", "eu-west-1")
    assert client.meta.region_name == "eu-west-1"
    assert "planted" not in repr(store_of(FakeClient()))
    client.close()


def test_clients_that_cannot_be_made() -> None:
    """A region that cannot be one is a reason, no crash."""
    login = json.dumps({"USERNAME": "u", "PASSWORD": "planted"})
    with pytest.raises(Unusable, match="InvalidRegionError"):
        AwsProvider().connect(source(region="no region!"), access(MAD_AWS_S3=login))


def test_keys_of_the_default_chain_are_made_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Secrets that boto3 finds by itself are masked as well."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-chain")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    found = access()
    assert s3._chain_secrets(found)
    assert found.redactor.text("planted-chain") == "***"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert not s3._chain_secrets(found)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    assert not s3._chain_secrets(found)
