"""What Google Cloud Storage, or what stands before it, can do to a read, a write, a listing."""

import asyncio
import gzip
import json
import threading
from urllib.parse import urlsplit

import anyio
import pytest
import pytest_asyncio

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.providers.gcs import GCSProvider
from asyncstore.testing.canary import CANARY_TOKEN, guard, shows
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.testing.strict_gcs import QUANTUM, StrictGCS
from asyncstore.testing.terms import pattern
from asyncstore.types import Settings, Span

pytestmark = pytest.mark.asyncio

DATA = pattern(1_000_000)
MEDIA = "alt=media"
CAPABILITIES = (
    "conditions of put",
    "conditions of upload",
    "conditions of copy",
    "uploads gone on with",
)


@pytest.fixture
def server():
    with StrictGCS() as server:
        server.tokens[CANARY_TOKEN] = "rw"
        yield server


@pytest.fixture
def bucket(server):
    return server.make_bucket()


@pytest_asyncio.fixture
async def provider(server, bucket):
    settings = Settings(
        creds={"gcs_oauth_token": CANARY_TOKEN}, endpoint_url=server.url, read_timeout=5.0
    )
    provider = GCSProvider(bucket, settings, environ={})
    yield provider
    await provider.aclose()


def edited(**headers):
    """Change a reply's headers; `None` leaves one out."""

    def edit(reply):
        reply.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        reply.headers = {name: value for name, value in reply.headers.items() if value is not None}
        return reply

    return edit


async def stream(provider, key, **options):
    """Read as a stream; return what arrived before the error, and the error."""
    arrived = bytearray()
    try:
        async with provider.open(key, **options) as views:
            async for view in views:
                arrived += view
    except StoreError as error:
        return bytes(arrived), error
    return bytes(arrived), None


# Reads.


@pytest.mark.parametrize("at", [0, 1, 499_999, -2, -1])
async def test_a_flipped_bit_is_found_before_the_last_byte_is_handed_over(
    server, bucket, provider, at
):
    server.store(bucket, "key", DATA)
    server.fail("flip", MEDIA, at, times=2)
    with pytest.raises(IntegrityError, match="crc32c"):
        await provider.get("key")
    arrived, error = await stream(provider, "key")
    assert isinstance(error, IntegrityError)
    assert len(arrived) < len(DATA)
    assert bytes(await provider.get("key")) == DATA


async def test_md5_is_compared_where_there_is_no_crc32c(server, bucket, provider):
    stored = server.store(bucket, "key", DATA)
    server.fail("edit", MEDIA, edited(x_goog_hash=f"md5={stored.md5}"))
    assert bytes(await provider.get("key")) == DATA
    server.fail("edit", MEDIA, edited(x_goog_hash="md5=AAAAAAAAAAAAAAAAAAAAAA=="))
    with pytest.raises(IntegrityError, match="md5"):
        await provider.get("key")


async def test_a_span_that_is_the_whole_is_compared_too(server, bucket, provider):
    server.store(bucket, "key", DATA)
    server.fail("flip", MEDIA, 7)
    with pytest.raises(IntegrityError):
        await provider.get("key", span=Span(0, len(DATA)))


@pytest.mark.parametrize("size", [0, 1, 500_000, 999_999])
async def test_a_cut_body_is_never_a_short_success(server, bucket, provider, size):
    server.store(bucket, "key", DATA)
    server.fail("cut", MEDIA, size, times=2)
    with pytest.raises(UnavailableError):
        await provider.get("key")
    arrived, error = await stream(provider, "key")
    assert isinstance(error, UnavailableError)
    assert len(arrived) <= size
    assert bytes(await provider.get("key")) == DATA


def shortened(reply):
    reply.body = reply.body[:500_000]
    return reply


async def test_a_short_body_whose_length_says_so_is_refused(server, bucket, provider):
    server.store(bucket, "key", DATA)
    server.fail("edit", MEDIA, shortened, times=4)
    with pytest.raises(IntegrityError):
        await provider.get("key")
    with pytest.raises(IntegrityError):
        await provider.get("key", span=Span(0, 900_000))
    for span in (Span(), Span(0, 900_000)):  # the latter has no checksum to say so
        _, error = await stream(provider, "key", span=span)
        assert isinstance(error, IntegrityError)


@pytest.mark.parametrize("cut", [500_000, 1_000_000])
async def test_a_body_without_any_framing_is_never_a_short_success(server, bucket, provider, cut):
    server.store(bucket, "key", DATA)
    unframed = edited(content_length="", connection="close", x_goog_stored_content_length=None)

    def edit(reply):
        reply = unframed(reply)
        reply.body = reply.body[:cut]
        return reply

    server.fail("edit", MEDIA, edit, times=2)
    with pytest.raises((IntegrityError, UnavailableError)):
        await provider.get("key")
    _, error = await stream(provider, "key")
    assert isinstance(error, IntegrityError | UnavailableError)


@pytest.mark.parametrize(
    "range_",
    [None, "", "bytes 0-9", "bytes 500-509/1000000", "bytes 10-18/1000000", "bytes 10-19/15"],
)
async def test_another_range_than_was_asked_for_is_refused(server, bucket, provider, range_):
    server.store(bucket, "key", DATA)
    server.fail("edit", MEDIA, edited(content_range=range_), times=2)
    with pytest.raises(IntegrityError):
        await provider.get("key", span=Span(10, 20))
    _, error = await stream(provider, "key", span=Span(10, 20))
    assert isinstance(error, IntegrityError)


async def test_a_range_that_is_ignored_is_refused(server, bucket, provider):
    server.store(bucket, "key", DATA)

    def ignore(call):
        del call.headers["range"]

    server.fail("alter", MEDIA, ignore, times=3)
    for span in (Span(10, 20), Span(-10)):
        with pytest.raises(IntegrityError):
            await provider.get("key", span=span)
    _, error = await stream(provider, "key", span=Span(10, 20))
    assert isinstance(error, IntegrityError)


async def test_bytes_of_no_known_version_are_refused(server, bucket, provider):
    server.store(bucket, "key", DATA)
    for value in (None, "x", "-1", "9" * 40):
        server.fail("edit", MEDIA, edited(x_goog_generation=value))
        with pytest.raises(IntegrityError, match="generation"):
            await provider.get("key")


async def test_a_condition_that_is_ignored_is_seen_in_the_reply(server, bucket, provider):
    old = server.store(bucket, "key", b"old")
    server.quirks.add("ignores preconditions")
    server.store(bucket, "key", b"new")
    with pytest.raises(ObjectChangedError):
        await provider.get("key", if_match=str(old.generation))
    _, error = await stream(provider, "key", if_match=str(old.generation))
    assert isinstance(error, ObjectChangedError)


async def test_a_version_that_is_none_reads_nothing(server, bucket, provider):
    server.store(bucket, "key", b"data")
    for etag in ('"abc"', "", "1e5"):
        with pytest.raises(ObjectChangedError):
            await provider.get("key", if_match=etag)
        with pytest.raises(PreconditionError):
            await provider.put("key", b"x", if_match=etag)


async def test_a_span_that_needs_the_size_reads_the_version_whose_size_was_asked(
    server, bucket, provider
):
    server.store(bucket, "key", b"a" * 1000)

    def replace():
        server.store(bucket, "key", b"b" * 1000)

    server.fail("before", MEDIA, replace)
    with pytest.raises(ObjectChangedError):
        await provider.get("key", span=Span(-100, -50))


async def test_an_object_deleted_in_between_is_not_found(server, bucket, provider):
    server.store(bucket, "key", b"a" * 1000)
    server.fail("before", MEDIA, server.buckets[bucket].objects.clear)
    with pytest.raises(NotFoundError):
        await provider.get("key", span=Span(-100, -50))


async def test_compressed_objects_are_read_as_they_are_stored(server, bucket, provider):
    packed = gzip.compress(DATA)
    server.store(bucket, "key", packed, content_encoding="gzip")
    assert bytes(await provider.get("key")) == packed
    assert bytes(await provider.get("key", span=Span(5, 50))) == packed[5:50]
    assert (await stream(provider, "key"))[0] == packed

    def without(call):
        del call.headers["accept-encoding"]

    server.fail("alter", MEDIA, without, times=2)
    with pytest.raises(IntegrityError, match="decoded"):
        await provider.get("key")
    arrived, error = await stream(provider, "key")
    assert isinstance(error, IntegrityError)
    assert arrived == b""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_by_no_call(server, bucket, provider, status):
    with SmallServer(lambda _: Reply(200, b"stolen")) as other:
        away = Reply(status, b"", {"location": f"{other.url}/x"})
        for call in (
            lambda: provider.get("key"),
            lambda: provider.head("key"),
            lambda: provider.put("key", b"secret bytes"),
            lambda: provider.list_page(""),
            lambda: provider.copy("key", "other"),
            lambda: provider.begin_upload("key"),
        ):
            server.fail("reply", ".", away)
            with pytest.raises(ConfigurationError, match="redirect"):
                await call()
        server.fail("reply", ".", away)
        failed = await provider.delete(["key"])
        assert isinstance(failed["key"], ConfigurationError)
        assert other.calls == []


def error_body(status, reason, message=""):
    detail = {"code": status, "message": message or reason, "errors": [{"reason": reason}]}
    return json.dumps({"error": detail}).encode()


@pytest.mark.parametrize(
    ("reply", "error", "outcome"),
    [
        (Reply(401), UnauthenticatedError, "not_applied"),
        (Reply(403, error_body(403, "forbidden")), PermissionDeniedError, "not_applied"),
        (Reply(403, error_body(403, "rateLimitExceeded")), ThrottledError, "not_applied"),
        (Reply(404), NotFoundError, "not_applied"),
        (Reply(404, b"<html>" * 100_000), NotFoundError, "not_applied"),
        (Reply(408), UnavailableError, "unknown"),
        (Reply(409, error_body(409, "conflict")), UnavailableError, "not_applied"),
        (Reply(412), PreconditionError, "not_applied"),
        (Reply(429), ThrottledError, "not_applied"),
        (Reply(500), UnavailableError, "unknown"),
        (Reply(503, b"[" * 50_000), UnavailableError, "unknown"),
        (Reply(400, error_body(400, "invalid", "no")), StoreError, "not_applied"),
        (Reply(204), IntegrityError, "not_applied"),
    ],
)
async def test_a_refusal_is_told_for_what_it_is(server, provider, reply, error, outcome):
    reply.headers["x-guploader-uploadid"] = "request-1"
    server.fail("reply", ".", reply, times=2)
    with pytest.raises(StoreError) as caught:
        await provider.put("key", b"data")
    assert type(caught.value) is error
    assert caught.value.outcome == outcome
    assert caught.value.status == reply.status
    assert caught.value.request_id == "request-1"
    assert caught.value.url == provider.locate("key")


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("999999999999", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
    ],
)
async def test_a_hint_when_to_come_again_is_read(server, provider, hint, seconds):
    from asyncstore.wire.gcs_errors import retry_after

    headers = {"retry-after": hint, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert retry_after(headers) == seconds
    server.fail("reply", ".", Reply(429, b"", {"retry-after": "3"}))
    with pytest.raises(ThrottledError) as caught:
        await provider.head("key")
    assert caught.value.retry_after == 3.0


# Writes.


def without(*names):
    def edit(reply):
        body = json.loads(reply.body)
        for name in names:
            body.pop(name)
        reply.body = json.dumps(body).encode()
        return reply

    return edit


def with_(**fields):
    def edit(reply):
        reply.body = json.dumps(json.loads(reply.body) | fields).encode()
        return reply

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: Reply(200),
        lambda _: Reply(200, b"<html>Welcome</html>"),
        lambda _: Reply(200, b"[]"),
        lambda _: Reply(200, b"{}"),
        lambda _: Reply(200, b'{"kind": "storage#object"'),
        without("generation"),
        without("size"),
        without("name"),
        with_(size="3"),
        with_(name="other"),
        with_(crc32c="AAAAAA=="),
        with_(generation="latest"),
    ],
)
async def test_a_write_is_acknowledged_only_by_what_was_written(server, provider, edit):
    server.fail("edit", "uploadType=multipart", edit)
    with pytest.raises(IntegrityError) as caught:
        await provider.put("key", b"data")
    assert caught.value.outcome == "unknown"
    upload = await provider.begin_upload("parts")
    await upload.put_part(1, b"data")
    server.fail("edit", "upload_id", edit)
    with pytest.raises(IntegrityError) as caught:
        await upload.complete()
    assert caught.value.outcome == "unknown"


async def test_bytes_altered_on_their_way_are_not_stored(server, bucket, provider):
    def alter(call):
        body = bytearray(call.body)
        body[body.index(DATA[:100]) + 5000] ^= 1
        call.body = bytes(body)

    server.fail("alter", "uploadType=multipart", alter)
    with pytest.raises(IntegrityError, match="altered"):
        await provider.put("key", DATA)
    assert server.buckets[bucket].objects == {}


async def test_what_is_known_of_a_broken_write_is_told(server, bucket, provider):
    server.fail("drop", "uploadType=multipart", times=2)
    with pytest.raises(UnavailableError) as caught:
        await provider.put("key", b"data")
    assert caught.value.outcome == "unknown"
    assert server.buckets[bucket].objects == {}
    server._faults.clear()
    server.fail("drop_after", "uploadType=multipart")
    with pytest.raises(UnavailableError) as caught:
        await provider.put("key", b"data")
    assert caught.value.outcome == "unknown"
    assert server.buckets[bucket].objects["key"].data == b"data"


async def test_a_create_is_not_sent_again_behind_its_own_success(server, bucket, provider):
    await provider.put("warm", b"", if_absent=True)  # a kept connection, and the probe
    server.fail("drop_after", "ifGenerationMatch=0")
    with pytest.raises(UnavailableError) as caught:
        await provider.put("key", b"data", if_absent=True)
    assert caught.value.outcome == "unknown"
    assert server.buckets[bucket].objects["key"].data == b"data"


async def test_a_create_that_was_answered_never_replaces(server, bucket, provider):
    await provider.put("key", b"first", if_absent=True)
    with pytest.raises(AlreadyExistsError):
        await provider.put("key", b"second", if_absent=True)
    assert server.buckets[bucket].objects["key"].data == b"first"


# Uploads in parts.


async def upload_all(provider, data=DATA, size=400_000, key="key"):
    upload = await provider.begin_upload(key, size=len(data))
    for number, at in enumerate(range(0, len(data), size), 1):
        await upload.put_part(number, data[at : at + size])
    return upload


def session(server):
    (found,) = server.sessions.values()
    return found


async def test_chunks_are_multiples_of_256_kib_but_for_the_last(server, bucket, provider):
    upload = await upload_all(provider)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA
    spans = [call.headers["content-range"] for call in server.calls if call.method == "PUT"]
    assert spans == [
        f"bytes 0-{QUANTUM - 1}/*",
        f"bytes {QUANTUM}-{3 * QUANTUM - 1}/*",
        f"bytes {3 * QUANTUM}-999999/1000000",
    ]


@pytest.mark.parametrize("size", [0, 1, QUANTUM - 1, QUANTUM, QUANTUM + 1, 2 * QUANTUM])
@pytest.mark.parametrize("parts", [1, 2, 3])
async def test_every_size_of_an_upload_arrives(server, bucket, provider, size, parts):
    data = pattern(size * parts)
    upload = await upload_all(provider, data, max(size, 1))
    meta = await upload.complete()
    assert meta.size == len(data)
    assert server.buckets[bucket].objects["key"].data == data


@pytest.mark.parametrize("kept", [0, QUANTUM, 2 * QUANTUM])
async def test_what_the_session_did_not_keep_is_sent_again(server, bucket, provider, kept):
    upload = await provider.begin_upload("key")

    def keep():
        session(server).keep = kept

    server.fail("before", "upload_id", keep, times=2)
    await upload.put_part(1, DATA)
    await upload.put_part(2, DATA)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA * 2


@pytest.mark.parametrize("kept", [0, QUANTUM])
async def test_what_the_session_did_not_keep_of_the_end_is_sent_again(
    server, bucket, provider, kept
):
    upload = await upload_all(provider, DATA, 400_000)

    def keep():
        session(server).keep = kept

    server.fail("before", "upload_id", keep)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA


async def test_a_session_that_keeps_nothing_is_given_up(server, provider):
    upload = await provider.begin_upload("key")

    def keep():
        session(server).keep = 0

    server.fail("before", "upload_id", keep, times=99)
    with pytest.raises(UnavailableError, match="no more bytes"):
        await upload.put_part(1, DATA)
    assert server.count("upload_id") < 10
    server._faults.clear()
    await upload.abort()
    assert server.open_uploads == 0


@pytest.mark.parametrize("range_", ["bytes=0-9999999", "bytes=5-10", "bytes=0-", "items=0-9"])
async def test_a_session_that_holds_what_was_never_sent_is_refused(server, provider, range_):
    upload = await provider.begin_upload("key")
    server.fail("edit", "upload_id", edited(range=range_))
    with pytest.raises(IntegrityError):
        await upload.put_part(1, DATA)


async def test_a_session_that_loses_what_it_confirmed_is_refused(server, provider):
    upload = await provider.begin_upload("key")
    await upload.put_part(1, DATA)
    server.fail("edit", "upload_id", edited(range=f"bytes=0-{QUANTUM - 1}"))
    with pytest.raises(IntegrityError, match="confirmed"):
        await upload.put_part(2, DATA)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_ended_is_replaced_while_all_bytes_are_here(
    server, bucket, provider, status
):
    upload = await provider.begin_upload("key")
    server.fail("reply", "upload_id", Reply(status))
    await upload.put_part(1, DATA)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA
    assert server.count("uploadType=resumable", "POST") == 2


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_ended_later_is_an_error(server, bucket, provider, status):
    upload = await provider.begin_upload("key")
    await upload.put_part(1, DATA)
    server.fail("reply", "upload_id", Reply(status))
    with pytest.raises(NotFoundError, match="begin the upload again"):
        await upload.put_part(2, DATA)
    assert server.buckets[bucket].objects == {}


@pytest.mark.parametrize("at", [0, 1, 100_000, QUANTUM, QUANTUM + 1, 2 * QUANTUM + 5])
async def test_a_part_that_broke_off_goes_on_where_the_session_is(server, bucket, provider, at):
    upload = await provider.begin_upload("key")
    server.fail("break_body", "upload_id", at)
    with pytest.raises(UnavailableError):
        await upload.put_part(1, DATA)
    await upload.put_part(1, DATA)
    await upload.put_part(2, DATA)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA * 2
    held = at // QUANTUM * QUANTUM
    spans = [call.headers.get("content-range") for call in server.calls if call.method == "PUT"]
    assert spans[1:3] == ["bytes */*", f"bytes {held}-{3 * QUANTUM - 1}/*"]


async def test_a_part_whose_answer_was_lost_is_not_sent_again(server, bucket, provider):
    upload = await provider.begin_upload("key")
    server.fail("drop_after", "upload_id")
    with pytest.raises(UnavailableError):
        await upload.put_part(1, DATA)
    await upload.put_part(1, DATA)
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA
    assert sum(1 for call in server.calls if len(call.body) == 3 * QUANTUM) == 1


@pytest.mark.parametrize("kind", ["drop_after", "drop"])
async def test_an_end_whose_answer_was_lost_is_found_again(server, bucket, provider, kind):
    upload = await upload_all(provider)
    server.fail(kind, "upload_id", times=2 if kind == "drop" else 1)
    with pytest.raises(UnavailableError) as caught:
        await upload.complete()
    assert caught.value.outcome == "unknown"
    server._faults.clear()
    meta = await upload.complete()
    stored = server.buckets[bucket].objects["key"]
    assert stored.data == DATA
    assert meta.etag == str(stored.generation)
    assert (await upload.complete()).etag == meta.etag


async def test_a_busy_service_in_mid_upload_is_asked_again(server, bucket, provider):
    upload = await provider.begin_upload("key")
    server.fail("reply", "upload_id", Reply(503))
    with pytest.raises(UnavailableError):
        await upload.put_part(1, DATA)
    await upload.put_part(1, DATA)
    server.fail("reply", "upload_id", Reply(503))
    with pytest.raises(UnavailableError):
        await upload.complete()
    await upload.complete()
    assert server.buckets[bucket].objects["key"].data == DATA


async def test_parts_altered_on_their_way_are_not_stored(server, bucket, provider):
    def alter(call):
        call.body = call.body[:-1] + bytes([call.body[-1] ^ 1])

    server.fail("alter", "upload_id", alter)
    upload = await upload_all(provider)
    with pytest.raises(IntegrityError, match="altered"):
        await upload.complete()
    assert server.buckets[bucket].objects == {}


async def test_other_parts_than_were_announced_are_refused(server, bucket, provider):
    upload = await provider.begin_upload("key", size=10)
    await upload.put_part(1, b"123")
    with pytest.raises(IntegrityError, match="announced"):
        await upload.complete()
    with pytest.raises(IntegrityError, match="was due"):
        await upload.put_part(3, b"x")
    with pytest.raises(IntegrityError, match="was due"):
        await upload.put_part(1, b"x")
    await upload.abort()
    assert server.buckets[bucket].objects == {}
    assert server.open_uploads == 0


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:9/x", "//evil.example/x", "", "/x", "http://127.0.0.1:9@x/"]
)
async def test_a_session_at_another_place_is_refused(server, provider, place):
    server.fail("edit", "uploadType=resumable", edited(location=place))
    with pytest.raises(IntegrityError, match="session"):
        await provider.begin_upload("key")


@pytest.mark.parametrize("status", [302, 400, 403, 410, 503])
async def test_the_sessions_address_is_in_no_error(server, provider, status):
    upload = await provider.begin_upload("key")
    guard(next(iter(server.sessions)))
    await upload.put_part(1, DATA)
    server.fail("reply", "upload_id", Reply(status))
    with pytest.raises(StoreError):
        await upload.put_part(2, DATA)
    assert shows(upload) is None


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_beginning_that_is_cancelled_leaves_no_session(server, provider, how):
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold():
        loop.call_soon_threadsafe(began.set)
        go_on.wait(60)

    server.fail("before", "uploadType=resumable", hold)
    if how == "task":
        task = asyncio.create_task(provider.begin_upload("key"))
        await began.wait()
        task.cancel()
        loop.call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(provider.begin_upload, "key")
            await began.wait()
            group.cancel_scope.cancel()
            loop.call_soon(go_on.set)
    assert server.count("uploadType=resumable") >= 1
    assert server.open_uploads == 0


# Copies, deletes, listings.


async def test_a_large_copy_takes_as_many_calls_as_the_service_asks(server, bucket, provider):
    server.rewrite_step = 300_000
    server.store(bucket, "from", DATA, metadata={"k": "v"})
    meta = await provider.copy("from", "to", if_absent=True)
    assert meta.size == len(DATA)
    assert server.buckets[bucket].objects["to"].data == DATA
    # Three objects of the probe, and four steps.
    assert server.count("from/rewriteTo", "POST") == 4


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: Reply(200),
        lambda _: Reply(200, b"{}"),
        with_(done=True),
        with_(rewriteToken=None),
        with_(totalBytesRewritten="0"),
        lambda _: Reply(200, b'{"done": true, "resource": {"name": "else"}}'),
    ],
)
async def test_a_copy_that_says_nonsense_is_an_error(server, bucket, provider, edit):
    server.rewrite_step = 300_000
    server.store(bucket, "from", DATA)
    server.fail("edit", "rewriteTo", edit, times=99)
    with pytest.raises(IntegrityError):
        await provider.copy("from", "to")
    assert server.count("rewriteTo") <= 2


async def test_a_copys_two_conditions_are_told_apart(server, bucket, provider):
    source = server.store(bucket, "from", b"new")
    server.store(bucket, "to", b"kept")
    with pytest.raises(AlreadyExistsError):
        await provider.copy("from", "to", if_match=str(source.generation), if_absent=True)
    with pytest.raises(ObjectChangedError):
        await provider.copy("from", "other", if_match="5", if_absent=True)
    with pytest.raises(ObjectChangedError):
        await provider.copy("from", "other", if_match='"etag"')
    assert set(server.buckets[bucket].objects) == {"from", "to"}


async def test_a_delete_tells_each_keys_error(server, bucket, provider):
    for n in range(50):
        server.store(bucket, f"{n}", b"")
    server.fail("reply", "/o/7$|/o/7[?]", Reply(503))
    server.fail("reply", "/o/8$|/o/8[?]", Reply(403))
    failed = await provider.delete([f"{n}" for n in range(60)])
    assert {key: type(error) for key, error in failed.items()} == {
        "7": UnavailableError,
        "8": PermissionDeniedError,
    }
    assert failed["7"].url == provider.locate("7")
    assert set(server.buckets[bucket].objects) == {"7", "8"}


async def test_a_missing_bucket_is_not_found_by_any_call(server, provider):
    server.buckets.clear()
    for call in (
        lambda: provider.head("key"),
        lambda: provider.get("key"),
        lambda: provider.put("key", b""),
        lambda: provider.begin_upload("key"),
        lambda: provider.copy("key", "other"),
        lambda: provider.list_page(""),
    ):
        with pytest.raises(NotFoundError):
            await call()
    assert isinstance((await provider.delete(["key"]))["key"], NotFoundError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"kind": "storage#object"}',
        b'{"kind": "storage#objects", "items": {}}',
        b'{"kind": "storage#objects", "items": [7]}',
        b'{"kind": "storage#objects", "items": [{"name": "a"}]}',
        b'{"kind": "storage#objects", "prefixes": [1]}',
        b'{"kind": "storage#objects", "nextPageToken": 7}',
        b'{"kind": "storage#objects", "items": [{"name": "z", "size": "1", "generation": "1"}]}',
        b'{"kind": "storage#objects", "prefixes": ["z/"]}',
        b'{"kind": "storage#objects"',
        b"[" * 100_000,
    ],
)
async def test_a_listing_that_is_none_is_never_an_empty_one(server, provider, body):
    server.fail("reply", "prefix=a", Reply(200, body))
    with pytest.raises(IntegrityError):
        await provider.list_page("a")


async def test_a_page_that_repeats_for_ever_is_an_error(server, bucket, provider):
    for n in range(5):
        server.store(bucket, f"{n}", b"")
    first = await provider.list_page("", limit=2)
    server.fail("edit", "pageToken", with_(nextPageToken=first.cursor))
    with pytest.raises(IntegrityError, match="repeats"):
        await provider.list_page("", cursor=first.cursor, limit=2)


async def test_names_that_would_be_steps_in_a_path_stay_names(server, bucket, provider):
    for key in (".", "..", "a/../b", "a/./b", "/", "//", "a?x=1#y", "%2e%2e"):
        with pytest.raises(NotFoundError):
            await provider.get(key)
        assert not await provider.delete([key])
    assert bucket in server.buckets
    paths = {urlsplit(call.path).path for call in server.calls}
    assert all(path.startswith(f"/storage/v1/b/{bucket}/o/") for path in paths)
    assert not any(part in (".", "..", "") for path in paths for part in path.split("/")[1:])


# Conditions on servers that do not keep them.


async def test_a_server_that_ignores_conditions_is_found_out_and_nothing_overwritten(
    server, bucket, provider
):
    server.quirks.add("ignores preconditions")
    kept = server.store(bucket, "folder/key", b"kept")
    for call in (
        lambda: provider.put("folder/key", b"x", if_absent=True),
        lambda: provider.put("folder/key", b"x", if_match=str(kept.generation)),
        lambda: provider.begin_upload("folder/key", if_absent=True),
        lambda: provider.copy("folder/key", "folder/key", if_absent=True),
        lambda: provider.copy("folder/key", "other", if_match=str(kept.generation)),
    ):
        with pytest.raises(NotSupportedError, match="ignores conditions"):
            await call()
        assert server.buckets[bucket].objects == {"folder/key": kept}
        assert server.open_uploads == 0


async def test_a_probe_is_made_once_and_writes_nothing(server, bucket, provider):
    names = [f"folder/{n}" for n in range(20)]
    await asyncio.gather(*(provider.put(name, b"x", if_absent=True) for name in names))
    assert set(server.buckets[bucket].objects) == set(names)
    assert server.count("ifGenerationMatch=1") == 1
    facts = await provider.diagnose()
    assert facts["capabilities"]["conditions of put"] is True


async def test_a_probe_that_could_not_be_made_is_made_again(server, provider):
    server.fail("reply", "ifGenerationMatch=1", Reply(503))
    with pytest.raises(UnavailableError):
        await provider.put("key", b"x", if_absent=True)
    await provider.put("key", b"x", if_absent=True)


async def test_a_probe_whose_asker_is_cancelled_leaves_nothing(server, bucket, provider):
    server.quirks.add("ignores preconditions")
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    server.fail("before", "ifGenerationMatch=1", lambda: loop.call_soon_threadsafe(came.set))
    task = asyncio.create_task(provider.put("key", b"x", if_absent=True))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotSupportedError):
        await provider.put("key", b"x", if_absent=True)
    assert server.buckets[bucket].objects == {}


# What doctor tells.


async def test_doctor_is_told_who_where_and_which_clock(server, bucket, provider):
    facts = dict(await provider.diagnose())
    assert facts.pop("clock_drift") is not None
    assert facts == {
        "identity": "gcs_oauth_token",
        "source": "creds=",
        "expires_at": None,
        "endpoint": server.url,
        "region": "LOOPBACK",
        "capabilities": dict.fromkeys(CAPABILITIES, "not tried"),
    }


async def test_doctor_tells_the_rest_where_the_bucket_may_not_be_described(
    server, bucket, provider
):
    server.fail("reply", f"/b/{bucket}$", Reply(403))
    facts = await provider.diagnose()
    assert facts["region"] == "unknown (PermissionDeniedError)"


async def test_doctor_tells_how_far_the_clock_is_off(server, provider):
    server.fail("edit", "/o[?]", edited(date="Thu, 01 Jan 2026 00:00:00 GMT"))
    drift = (await provider.diagnose())["clock_drift"]
    assert drift > 1_000_000


async def test_doctor_is_told_which_conditions_are_kept_once_it_asks_for_a_trial(
    server, bucket, provider
):
    await provider.try_writes("a/")
    told = (await provider.diagnose())["capabilities"]
    assert told == dict.fromkeys(CAPABILITIES, True)
    assert server.buckets[bucket].objects == {}
    assert server.open_uploads == 0
