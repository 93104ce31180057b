"""What S3, a look-alike or somebody in between may answer, and what must come of it."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import formatdate
from functools import partial
from hashlib import md5 as _md5

import pytest
import pytest_asyncio
from awscrt import checksums as crt

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    IntegrityError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    StoreError,
    ThrottledError,
    TransientError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.http import Response
from asyncstore.layers import Retried, RetryPolicy
from asyncstore.providers.s3 import (
    S3Provider,
    capabilities,
    checksums,
    client,
    copying,
    faults,
    writing,
)
from asyncstore.testing.bytefake import ByteFake, answers, chunked
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.types import Limits, MiB, Settings, Span

pytestmark = pytest.mark.asyncio

md5 = partial(_md5, usedforsecurity=False)

BUCKET = "bucket"
KEYS = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": CANARY_SECRET}
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def error(status, code, **more):
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    body = f"<Error><Code>{code}</Code><Message>said so</Message>{inner}</Error>"
    return Reply(status, body.encode(), {"x-amz-request-id": "REQ1"})


def crc64(data):
    return b64encode(crt.crc64nvme(data).to_bytes(8)).decode()


def composite(*parts):
    sums = b"".join(crt.crc64nvme(part).to_bytes(8) for part in parts)
    return f"{crc64(sums)}-{len(parts)}"


def answer(data, headers=None, status=200):
    return Reply(status, data, {"etag": '"e1"', **(headers or {})})


def xml(root, **fields):
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
    return f"<{root} {XMLNS}>{inner}</{root}>".encode()


class Fake:
    """Answers one reply after another, the last one for ever; `None` hangs up."""

    def __init__(self):
        self.replies = [Reply(500)]
        self.server = SmallServer(self._answer)

    def will(self, *replies):
        self.replies = list(replies)

    @property
    def calls(self):
        return self.server.calls

    def _answer(self, _):
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply() if callable(reply) else reply


@pytest.fixture
def fake():
    fake = Fake()
    with fake.server:
        yield fake


@pytest_asyncio.fixture
async def s3(fake):
    """A provider on the fake, which is taken to honour conditions."""
    facts = capabilities.facts_of(fake.server.url, BUCKET, is_aws=False)
    facts.honours = dict.fromkeys(capabilities.CONDITIONS, True)
    facts.crc = True
    provider = S3Provider(BUCKET, Settings(creds=KEYS, endpoint_url=fake.server.url))
    yield provider
    await provider.aclose()
    capabilities.forget()


@asynccontextmanager
async def on_bytes(*replies, close=False, **settings):
    """A provider on a server that answers byte for byte."""
    async with ByteFake(answers(*replies, close=close)) as server:
        url = str(server.origin)
        provider = S3Provider(BUCKET, Settings(creds=KEYS, endpoint_url=url, **settings))
        yield provider, server
        await provider.aclose()


async def arrived(provider, given=None, **options):
    """Stream an object; what came before an error is in `given`."""
    given = bytearray() if given is None else given
    async with provider.open("k", **options) as stream:
        async for view in stream:
            given += view
    return given


# Reads.


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answer(b"0123456789"), "ignored the range"),
        (answer(b"56789", {"content-range": "bytes 5-9/10"}, 206), "not those"),
        (answer(b"012", {"content-range": "bytes 0-2/10"}, 206), "not those"),
        (answer(b"01234", {}, 206), "not which"),
        (answer(b"01234", {"content-range": "bytes 0-4/*"}, 206), "not which"),
        (answer(b"0123", {"content-range": "bytes 0-4/10"}, 206), "differ"),
        (answer(b"01234", {"content-range": "bytes 0-4/10"}, 203), "status 203"),
    ],
)
async def test_a_range_that_is_not_the_one_asked_for_is_refused(s3, fake, reply, says):
    fake.will(reply)
    with pytest.raises(IntegrityError, match=says):
        await s3.get("k", span=Span(0, 5))
    fake.will(reply)
    with pytest.raises(IntegrityError):
        await arrived(s3, span=Span(0, 5))
    fake.will(reply)
    with pytest.raises(IntegrityError):
        await s3.get("k", span=Span(0, 5), into=memoryview(bytearray(5)))


async def test_a_whole_object_is_a_right_answer_where_the_range_is_the_whole(s3, fake):
    fake.will(answer(b"0123456789"))
    assert bytes(await s3.get("k", span=Span(0, 99))) == b"0123456789"
    assert bytes(await s3.get("k", span=Span(-99))) == b"0123456789"
    # As long as the range: only a checksum tells the whole from a part that is not said to be one.
    for span in (Span(0, 10), Span(-10)):
        with pytest.raises(IntegrityError, match="ignored the range"):
            await s3.get("k", span=span)
    fake.will(answer(b"0123456789", {"x-amz-checksum-crc64nvme": crc64(b"0123456789")}))
    for span in (Span(0, 10), Span(-10)):
        assert bytes(await s3.get("k", span=span)) == b"0123456789"


async def test_a_range_under_status_200_is_a_range(s3, fake):
    fake.will(answer(b"01234", {"content-range": "bytes 0-4/10"}))
    blob = await s3.get("k", span=Span(0, 5))
    assert (bytes(blob), blob.meta.size) == (b"01234", 10)
    with pytest.raises(IntegrityError, match="not those"):
        await s3.get("k")


async def test_a_version_that_was_not_asked_for_is_refused(s3, fake):
    fake.will(answer(b"other"))
    with pytest.raises(IntegrityError, match="ignored the version"):
        await s3.get("k", if_match='"e2"')


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc64nvme": crc64(b"hello")},
        {"x-amz-checksum-crc32c": b64encode(crt.crc32c(b"hello").to_bytes(4)).decode()},
        {"x-amz-checksum-crc32": b64encode(crt.crc32(b"hello").to_bytes(4)).decode()},
        {"x-amz-checksum-sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="},
        {"x-amz-checksum-sha1": "qvTGHdzF6KLavt4PO0gs2a6pQ00="},
        {"etag": f'"{md5(b"hello").hexdigest()}"'},
        {"etag": f'"{md5(b"hello").hexdigest()}"', "x-amz-server-side-encryption": "AES256"},
    ],
)
async def test_a_flipped_bit_is_found_before_the_last_byte_is_given(s3, fake, headers):
    fake.will(answer(b"hello", headers))
    assert bytes(await s3.get("k")) == b"hello"
    for bad in (b"hellp", b"iello", b"hel\x00o"):
        fake.will(answer(bad, headers))
        with pytest.raises(IntegrityError, match="do not have the object's"):
            await s3.get("k")
        with pytest.raises(IntegrityError):
            await s3.get("k", into=memoryview(bytearray(5)))
        with pytest.raises(IntegrityError):
            await s3.get("k", span=Span(0, 5), into=memoryview(bytearray(5)))
        given = bytearray()
        with pytest.raises(IntegrityError):
            await arrived(s3, given)
        assert len(given) < 5


async def test_a_large_stream_withholds_its_end_when_a_bit_was_flipped(s3, fake):
    data = bytes(range(256)) * 12_000
    bad = b"\x01" + data[1:]
    fake.will(answer(bad, {"x-amz-checksum-crc64nvme": crc64(data)}))
    given = bytearray()
    with pytest.raises(IntegrityError):
        await arrived(s3, given)
    assert 0 < len(given) < len(data)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA=-3"},
        {"x-amz-checksum-crc32c": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"},
        {"etag": f'"{md5(b"x").hexdigest()}-2"'},
        {"etag": f'"{md5(b"x").hexdigest()}"', "x-amz-server-side-encryption": "aws:kms"},
        {
            "etag": f'"{md5(b"x").hexdigest()}"',
            "x-amz-server-side-encryption-customer-algorithm": "AES256",
        },
        {"etag": '"not-an-md5"'},
    ],
)
async def test_what_is_no_checksum_of_the_whole_is_not_taken_for_one(s3, fake, headers):
    fake.will(answer(b"hello", headers))
    blob = await s3.get("k")
    assert bytes(blob) == b"hello"
    assert blob.meta.checksums == {}


async def test_a_range_is_not_compared_with_the_checksum_of_the_whole(s3, fake):
    whole = {"x-amz-checksum-crc64nvme": crc64(b"0123456789"), "etag": f'"{"a" * 32}"'}
    fake.will(answer(b"01234", {**whole, "content-range": "bytes 0-4/10"}, 206))
    assert bytes(await s3.get("k", span=Span(0, 5))) == b"01234"
    assert await arrived(s3, span=Span(0, 5)) == b"01234"


async def test_without_checksums_nothing_is_compared(fake):
    settings = Settings(creds=KEYS, endpoint_url=fake.server.url, checksums=False)
    provider = S3Provider(BUCKET, settings)
    fake.will(answer(b"hellp", {"x-amz-checksum-crc64nvme": crc64(b"hello")}))
    assert bytes(await provider.get("k")) == b"hellp"
    assert "x-amz-checksum-mode" not in fake.calls[-1].headers
    await provider.put("k", b"x")
    assert not [name for name in fake.calls[-1].headers if "checksum" in name or "md5" in name]
    await provider.aclose()


HEAD = b'HTTP/1.1 200 OK\r\netag: "e1"\r\n'


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"connection: close\r\n\r\nhalf of i",
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([b"half of i"]),
        HEAD + b"content-length: 20\r\n\r\nhalf of i",
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([b"half of i"], last=False),
    ],
    ids=["unframed", "chunked, ended early", "cut", "chunked, cut"],
)
async def test_half_an_object_is_no_object(reply):
    async with on_bytes(reply, close=True) as (provider, _):
        with pytest.raises((IntegrityError, UnavailableError)):
            await provider.get("k")
        with pytest.raises((IntegrityError, UnavailableError)):
            await arrived(provider)


HELLO = HEAD + f"x-amz-checksum-crc64nvme: {crc64(b'hello')}\r\n".encode()
CHUNKS = HELLO + b"transfer-encoding: chunked\r\n\r\n"


async def test_chunks_are_fine_where_a_checksum_proves_them():
    reply = CHUNKS + chunked([b"he", b"llo"])
    async with on_bytes(reply, HELLO + b"content-length: 5\r\n\r\n") as (provider, _):
        assert await arrived(provider) == b"hello"
    async with on_bytes(reply) as (provider, _):
        blob = await provider.get("k")
        assert bytes(blob) == b"hello"
        assert blob.meta.size == 5


@pytest.mark.parametrize("size", [None, 4, 6])
async def test_a_stream_whose_length_nobody_tells_or_which_has_another_is_refused(size):
    reply = CHUNKS + chunked([b"he", b"llo"])
    told = reply if size is None else HELLO + b"content-length: %d\r\n\r\n" % size
    async with on_bytes(reply, told) as (provider, _):
        with pytest.raises(IntegrityError):
            await arrived(provider)


async def test_a_stream_in_chunks_that_is_cut_goes_on_to_the_objects_end():
    data = bytes(range(256)) * 2_000
    sums = HEAD + f"x-amz-checksum-crc64nvme: {crc64(data)}\r\n".encode()
    half = sums + b"transfer-encoding: chunked\r\n\r\n" + chunked([data[:400_000]], last=False)

    cut = asyncio.Event()

    async def broken(wire):
        await wire.request()
        await wire.send(half)
        await cut.wait()
        wire.cut()

    async def well(wire):
        while True:
            received = await wire.request()
            if received.method == "HEAD":
                await wire.send(sums + b"content-length: %d\r\n\r\n" % len(data))
                continue
            start = int(received.headers["range"].removeprefix("bytes=").partition("-")[0])
            place = b"content-range: bytes %d-%d/%d\r\n" % (start, len(data) - 1, len(data))
            rest = data[start:]
            head = HEAD.replace(b"200 OK", b"206 Partial") + place
            await wire.send(head + b"content-length: %d\r\n\r\n" % len(rest) + rest)

    async with ByteFake(broken, well) as server:
        provider = S3Provider(BUCKET, Settings(creds=KEYS, endpoint_url=str(server.origin)))
        given = bytearray()
        async with Retried(provider, RetryPolicy()).open("k") as stream:
            assert stream.meta.size == len(data)
            async for view in stream:
                given += view
                cut.set()
        assert given == data
        assert [request.method for request in server.requests] == ["GET", "HEAD", "GET"]
        await provider.aclose()


async def test_a_416_is_no_bytes_of_the_version_that_is_there(s3, fake):
    size = answer(b"", {"content-length": "3"})
    fake.will(error(416, "InvalidRange"), size)
    blob = await s3.get("k", span=Span(7, 9))
    assert (bytes(blob), blob.meta.size) == (b"", 3)


async def test_an_object_that_changes_after_a_416_is_told_and_not_asked_for_ever(s3, fake):
    fake.will(error(416, "InvalidRange"), answer(b"", {"content-length": "9"}), error(416, "x"))
    with pytest.raises(ObjectChangedError):
        await s3.get("k", span=Span(7, 9))
    assert len(fake.calls) == 3


async def test_only_a_true_404_is_absent(s3, fake):
    for reply, kind in [
        (error(404, "NoSuchKey"), NotFoundError),
        (error(403, "AccessDenied"), PermissionDeniedError),
        (error(500, "InternalError"), UnavailableError),
        (error(503, "SlowDown"), ThrottledError),
        (Reply(502, b"<html>bad gateway</html>"), UnavailableError),
        (Reply(400, b"junk"), StoreError),
        (Reply(403, b""), PermissionDeniedError),
    ]:
        fake.will(reply)
        # The answer to HEAD has no body, so it may not say which of the transient reasons it is.
        for call, likely in ((s3.get("k"), kind), (s3.head("k"), (kind, UnavailableError))):
            with pytest.raises(likely) as caught:
                await call
            assert isinstance(caught.value, NotFoundError) == (kind is NotFoundError)
            assert caught.value.status == reply.status


async def test_errors_say_who_where_and_which_request(s3, fake):
    fake.will(error(403, "AccessDenied"))
    with pytest.raises(PermissionDeniedError) as caught:
        await s3.get("a/b")
    assert str(caught.value) == (
        "get s3://bucket/a/b: access denied as AKIA…TEST (from creds=): said so (AccessDenied) "
        "[request REQ1]"
    )


async def test_an_archived_object_is_not_supported(s3, fake):
    fake.will(error(403, "InvalidObjectState"))
    with pytest.raises(NotSupportedError, match="restore"):
        await s3.get("k")


# Writes.


@pytest.mark.parametrize("reply", [Reply(200), Reply(200, b"<html>welcome</html>"), Reply(204)])
async def test_a_write_without_an_etag_is_no_write(s3, fake, reply):
    fake.will(reply)
    with pytest.raises(IntegrityError, match="without an ETag") as caught:
        await s3.put("k", b"x")
    assert caught.value.outcome == "unknown"


async def test_an_acknowledgement_of_other_bytes_is_told(s3, fake):
    fake.will(answer(b"", {"x-amz-checksum-crc64nvme": crc64(b"other")}))
    with pytest.raises(IntegrityError, match="other bytes") as caught:
        await s3.put("k", b"mine")
    assert caught.value.outcome == "unknown"


async def test_a_put_carries_a_checksum_that_the_service_verifies(s3, fake):
    fake.will(answer(b""))
    await s3.put("k", b"hello")
    assert fake.calls[-1].headers["x-amz-checksum-crc64nvme"] == crc64(b"hello")
    assert "expect" not in fake.calls[-1].headers


async def test_until_crc_is_known_to_be_understood_an_md5_goes_along(s3, fake):
    facts = await s3._probes.facts()
    facts.crc = None
    fake.will(answer(b"", {"x-amz-checksum-crc64nvme": crc64(b"a")}), answer(b""))
    await s3.put("k", b"a")
    assert "content-md5" in fake.calls[-1].headers
    await s3.put("k", b"b")
    assert "content-md5" not in fake.calls[-1].headers
    facts.crc = None
    fake.will(answer(b""))
    await s3.put("k", b"a")
    await s3.put("k", b"b")
    assert "x-amz-checksum-crc64nvme" not in fake.calls[-1].headers
    assert fake.calls[-1].headers["content-md5"] == b64encode(md5(b"b").digest()).decode()


async def test_a_server_that_refuses_crc_gets_an_md5(s3, fake):
    facts = await s3._probes.facts()
    facts.crc = None
    fake.will(error(501, "NotImplemented"), answer(b""))
    await s3.put("k", b"a")
    assert [("x-amz-checksum-crc64nvme" in call.headers) for call in fake.calls] == [True, False]


@pytest.mark.parametrize(
    ("reply", "kind", "outcome"),
    [
        (error(500, "InternalError"), UnavailableError, "unknown"),
        (error(503, "ServiceUnavailable"), UnavailableError, "unknown"),
        (error(503, "SlowDown"), ThrottledError, "not_applied"),
        (Reply(429, b""), ThrottledError, "not_applied"),
        (error(409, "ConditionalRequestConflict"), TransientError, "not_applied"),
        (error(409, "OperationAborted"), TransientError, "not_applied"),
        (error(400, "RequestTimeout"), UnavailableError, "not_applied"),
        (error(400, "IncompleteBody"), UnavailableError, "not_applied"),
        (error(400, "BadDigest"), IntegrityError, "not_applied"),
        (error(400, "XAmzContentChecksumMismatch"), IntegrityError, "not_applied"),
        (error(400, "EntityTooLarge"), NotSupportedError, "not_applied"),
        (error(400, "KeyTooLongError"), InvalidPathError, "not_applied"),
        (error(403, "AccessDenied"), PermissionDeniedError, "not_applied"),
        (error(405, "MethodNotAllowed"), NotSupportedError, "not_applied"),
        (error(501, "NotImplemented"), NotSupportedError, "not_applied"),
        (error(404, "NoSuchBucket"), NotFoundError, "not_applied"),
        (error(401, "Whatever"), UnauthenticatedError, "not_applied"),
        (Reply(418, b"teapot"), StoreError, "not_applied"),
    ],
)
async def test_a_refused_write_says_what_is_known_of_it(s3, fake, reply, kind, outcome):
    fake.will(reply)
    with pytest.raises(kind) as caught:
        await s3.put("k", b"x")
    assert caught.value.outcome == outcome
    assert caught.value.retryable == issubclass(kind, TransientError)
    assert not isinstance(caught.value, AlreadyExistsError)


async def test_412_means_what_was_asked(s3, fake):
    fake.will(error(412, "PreconditionFailed"))
    with pytest.raises(AlreadyExistsError):
        await s3.put("k", b"x", if_absent=True)
    with pytest.raises(PreconditionError):
        await s3.put("k", b"x", if_match='"e"')
    with pytest.raises(ObjectChangedError):
        await s3.get("k", if_match='"e"')
    fake.will(error(404, "NoSuchKey"))
    with pytest.raises(PreconditionError):
        await s3.put("k", b"x", if_match='"e"')
    with pytest.raises(ConfigurationError, match="contradict"):
        await s3.put("k", b"x", if_match='"e"', if_absent=True)


@pytest_asyncio.fixture
async def untried(s3):
    (await s3._probes.facts()).honours = {}
    return s3


async def test_a_trial_that_did_not_arrive_whole_says_nothing_of_the_service(untried, fake):
    made = Reply(200, b"", {"etag": '"e1"'})
    fake.will(made, error(400, "RequestTimeout"), Reply(204))
    with pytest.raises(UnavailableError):
        await untried.put("k", b"x", if_absent=True)
    assert (await untried._probes.facts()).honours == {}


async def test_what_a_trial_made_is_removed_also_where_that_takes_two_tries(untried, fake):
    made = Reply(200, b"", {"etag": '"e1"'})
    unmet = error(412, "PreconditionFailed")
    fake.will(made, unmet, error(503, "SlowDown"), Reply(204), Reply(204), made)
    await untried.put("k", b"x", if_absent=True)
    methods = [call.method for call in fake.calls]
    assert methods == ["PUT", "PUT", "DELETE", "DELETE", "DELETE", "PUT"]
    assert fake.calls[2].path == fake.calls[3].path


async def test_a_conflict_with_another_conditional_write_is_to_be_tried_again(s3, fake):
    fake.will(error(409, "ConditionalRequestConflict"))
    with pytest.raises(TransientError) as caught:
        await s3.put("k", b"x", if_absent=True)
    assert caught.value.outcome == "not_applied"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("2.5", 2.5),
        ("-1", None),
        ("1000000000", 1e9),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
async def test_retry_after_is_read_in_all_its_forms(s3, fake, text, seconds):
    for status in (429, 503):
        fake.will(Reply(status, b"", {"retry-after": text}))
        with pytest.raises((ThrottledError, UnavailableError)) as caught:
            await s3.get("k")
        assert vars(caught.value)["retry_after"] == seconds
    later = formatdate(time.time() + 30, usegmt=True)
    assert faults.retry_after({"retry-after": later}) == pytest.approx(30, abs=2)


@pytest.mark.parametrize(
    ("metadata", "content_type"),
    [
        ({"Upper": "x"}, None),
        ({"a b": "x"}, None),
        ({"a": "x\r\ny: z"}, None),
        ({"a": "é"}, None),
        ({"a": " x"}, None),
        (None, "text/plain\r\nx: y"),
    ],
)
async def test_metadata_that_no_header_carries_is_refused_before_anything_is_sent(
    s3, fake, metadata, content_type
):
    with pytest.raises(ConfigurationError):
        await s3.put("k", b"x", metadata=metadata, content_type=content_type)
    with pytest.raises(ConfigurationError):
        await s3.begin_upload("k", metadata=metadata, content_type=content_type)
    assert not fake.calls


async def test_a_checksum_that_is_none_is_an_error_that_says_of_what(s3, fake):
    fake.will(answer(b"hello", {"x-amz-checksum-crc64nvme": "!!!"}))
    with pytest.raises(IntegrityError, match="a crc64nvme that is none") as caught:
        await s3.get("k")
    assert (caught.value.op, caught.value.url) == ("get", s3.locate("k"))


@pytest.mark.parametrize("name", ["seaweedfs", "ministack"])
@pytest.mark.parametrize("kind", ["crc64nvme", "md5"])
async def test_a_service_refuses_bytes_that_were_altered_on_their_way(
    name, kind, request, monkeypatch
):
    """As good as altered: the checksum is of other bytes."""
    server = request.getfixturevalue(name)
    provider = S3Provider(server.make_bucket(), Settings(creds=server.creds))
    (await provider._probes.facts()).crc = kind == "crc64nvme"
    honest, quickly = checksums.compute, checksums.quickly

    async def compute(kind, data):
        return await honest(kind, bytes(data) + b"!")

    upload = await provider.begin_upload("up")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "compute", compute)
        patch.setattr(writing, "quickly", lambda kind, data: quickly(kind, bytes(data) + b"!"))
        with pytest.raises(IntegrityError) as caught:
            await provider.put("k", b"hello")
        assert caught.value.outcome == "not_applied"
        with pytest.raises(IntegrityError):
            await upload.put_part(1, b"hello")
    await upload.abort()
    with pytest.raises(NotFoundError):
        await provider.head("k")
    await provider.aclose()


# Uploads.

BEGUN = Reply(200, xml("InitiateMultipartUploadResult", UploadId="up"))
PART = answer(b"", {"etag": f'"{md5(b"hello").hexdigest()}"'})
JOINED = f'"{md5(md5(b"hello").digest()).hexdigest()}-1"'


async def begun(s3, fake, **options):
    fake.will(BEGUN, PART)
    upload = await s3.begin_upload("k", **options)
    await upload.put_part(1, b"hello")
    return upload


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200), IntegrityError),
        (Reply(200, b"<html/>"), IntegrityError),
        (Reply(200, xml("CompleteMultipartUploadResult", Key="k")), IntegrityError),
        (Reply(200, xml("CompleteMultipartUploadResult")[:40]), IntegrityError),
        (Reply(200, b"<Error><Code>InternalError</Code></Error>"), UnavailableError),
        (Reply(200, b"<Error><Code>SlowDown</Code></Error>"), ThrottledError),
        (error(500, "InternalError"), UnavailableError),
    ],
)
async def test_a_join_that_is_not_proven_is_an_error(s3, fake, reply, kind):
    upload = await begun(s3, fake)
    fake.will(reply)
    with pytest.raises(kind) as caught:
        await upload.complete()
    assert caught.value.outcome == ("not_applied" if kind is ThrottledError else "unknown")


async def test_a_join_sends_the_checksum_of_the_whole_and_compares_the_answers(s3, fake):
    fake.will(BEGUN, PART)
    upload = await s3.begin_upload("k", size=10)
    await upload.put_part(2, b"world")
    await upload.put_part(1, b"hello")
    good = xml("CompleteMultipartUploadResult", ETag="&quot;j&quot;")
    fake.will(Reply(200, good))
    assert (await upload.complete()).etag == '"j"'
    sent = fake.calls[-1]
    assert sent.headers["x-amz-checksum-crc64nvme"] == crc64(b"helloworld")
    assert sent.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert re.findall(rb"<PartNumber>(\d)</PartNumber>", sent.body) == [b"1", b"2"]
    upload = await begun(s3, fake)
    other = xml("CompleteMultipartUploadResult", ETag="j", ChecksumCRC64NVME=crc64(b"other"))
    fake.will(Reply(200, other))
    with pytest.raises(IntegrityError, match="other bytes"):
        await upload.complete()


async def test_where_the_service_sums_up_the_parts_checksums_its_sum_is_compared(s3, fake):
    summing = Reply(200, BEGUN.body, {"x-amz-checksum-type": "COMPOSITE"})
    for told, right in ((composite(b"hello", b"world"), True), (composite(b"hello"), False)):
        fake.will(summing, PART, PART)
        upload = await s3.begin_upload("k", size=10)
        await upload.put_part(1, b"hello")
        await upload.put_part(2, b"world")
        joined = xml("CompleteMultipartUploadResult", ETag="j", ChecksumCRC64NVME=told)
        fake.will(Reply(200, joined))
        if right:
            assert (await upload.complete()).checksums == {}
        else:
            with pytest.raises(IntegrityError, match="other bytes"):
                await upload.complete()
        assert "x-amz-checksum-crc64nvme" not in fake.calls[-1].headers


async def test_a_join_that_the_service_calls_wrong_is_not_asked_for_again(s3, fake):
    upload = await begun(s3, fake)
    fake.will(error(400, "BadDigest"))
    sent = len(fake.calls)
    with pytest.raises(IntegrityError):
        await upload.complete()
    assert len(fake.calls) == sent + 1


async def test_an_upload_of_another_size_than_was_said_is_not_joined(s3, fake):
    upload = await begun(s3, fake, size=6)
    with pytest.raises(IntegrityError, match="5 bytes of 6"):
        await upload.complete()
    fake.will(BEGUN)
    with pytest.raises(IntegrityError, match="0 are there"):
        await (await s3.begin_upload("k")).complete()


async def test_an_upload_that_is_gone_was_joined_if_its_result_is_there(s3, fake):
    upload = await begun(s3, fake)
    fake.will(error(404, "NoSuchUpload"), answer(b"", {"etag": JOINED, "content-length": "5"}))
    assert (await upload.complete()).etag == JOINED
    upload = await begun(s3, fake)
    by_sum = {"x-amz-checksum-crc64nvme": crc64(b"hello"), "content-length": "5"}
    fake.will(error(404, "NoSuchUpload"), answer(b"", by_sum))
    assert (await upload.complete()).size == 5


async def test_an_upload_that_is_gone_without_its_result_is_no_success(s3, fake):
    upload = await begun(s3, fake)
    fake.will(error(404, "NoSuchUpload"), answer(b"", {"content-length": "5"}))
    with pytest.raises(UnavailableError) as caught:
        await upload.complete()
    assert caught.value.outcome == "unknown"
    upload = await begun(s3, fake)
    fake.will(error(404, "NoSuchUpload"), error(404, "NoSuchKey"))
    with pytest.raises(NotFoundError, match="no such upload"):
        await upload.complete()


async def test_a_beginning_without_a_name_is_none(s3, fake):
    for reply in (Reply(200), Reply(200, xml("InitiateMultipartUploadResult")), Reply(200, b"{}")):
        fake.will(reply)
        with pytest.raises(IntegrityError):
            await s3.begin_upload("k")


# Copies.


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200), IntegrityError),
        (Reply(200, xml("CopyObjectResult")), IntegrityError),
        (Reply(200, b"<Error><Code>InternalError</Code></Error>"), UnavailableError),
        (Reply(200, b"<Error><Code>SlowDown</Code></Error>"), ThrottledError),
        (error(412, "PreconditionFailed"), ObjectChangedError),
    ],
)
async def test_a_copy_that_is_not_proven_is_an_error(s3, fake, reply, kind):
    fake.will(answer(b"", {"content-length": "5"}), reply)
    with pytest.raises(kind) as caught:
        await s3.copy("a", "b")
    assert caught.value.op == "copy"


class SmallPuts(S3Provider):
    @property
    def limits(self):
        return Limits(put=6 * MiB)


async def test_a_copy_in_parts_fails_as_one_error_and_is_aborted(fake, monkeypatch):
    monkeypatch.setattr(copying, "PART", 5 * MiB)
    provider = SmallPuts(BUCKET, Settings(creds=KEYS, endpoint_url=fake.server.url))
    size = answer(b"", {"content-length": str(11 * MiB)})
    for reply, kind in [
        (Reply(200, b"<Error><Code>InternalError</Code></Error>"), UnavailableError),
        (Reply(200, b""), IntegrityError),
        (error(412, "PreconditionFailed"), ObjectChangedError),
    ]:
        fake.will(size, BEGUN, reply, reply, reply, Reply(204))
        with pytest.raises(kind):
            await provider.copy("a", "b")
        assert fake.calls[-1].method == "DELETE"
        assert fake.calls[-1].query == {"uploadId": "up"}
    await provider.aclose()


async def test_a_copy_asks_for_the_version_that_was_seen_with_every_part(s3, fake, monkeypatch):
    monkeypatch.setattr(copying, "PART", 5 * MiB)
    in_parts = SmallPuts(BUCKET, Settings(creds=KEYS, endpoint_url=fake.server.url))
    part = Reply(200, xml("CopyPartResult", ETag="p"))
    joined = Reply(200, xml("CompleteMultipartUploadResult", ETag="j"))
    fake.will(answer(b"", {"content-length": str(11 * MiB)}), BEGUN, part, part, part, joined)
    await in_parts.copy("a", "b")
    fake.will(answer(b"", {"content-length": "3"}), Reply(200, xml("CopyObjectResult", ETag="c")))
    await s3.copy("a", "b")
    copies = [call for call in fake.calls if "x-amz-copy-source" in call.headers]
    assert [call.headers.get("x-amz-copy-source-if-match") for call in copies] == ['"e1"'] * 4
    await in_parts.aclose()


@pytest.mark.parametrize("name", ["seaweedfs", "ministack", "moto"])
async def test_a_large_object_is_copied_in_parts_with_its_metadata(name, request, monkeypatch):
    monkeypatch.setattr(copying, "PART", 5 * MiB)
    server = request.getfixturevalue(name)
    provider = SmallPuts(server.make_bucket(), Settings(creds=server.creds))
    data = bytes(range(256)) * 48 * 1024
    upload = await provider.begin_upload("a", content_type="image/x", metadata={"k": "v"})
    await upload.put_part(1, data[: 6 * MiB])
    await upload.put_part(2, data[6 * MiB :])
    await upload.complete()
    meta = await provider.copy("a", "b/c")
    assert bytes(await provider.get("b/c")) == data
    found = await provider.head("b/c")
    assert (found.etag, found.size, found.content_type) == (meta.etag, len(data), "image/x")
    assert dict(found.metadata) == {"k": "v"}
    with pytest.raises(AlreadyExistsError):
        await provider.copy("a", "b/c", if_absent=True)
    await provider.aclose()


# Deletes.


async def test_each_key_of_a_delete_has_its_own_answer(s3, fake):
    rows = (
        "<Deleted><Key>a</Key></Deleted>"
        "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
        "<Error><Key>c</Key><Code>InternalError</Code></Error>"
        "<Error><Key>d</Key><Code>NoSuchKey</Code></Error>"
    )
    fake.will(Reply(200, f"<DeleteResult {XMLNS}>{rows}</DeleteResult>".encode()))
    errors = await s3.delete(["a", "b", "c", "d", "e"])
    assert {key: type(error) for key, error in errors.items()} == {
        "b": PermissionDeniedError,
        "c": UnavailableError,
        "e": IntegrityError,
    }
    assert errors["b"].url == "s3://bucket/b"
    assert "content-md5" in fake.calls[-1].headers


async def test_a_delete_without_a_result_is_an_error(s3, fake):
    for reply in (Reply(200), Reply(200, b"<html/>"), Reply(200, xml("Other"))):
        fake.will(reply)
        with pytest.raises(IntegrityError) as caught:
            await s3.delete(["a", "b"])
        assert caught.value.outcome == "unknown"


async def test_a_missing_object_is_a_deleted_one(s3, fake):
    fake.will(error(404, "NoSuchKey"))
    assert not await s3.delete(["a"])


async def test_where_many_cannot_be_deleted_at_once_each_is(s3, fake):
    fake.will(error(501, "NotImplemented"), Reply(204))
    assert not await s3.delete(["a", "b"])
    assert [call.method for call in fake.calls] == ["POST", "DELETE", "DELETE"]
    await s3.delete(["c", "d"])
    assert fake.calls[-1].method == "DELETE"


async def test_a_name_that_xml_cannot_write_is_deleted_by_its_own_request(s3, fake):
    rows = "<Deleted><Key>a</Key></Deleted><Deleted><Key>b&#13;</Key></Deleted>"
    fake.will(Reply(200, f"<DeleteResult {XMLNS}>{rows}</DeleteResult>".encode()), Reply(204))
    assert not await s3.delete(["a", "b\r", "c\x01"])
    assert fake.calls[-1].path == "/bucket/c%01"


# Listings.


def page(*keys, truncated="false", token=None, **more):
    rows = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    rest = {"IsTruncated": truncated, **more} | ({"NextContinuationToken": token} if token else {})
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in rest.items() if text is not None)
    return Reply(200, f"<ListBucketResult {XMLNS}>{inner}{rows}</ListBucketResult>".encode())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200),
        Reply(200, b"<html><body>log in</body></html>"),
        Reply(200, b"{}"),
        page("a", truncated="true"),
        page("a", truncated=None),
        page("a", truncated="maybe"),
        page("other"),
        Reply(200, page("a").body[:-20]),
        Reply(200, b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"),
    ],
)
async def test_a_listing_that_is_not_proven_complete_is_an_error(s3, fake, reply):
    fake.will(reply)
    with pytest.raises(IntegrityError):
        await s3.list_page("a")


async def test_a_listing_that_goes_on_where_it_was_is_an_error(s3, fake):
    fake.will(page("a", truncated="true", token="t"))
    first = await s3.list_page("a")
    assert first.cursor == "t"
    with pytest.raises(IntegrityError, match="where it was already"):
        await s3.list_page("a", cursor="t")


async def test_an_empty_page_may_go_on(s3, fake):
    fake.will(page(truncated="true", token="t"), page("a"))
    first = await s3.list_page("")
    assert (list(first.objects), first.cursor) == ([], "t")
    assert [meta.key for meta in (await s3.list_page("", cursor="t")).objects] == ["a"]


async def test_a_key_of_a_listing_can_be_addressed_whatever_it_is(s3, fake):
    odd = [
        "a%01b",
        "%2Flead",
        "a%2F%2Fb",
        "..%2Fup",
        "back%5Cslash",
        "trail%2F",
        "line%0A",
        "%252e",
    ]
    fake.will(page(*odd, EncodingType="url"))
    keys = [meta.key for meta in (await s3.list_page("")).objects]
    assert keys == ["a\x01b", "/lead", "a//b", "../up", "back\\slash", "trail/", "line\n", "%2e"]
    fake.will(answer(b"x"))
    for key, sent in zip(keys, odd, strict=True):
        await s3.get(key)
        assert fake.calls[-1].path == f"/bucket/{sent.replace('%2F', '/')}"


async def test_an_error_in_place_of_a_listing_is_that_error(s3, fake):
    fake.will(Reply(200, b"<Error><Code>SlowDown</Code></Error>"))
    with pytest.raises(ThrottledError):
        await s3.list_page("")


# Hostile answers.


async def test_an_xml_bomb_is_refused(s3, fake):
    bomb = (
        b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Name>&b;</Name></ListBucketResult>"
    )
    fake.will(Reply(200, bomb))
    with pytest.raises(IntegrityError, match="document type"):
        await s3.list_page("")
    fake.will(Reply(403, bomb))
    with pytest.raises(PermissionDeniedError):
        await s3.get("k")


async def test_a_huge_error_is_not_kept(s3, fake):
    fake.will(Reply(403, b"<Error>" + b"x" * 50_000_000))
    with pytest.raises((PermissionDeniedError, UnavailableError)) as caught:
        await s3.get("k")
    assert len(str(caught.value)) < 1000


async def test_a_region_told_by_a_given_address_is_a_name_to_sign_for_and_nothing_else(s3, fake):
    fake.will(error(400, "AuthorizationHeaderMalformed", Region="evil/s3/../x"))
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await s3.get("k")
    assert len(fake.calls) == 1
    fake.will(error(400, "AuthorizationHeaderMalformed", Region="there"), answer(b"x"))
    assert bytes(await s3.get("k")) == b"x"
    assert "/there/s3/aws4_request" in fake.calls[-1].headers["authorization"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(s3, fake, status):
    with SmallServer(lambda _: answer(b"stolen")) as other:
        fake.will(Reply(status, b"", {"location": f"{other.url}/bucket/k"}))
        for call in (s3.get("k"), s3.head("k"), s3.put("k", b"x"), s3.list_page("")):
            with pytest.raises(ConfigurationError, match="redirects are not followed"):
                await call
        assert not other.calls


async def test_a_session_token_is_in_no_error(fake):
    creds = {**KEYS, "aws_session_token": CANARY_TOKEN}
    provider = S3Provider(BUCKET, Settings(creds=creds, endpoint_url=fake.server.url))
    for reply in (error(403, "AccessDenied"), error(400, "ExpiredToken"), Reply(301)):
        fake.will(reply)
        with pytest.raises(StoreError):
            await provider.put("k", b"x")
    await provider.aclose()


# Identity, clock, region.


async def test_a_wrong_clock_is_put_right_once(s3, fake):
    there = formatdate(time.time() + 7200, usegmt=True)
    late = error(403, "RequestTimeTooSkewed")
    late.headers["date"] = there
    fake.will(late, answer(b"x"))
    assert bytes(await s3.get("k")) == b"x"
    hours = [int(call.headers["x-amz-date"][9:11]) for call in fake.calls]
    assert (hours[1] - hours[0]) % 24 in (2, 1)
    fake.will(late)
    before = len(fake.calls)
    with pytest.raises(UnauthenticatedError, match="clock"):
        await s3.get("k")
    assert len(fake.calls) - before <= 2


async def test_doctor_is_told_by_how_much_this_clock_is_ahead_and_when_the_keys_end(fake):
    end = time.time() + 3000
    provider = S3Provider(
        BUCKET, Settings(creds=lambda: {**KEYS, "expires_at": end}, endpoint_url=fake.server.url)
    )
    reply = answer(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    reply.headers["date"] = formatdate(time.time() - 3600, usegmt=True)
    fake.will(reply)
    facts = await provider.diagnose()
    assert 3590 < facts["clock_drift"] < 3610
    assert abs(datetime.fromisoformat(facts["expires_at"]).timestamp() - end) < 1
    await provider.aclose()


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"]
)
async def test_a_refused_identity_is_told_after_at_most_one_renewal(fake, code):
    calls = []

    def source():
        calls.append(1)
        return {**KEYS, "aws_access_key_id": f"AKIANUMBER{len(calls)}xxxx"}

    provider = S3Provider(BUCKET, Settings(creds=source, endpoint_url=fake.server.url))
    fake.will(error(400, code))
    with pytest.raises(UnauthenticatedError):
        await provider.get("k")
    assert len(fake.calls) <= 2
    assert len(calls) <= 2
    await provider.aclose()


class Sent:
    """A request as it went out."""

    def __init__(self, request):
        lines = request.head.decode().split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = dict(line.split(": ", 1) for line in lines[1:-2])
        self.origin = request.origin
        self.replayable = request.replayable


class Engine:
    """Stands in for the network: answers are given, requests are kept."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    async def send(self, request):
        self.requests.append(Sent(request))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return Response(*reply)

    async def aclose(self):
        pass


@pytest.fixture
def aws(monkeypatch):
    """A provider of AWS's own, on answers that are given."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "_regions", {})

    def aws(*replies, bucket="a-bucket", **settings):
        provider = S3Provider(bucket, Settings(creds=KEYS, **settings))
        engine = Engine(*replies)
        monkeypatch.setattr(provider._client, "_engine", engine)
        return provider, engine

    return aws


OKAY = (200, {"etag": '"e"', "content-length": "1"}, b"x")


def moved(region, status=301, code="PermanentRedirect"):
    body = f"<Error><Code>{code}</Code><Region>{region}</Region></Error>".encode()
    return (status, {"x-amz-bucket-region": region} if status != 400 else {}, body)


async def test_a_buckets_region_is_found_once_and_remembered(aws):
    provider, engine = aws(moved("eu-west-1"), OKAY)
    await provider.get("k")
    await provider.get("k")
    hosts = [request.origin.host for request in engine.requests]
    here, there = ("a-bucket.s3.us-east-1.amazonaws.com", "a-bucket.s3.eu-west-1.amazonaws.com")
    assert hosts == [here, there, there]
    assert "/eu-west-1/s3/" in engine.requests[1].headers["authorization"]
    other, engine = aws(OKAY)
    await other.get("k")
    assert engine.requests[0].origin.host == there


@pytest.mark.parametrize(
    "refusal",
    [
        moved("eu-west-1", 400, "AuthorizationHeaderMalformed"),
        moved("eu-west-1", 307, "TemporaryRedirect"),
        (301, {"x-amz-bucket-region": "eu-west-1"}, b""),
    ],
)
async def test_every_way_to_tell_the_region_is_understood(aws, refusal):
    provider, engine = aws(refusal, OKAY)
    await provider.put("k", b"x")
    assert engine.requests[-1].origin.host == "a-bucket.s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    "region",
    ["evil.example/", "eu-west-1.evil.example", "x", "cn-north-1", "us-gov-west-1", "", "../.."],
)
async def test_a_region_that_is_none_or_of_another_partition_is_not_followed(aws, region):
    provider, engine = aws(moved(region))
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await provider.get("k")
    assert len(engine.requests) == 1


async def test_a_region_is_changed_once_per_call(aws):
    provider, engine = aws(moved("eu-west-1"), moved("eu-west-2"), moved("eu-west-3"))
    with pytest.raises(ConfigurationError, match="'eu-west-2'"):
        await provider.get("k")
    assert len(engine.requests) == 2


async def test_a_head_without_a_body_learns_its_reason_by_get(aws):
    expired = b"<Error><Code>ExpiredToken</Code></Error>"
    provider, engine = aws((400, {}, b""), (400, {}, expired))
    with pytest.raises(UnauthenticatedError, match="have ended"):
        await provider.head("k")
    assert [request.method for request in engine.requests] == ["HEAD", "GET"]


async def test_a_bucket_with_dots_is_addressed_by_path(aws):
    provider, engine = aws(OKAY, bucket="my.bucket", region="cn-north-1")
    await provider.get("a b+c/é")
    request = engine.requests[0]
    assert request.origin.host == "s3.cn-north-1.amazonaws.com.cn"
    assert request.target == "/my.bucket/a%20b%2Bc/%C3%A9"


async def test_an_aws_address_says_its_region(aws):
    provider, engine = aws(OKAY, endpoint_url="https://s3.eu-west-3.amazonaws.com")
    await provider.get("k")
    assert "/eu-west-3/s3/" in engine.requests[0].headers["authorization"]
    assert engine.requests[0].target == "/a-bucket/k"


async def test_aws_is_known_to_keep_conditions_and_needs_no_trial(aws):
    provider, engine = aws(OKAY)
    await provider.put("k", b"x", if_absent=True)
    assert len(engine.requests) == 1
    assert engine.requests[0].headers["if-none-match"] == "*"
    assert not engine.requests[0].replayable
    assert provider.limits.sorted


async def test_a_payload_is_hashed_where_nothing_else_protects_it(aws):
    provider, engine = aws(OKAY, endpoint_url="http://far.example:9000", allow_http=True)
    await provider.put("k", b"hello")
    hashed = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert engine.requests[0].headers["x-amz-content-sha256"] == hashed
    provider, engine = aws(OKAY)
    await provider.put("k", b"hello")
    assert engine.requests[0].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
