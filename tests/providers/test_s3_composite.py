"""Objects whose parts alone have checksums, as other clients upload them: verified all the same."""

from __future__ import annotations

import os
from base64 import b64encode
from contextlib import asynccontextmanager
from hashlib import md5, sha1
from urllib.parse import urlsplit
from zlib import crc32

import pytest
import pytest_asyncio
from awscrt import checksums as crt

from asyncstore import open_store
from asyncstore.errors import IntegrityError, UnavailableError
from asyncstore.layers import RetryPolicy
from asyncstore.providers.s3 import S3Provider, capabilities
from asyncstore.testing.canary import CANARY_SECRET
from asyncstore.testing.faultproxy import FaultProxy
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.types import MiB, Settings

SIZES = (5 * MiB, 6 * MiB + 1, 7)
DATA = os.urandom(sum(SIZES))
KINDS = ["CRC32", "CRC32C", "SHA1", "SHA256"]


def pieces(data=DATA, sizes=SIZES):
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size


def upload_by_another_client(server, bucket, key, kind):
    """Upload in parts of different sizes, with a checksum of each part."""
    client = server.client()
    try:
        upload = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=kind)
        name, parts = upload["UploadId"], []
        for number, piece in enumerate(pieces(), 1):
            part = client.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=name,
                PartNumber=number,
                Body=piece,
                ChecksumAlgorithm=kind,
            )
            told = {field: part[field] for field in ("ETag", f"Checksum{kind}")}
            parts.append({"PartNumber": number, **told})
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=name, MultipartUpload={"Parts": parts}
        )
    finally:
        client.close()


@pytest.fixture(scope="module", params=["seaweedfs", "ministack"])
def objects(request):
    """A server and a bucket with an object of each kind, by its kind's name."""
    server = request.getfixturevalue(request.param)
    bucket = server.make_bucket()
    for kind in KINDS:
        upload_by_another_client(server, bucket, kind, kind)
    return server, bucket


@asynccontextmanager
async def flipping(objects, **options):
    """A store behind a proxy that turns one bit of what comes."""
    server, bucket = objects
    at = urlsplit(server.url)
    async with FaultProxy(at.hostname, at.port) as proxy:
        proxy.down.flip = frozenset({2 * MiB})
        creds = server.creds | {"endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        async with open_store(f"s3://{bucket}", creds=creds, **options) as store:
            yield store


@pytest.fixture
def in_parts(monkeypatch):
    """Read what is larger than 3 MiB in parts, as larger objects are."""
    monkeypatch.setattr("asyncstore.store._live.LARGE", 3 * MiB)
    monkeypatch.setattr("asyncstore.store._reading.PART", 3 * MiB)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.anyio
async def test_right_bytes_are_right_however_they_are_read(objects, kind, monkeypatch):
    server, bucket = objects
    async with open_store(f"s3://{bucket}", creds=server.creds) as store:
        assert (await store.get(kind)).data == DATA
        async with store.stream(kind) as stream:
            assert b"".join([bytes(view) async for view in stream]) == DATA
    monkeypatch.setattr("asyncstore.store._live.LARGE", 3 * MiB)
    async with open_store(f"s3://{bucket}", creds=server.creds) as store:
        assert (await store.get(kind)).data == DATA


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio
async def test_a_flipped_bit_is_found_in_one_request(objects, kind):
    async with flipping(objects) as store:
        with pytest.raises(IntegrityError, match=f"do not have the {kind.lower()}"):
            await store.get(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio
async def test_a_flipped_bit_is_found_in_a_stream_before_its_last_byte(objects, kind):
    async with flipping(objects) as store, store.stream(kind) as stream:
        came = await anext(stream)
        left = len(DATA) - len(came)

        async def rest():
            nonlocal left
            async for view in stream:
                left -= len(view)

        with pytest.raises(IntegrityError, match=kind.lower()):
            await rest()
    assert left > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio
async def test_a_flipped_bit_is_found_in_a_read_in_parts(objects, kind, in_parts):
    async with flipping(objects) as store:
        with pytest.raises(IntegrityError, match=kind.lower()):
            await store.get(kind)


@pytest.mark.asyncio
async def test_without_checksums_nothing_is_compared(objects):
    async with flipping(objects, checksums=False) as store:
        assert (await store.get("CRC32")).data != DATA


# What a service says of the parts, and does not: a fake.

KEYS = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": CANARY_SECRET}
HELLO, PARTS = b"hello world", (5, 6)


def sums(*parts):
    digests = b"".join(crc32(part).to_bytes(4, "big") for part in parts)
    return f"{b64encode(crc32(digests).to_bytes(4, 'big')).decode()}-{len(parts)}"


def body(data=HELLO, *parts):
    told = sums(*(parts or pieces(HELLO, PARTS)))
    headers = {"etag": '"e-2"', "x-amz-checksum-crc32": told, "x-amz-checksum-type": "COMPOSITE"}
    return Reply(200, data, headers)


def attributes(*sizes, etag="e-2", cut=False, first=1):
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>"
        for number, size in enumerate(sizes, first)
    )
    return Reply(
        200,
        f"<GetObjectAttributesResponse><ETag>{etag}</ETag><ObjectParts>"
        f"<IsTruncated>{str(cut).lower()}</IsTruncated>{rows}</ObjectParts>"
        "</GetObjectAttributesResponse>".encode(),
    )


class Fake(SmallServer):
    """Answers a read with `object`, and questions about its parts with `told`, one by one."""

    def __init__(self):
        super().__init__(self._answer)
        self.object = body()
        self.told = [attributes(*PARTS)]
        self.asked = 0

    def _answer(self, call):
        if "attributes" not in call.query:
            return self.object
        self.asked += 1
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]


@pytest.fixture
def fake():
    with Fake() as server:
        yield server


@pytest_asyncio.fixture
async def s3(fake):
    provider = S3Provider("bucket", Settings(creds=KEYS, endpoint_url=fake.url))
    yield provider
    await provider.aclose()
    capabilities.forget()


@pytest.mark.asyncio
async def test_parts_are_told_page_by_page(s3, fake):
    fake.told = [attributes(5, cut=True), attributes(6, first=2)]
    assert bytes(await s3.get("k")) == HELLO
    assert fake.asked == 2
    assert fake.calls[-1].headers["x-amz-part-number-marker"] == "1"
    fake.told = [attributes(5, cut=True), attributes(6, first=2)]
    fake.object = body(b"hello worle")
    with pytest.raises(IntegrityError):
        await s3.get("k")


@pytest.mark.asyncio
async def test_an_empty_part_counts(s3, fake):
    fake.object = body(HELLO, b"", HELLO, b"")
    fake.told = [attributes(0, len(HELLO), 0)]
    assert bytes(await s3.get("k")) == HELLO
    fake.object = body(b"hello worle", b"", HELLO, b"")
    with pytest.raises(IntegrityError):
        await s3.get("k")


UNTOLD = {
    "another version": attributes(*PARTS, etag="e-3"),
    "another number of parts": attributes(11),
    "other sizes": attributes(5, 5),
    "a gap": attributes(*PARTS, first=2),
    "a circle": attributes(5, cut=True),
    "deleted since": Reply(404),
}
REFUSED = {
    "no right": Reply(403, b"<Error><Code>AccessDenied</Code></Error>"),
    "not there": Reply(501, b"<Error><Code>NotImplemented</Code></Error>"),
    "not understood": Reply(400, b"<Error><Code>InvalidRequest</Code></Error>"),
    "the object itself": Reply(200, HELLO),
}


@pytest.mark.parametrize("reply", UNTOLD.values(), ids=UNTOLD)
@pytest.mark.asyncio
async def test_what_is_not_of_these_bytes_proves_nothing(s3, fake, reply):
    fake.told = [reply]
    assert bytes(await s3.get("k")) == HELLO
    fake.told = [attributes(*PARTS)]
    fake.object = body(b"hello worle")
    with pytest.raises(IntegrityError):
        await s3.get("k")


@pytest.mark.parametrize("reply", REFUSED.values(), ids=REFUSED)
@pytest.mark.asyncio
async def test_who_does_not_tell_is_not_asked_again(s3, fake, reply):
    fake.told = [reply]
    for _ in range(3):
        assert bytes(await s3.get("k")) == HELLO
    assert fake.asked == 1


@pytest.mark.asyncio
async def test_a_passing_failure_to_tell_is_tried_again(fake):
    fake.told = [Reply(503), attributes(*PARTS)]
    retry = RetryPolicy(base=0.001)
    async with open_store("s3://bucket", creds=KEYS, endpoint_url=fake.url, retry=retry) as store:
        assert bytes(await store.get("k")) == HELLO
    assert fake.asked == 2
    fake.told = [Reply(503)]
    retry = RetryPolicy(attempts=1)
    async with open_store("s3://bucket", creds=KEYS, endpoint_url=fake.url, retry=retry) as store:
        with pytest.raises(UnavailableError):
            await store.get("k")


@pytest.mark.asyncio
async def test_a_range_asks_for_no_parts(s3, fake):
    headers = {"etag": '"e-2"', "content-range": "bytes 0-4/11", "x-amz-checksum-crc32": sums(b"x")}
    fake.object = Reply(206, b"hello", headers)
    assert bytes(await s3.get("k", span=slice_of(0, 5))) == b"hello"
    assert fake.asked == 0


def slice_of(start, stop):
    from asyncstore.types import Span

    return Span(start, stop)


# A large object that is read in parts: every checksum that a service may tell.

WHOLE = {
    "md5": lambda data: "",  # by its ETag
    "crc64nvme": lambda data: b64encode(crt.crc64nvme(data).to_bytes(8)).decode(),
    "crc32c": lambda data: b64encode(crt.crc32c(data).to_bytes(4)).decode(),
    "crc32": lambda data: b64encode(crc32(data).to_bytes(4)).decode(),
    "sha1": lambda data: b64encode(sha1(data, usedforsecurity=False).digest()).decode(),
}


class Large(SmallServer):
    """Serves an object, whole and in ranges, with one checksum of it."""

    def __init__(self, kind):
        super().__init__(self._answer)
        self.data = bytes(range(256)) * 4
        etag = md5(self.data, usedforsecurity=False).hexdigest() if kind == "md5" else "e"
        self.headers = {"etag": f'"{etag}"'}
        if kind != "md5":
            self.headers[f"x-amz-checksum-{kind}"] = WHOLE[kind](self.data)
        self.flip = None

    def _answer(self, call):
        if call.method == "HEAD":
            return Reply(200, b"", self.headers | {"content-length": str(len(self.data))})
        data = bytearray(self.data)
        if self.flip is not None:
            data[self.flip] ^= 1
        span = call.headers.get("range")
        if span is None:
            return Reply(200, bytes(data), self.headers)
        start, _, last = span.removeprefix("bytes=").partition("-")
        begin, end = int(start), int(last) + 1
        told = {"etag": self.headers["etag"]}
        told["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        return Reply(206, bytes(data[begin:end]), told)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.anyio
async def test_a_large_object_is_compared_with_whatever_checksum_is_told(kind, monkeypatch):
    monkeypatch.setattr("asyncstore.store._live.LARGE", 250)
    monkeypatch.setattr("asyncstore.store._reading.PART", 100)
    with Large(kind) as server:
        async with open_store("s3://bucket", creds=KEYS, endpoint_url=server.url) as store:
            assert (await store.get("k")).data == server.data
            assert (await store.get_into("k", bytearray(1024))).data == server.data
            server.flip = 777
            with pytest.raises(IntegrityError, match=kind):
                await store.get("k")


@pytest.mark.parametrize("kind", ["crc64nvme", "crc32c", "crc32"])
@pytest.mark.asyncio
async def test_a_large_file_is_compared_with_the_checksum_that_its_parts_join_to(
    kind, monkeypatch, tmp_path
):
    monkeypatch.setattr("asyncstore.transfer.one.SMALL", 250)
    monkeypatch.setattr("asyncstore.transfer.large.PART", 100)
    with Large(kind) as server:
        async with open_store("s3://bucket", creds=KEYS, endpoint_url=server.url) as store:
            assert (await store.download(["k"], tmp_path / "right")).ok
            assert (tmp_path / "right" / "k").read_bytes() == server.data
            server.flip = 777
            (failure,) = (await store.download(["k"], tmp_path / "wrong")).failures
            assert isinstance(failure.error, IntegrityError)
            assert not (tmp_path / "wrong" / "k").exists()
