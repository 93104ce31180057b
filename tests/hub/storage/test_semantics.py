"""What S3 says of edges: ranges, overrides, conditions, pages, parts, checksums, races."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import xml.etree.ElementTree as ET
import zlib
from email.utils import formatdate

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio
DATA = bytes(range(100))
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
MiB = 1 << 20


def read(body):
    return ET.fromstring(body)  # noqa: S314 - our own storage's


def joined(rows):
    return [one for row in rows for one in row]


def texts(body, name):
    """Return the texts of all elements of a name."""
    return [found.text or "" for found in read(body).iter() if bare(found) == name]


def text(body, name):
    return next(iter(texts(body, name)), None)


def bare(element):
    return element.tag.rpartition("}")[2]


@pytest_asyncio.fixture
async def there(client):
    """An object of a hundred bytes in the index, and a longer one in a file."""
    assert (await client.ask("PUT", "ds/k", body=DATA)).status == 200
    assert (await client.ask("PUT", "ds/long", body=DATA * 1000)).status == 200


async def get(client, key="ds/k", query="", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.ask("GET", key, query, names)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 100),
        ("bytes=99-", 99, 100),
        ("bytes=99-99", 99, 100),
        ("bytes=10-5000", 10, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-5000", 0, 100),
        ("bytes=5-9223372036854775807", 5, 100),
    ],
)
async def test_a_range_is_cut_at_the_objects_ends(client, there, asked, start, end):
    answer = await get(client, range=asked)
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=5000-", "bytes=-0"])
async def test_a_range_that_has_nothing_of_the_object_is_not_satisfiable(client, there, asked):
    answer = await get(client, range=asked)
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "bytes=a-b", "lines=0-1"]
)
async def test_what_is_no_single_range_is_answered_with_everything(client, there, asked):
    answer = await get(client, range=asked)
    assert (answer.status, answer.body) == (200, DATA)
    assert "content-range" not in answer.headers


async def test_an_empty_object_has_no_range(client):
    await client.ask("PUT", "ds/empty")
    assert (await get(client, "ds/empty")).body == b""
    assert (await get(client, "ds/empty", range="bytes=0-")).status == 416


@pytest.mark.parametrize("asked", [(0, 0), (65_535, 65_537), (99_990, 200_000)])
async def test_ranges_of_files_are_as_those_of_the_index(client, there, asked):
    first, last = asked
    answer = await get(client, "ds/long", range=f"bytes={first}-{last}")
    assert answer.body == (DATA * 1000)[first : last + 1]


async def test_a_range_holds_only_for_the_version_that_if_range_names(client, there):
    same = await get(client, range="bytes=1-2", if_range=f'"{MD5}"')
    assert (same.status, same.body) == (206, DATA[1:3])
    other = await get(client, range="bytes=1-2", if_range='"another"')
    assert (other.status, other.body) == (200, DATA)


async def test_headers_of_the_answer_are_overridden_by_the_query(client, there):
    names = {
        "response-content-type": ("content-type", "text/csv"),
        "response-content-disposition": ("content-disposition", 'attachment; filename="a b"'),
        "response-cache-control": ("cache-control", "no-store"),
        "response-content-encoding": ("content-encoding", "gzip"),
        "response-content-language": ("content-language", "de"),
        "response-expires": ("expires", "0"),
    }
    query = "&".join(f"{name}={value.replace(' ', '+')}" for name, (_, value) in names.items())
    for method in ("GET", "HEAD"):
        answer = await client.ask(method, "ds/k", query)
        assert answer.status == 200
        for header, value in names.values():
            assert answer.headers[header] == value
    answer = await client.ask("GET", "ds/k", "response-content-type=a%0d%0aset-cookie:b")
    assert answer.code == "InvalidArgument"


OLD, NEW = formatdate(1, usegmt=True), formatdate(4_000_000_000, usegmt=True)
SAME, OTHER = f'"{MD5}"', '"0123"'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": SAME}, 200),
        ({"if-match": MD5}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"{OTHER}, {SAME}"}, 200),
        ({"if-match": OTHER}, 412),
        ({"if-none-match": SAME}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": OTHER}, 200),
        ({"if-modified-since": OLD}, 200),
        ({"if-modified-since": NEW}, 304),
        ({"if-unmodified-since": OLD}, 412),
        ({"if-unmodified-since": NEW}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        # An ETag is asked for before a time, and decides.
        ({"if-match": SAME, "if-unmodified-since": OLD}, 200),
        ({"if-none-match": OTHER, "if-modified-since": NEW}, 200),
        ({"if-none-match": SAME, "if-modified-since": OLD}, 304),
        ({"if-match": OTHER, "if-none-match": SAME}, 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_read_is_of_the_version_that_is_asked_for(client, there, method, headers, status):
    answer = await client.ask(method, "ds/k", headers=headers)
    assert answer.status == status
    if status == 304:
        assert answer.headers["etag"] == SAME
        assert answer.body == b""


NAMES = ["a", "b/1", "b/2", "b/3", "c", "d/1", "e", "é", "\U0001f600"]


@pytest_asyncio.fixture
async def listed(client):
    for name in NAMES:
        await client.ask("PUT", f"ds/{name}", body=b"x")


async def pages(client, query, following):
    """Return all keys and folded prefixes, page by page; `following` gives the next query."""
    found = []
    more = ""
    for _ in range(20):
        answer = await client.ask("GET", "/org-a", query + more)
        assert answer.status == 200, answer.body
        one = [
            element[0].text.removeprefix("ds/")
            for element in read(answer.body)
            if bare(element) in ("Contents", "CommonPrefixes")
        ]
        found.append(one)
        if text(answer.body, "IsTruncated") == "false":
            return found
        more = following(answer.body)
    raise AssertionError("the listing has no end")


def token(body):
    return f"&continuation-token={text(body, 'NextContinuationToken')}"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
async def test_pages_are_in_order_and_no_key_comes_twice(client, listed, size):
    found = await pages(client, f"list-type=2&prefix=ds/&max-keys={size}", token)
    assert joined(found) == sorted(NAMES, key=str.encode)
    assert all(len(one) == size for one in found[:-1])


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_what_is_folded_counts_as_one_and_comes_once(client, listed, size):
    query = f"list-type=2&prefix=ds/&delimiter=/&max-keys={size}"
    found = await pages(client, query, token)
    # Within a page, objects come before prefixes; from page to page the order holds.
    assert sorted(joined(found), key=str.encode) == ["a", "b/", "c", "d/", "e", "é", "\U0001f600"]
    assert [max(one) for one in found] == sorted(max(one) for one in found)
    assert all(len(one) == size for one in found[:-1])


@pytest.mark.parametrize(
    ("after", "first"),
    [
        ("ds/", "a"),
        ("ds/a", "b/1"),
        ("ds/b/2", "b/3"),
        ("ds/b/zz", "c"),
        ("a", "a"),
        ("ds/é", "\U0001f600"),
    ],
)
async def test_a_listing_starts_after_what_it_is_told(client, listed, after, first):
    [found] = await pages(client, f"list-type=2&prefix=ds/&start-after={after}", token)
    assert found[0] == first


async def test_a_listing_after_a_key_below_a_folded_prefix_does_not_fold_it_again(client, listed):
    query = "list-type=2&prefix=ds/&delimiter=/&start-after=ds/b/1"
    [found] = await pages(client, query, token)
    assert "b/" not in found


def marker(body):
    last = text(body, "NextMarker") or texts(body, "Key")[-1]
    return f"&marker={last}"


@pytest.mark.parametrize("delimiter", ["", "&delimiter=/"])
@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_the_first_listing_has_markers(client, listed, delimiter, size):
    found = await pages(client, f"prefix=ds/&max-keys={size}{delimiter}", marker)
    wanted = ["a", "b/", "c", "d/", "e", "é", "\U0001f600"] if delimiter else NAMES
    assert sorted(joined(found), key=str.encode) == wanted


async def test_a_page_of_nothing_is_the_end(client, listed):
    answer = await client.ask("GET", "/org-a", "list-type=2&prefix=ds/&max-keys=0")
    assert (text(answer.body, "KeyCount"), text(answer.body, "IsTruncated")) == ("0", "false")
    for wrong in ("max-keys=-1", "max-keys=many", "continuation-token=%21"):
        answer = await client.ask("GET", "/org-a", f"list-type=2&prefix=ds/&{wrong}")
        assert answer.code == "InvalidArgument", wrong


class Upload:
    """An upload in parts, each request told apart."""

    def __init__(self, client, key="ds/joined"):
        self.client = client
        self.key = key
        self.id = ""

    async def begin(self, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.ask("POST", self.key, "uploads=", names)
        assert answer.status == 200, answer.body
        self.id = text(answer.body, "UploadId")
        return self

    async def part(self, number, data, headers=None):
        query = f"partNumber={number}&uploadId={self.id}"
        return await self.client.ask("PUT", self.key, query, headers, body=data)

    async def complete(self, parts, headers=None):
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in parts
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        query = f"uploadId={self.id}"
        return await self.client.ask("POST", self.key, query, headers, body=body)


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


BIG, SMALL = os.urandom(5 * MiB), b"the end"


async def test_parts_are_listed_page_by_page(client):
    upload = await Upload(client).begin()
    for number in (1, 3, 7, 10_000):
        assert (await upload.part(number, f"part {number}".encode())).status == 200
    found, after = [], "0"
    while True:
        query = f"uploadId={upload.id}&max-parts=2&part-number-marker={after}"
        body = (await client.ask("GET", upload.key, query)).body
        found.append([int(number) for number in texts(body, "PartNumber")])
        after = text(body, "NextPartNumberMarker")
        if text(body, "IsTruncated") == "false":
            break
    assert found == [[1, 3], [7, 10_000]]
    assert texts(body, "Size") == ["6", "10"]
    assert texts(body, "ETag")[0] == f'"{md5(b"part 7")}"'


async def test_a_part_that_comes_again_replaces_the_first(client):
    upload = await Upload(client).begin()
    await upload.part(1, b"first")
    await upload.part(1, b"second")
    assert (await upload.complete([(1, md5(b"first"))])).code == "InvalidPart"
    assert (await upload.complete([(1, md5(b"second"))])).status == 200
    assert (await get(client, upload.key)).body == b"second"


async def test_uploads_are_listed_page_by_page_and_two_of_one_key_both(client):
    begun = [await Upload(client, f"ds/{name}").begin() for name in ("a", "b", "b", "b", "c")]
    found: list[tuple[str, str]] = []
    more = ""
    for _ in range(10):
        body = (await client.ask("GET", "/org-a", f"uploads=&prefix=ds/&max-uploads=2{more}")).body
        found += zip(texts(body, "Key"), texts(body, "UploadId"), strict=True)
        if text(body, "IsTruncated") == "false":
            break
        more = f"&key-marker={text(body, 'NextKeyMarker')}"
        more += f"&upload-id-marker={text(body, 'NextUploadIdMarker')}"
    assert found == sorted((upload.key, upload.id) for upload in begun)
    body = (await client.ask("GET", "/org-a", "uploads=&prefix=ds/&key-marker=ds/b")).body
    assert texts(body, "Key") == ["ds/c"]


async def test_parts_must_ascend_be_there_and_be_long_enough(client):
    upload = await Upload(client).begin()
    await upload.part(1, SMALL)
    await upload.part(2, b"other")
    one, two = (1, md5(SMALL)), (2, md5(b"other"))
    for parts, code in (
        ([two, one], "InvalidPartOrder"),
        ([one, one], "InvalidPartOrder"),
        ([one, (3, md5(SMALL))], "InvalidPart"),
        ([(1, md5(b"other"))], "InvalidPart"),
        ([one, two], "EntityTooSmall"),
        ([], "MalformedXML"),
    ):
        assert (await upload.complete(parts)).code == code
    for number in (0, 10_001, "x", -1):
        assert (await upload.part(number, b"")).code == "InvalidArgument"
    assert (await get(client, upload.key)).code == "NoSuchKey"
    wrong = await upload.complete([two], {"x-amz-mp-object-size": "6"})
    assert wrong.code == "InvalidRequest"
    assert (await upload.complete([two], {"x-amz-mp-object-size": "5"})).status == 200


def crc(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("form", ["COMPOSITE", "FULL_OBJECT"])
async def test_a_joined_objects_checksum_is_of_its_bytes_or_of_its_parts(client, form):
    upload = await Upload(client).begin(x_amz_checksum_algorithm="CRC32", x_amz_checksum_type=form)
    for number, data in ((1, BIG), (2, SMALL)):
        answer = await upload.part(number, data, {"x-amz-checksum-crc32": crc(data)})
        assert answer.headers["x-amz-checksum-crc32"] == crc(data)
    parts = [(1, md5(BIG)), (2, md5(SMALL))]
    of_parts = crc(b"".join(base64.b64decode(crc(data)) for data in (BIG, SMALL))) + "-2"
    wanted = crc(BIG + SMALL) if form == "FULL_OBJECT" else of_parts
    wrong = await upload.complete(parts, {"x-amz-checksum-crc32": crc(b"another")})
    assert wrong.code == "BadDigest"
    other = "COMPOSITE" if form == "FULL_OBJECT" else "FULL_OBJECT"
    assert (await upload.complete(parts, {"x-amz-checksum-type": other})).code == "InvalidRequest"
    answer = await upload.complete(parts, {"x-amz-checksum-crc32": wanted})
    assert text(answer.body, "ChecksumCRC32") == wanted
    assert text(answer.body, "ChecksumType") == form
    whole = await client.ask("GET", upload.key, headers={"x-amz-checksum-mode": "ENABLED"})
    assert whole.body == BIG + SMALL
    assert whole.headers["x-amz-checksum-crc32"] == wanted
    assert whole.headers["x-amz-checksum-type"] == form


@pytest.mark.parametrize(("kind", "form"), [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")])
async def test_a_checksum_that_cannot_be_so_is_refused_at_once(client, kind, form):
    headers = {"x-amz-checksum-algorithm": kind, "x-amz-checksum-type": form}
    assert (await client.ask("POST", "ds/k", "uploads=", headers)).code == "InvalidRequest"


async def test_each_part_of_a_joined_object_is_to_be_had_by_its_number(client):
    upload = await Upload(client).begin()
    await upload.part(1, BIG)
    await upload.part(9, SMALL)
    await upload.complete([(1, md5(BIG)), (9, md5(SMALL))])
    answer = await get(client, upload.key, "partNumber=2")
    assert (answer.status, answer.body) == (206, SMALL)
    assert answer.headers["x-amz-mp-parts-count"] == "2"
    assert (await get(client, upload.key, "partNumber=3")).status == 416


async def test_a_completion_that_is_asked_for_again_answers_as_before(client, clock):
    upload = await Upload(client).begin()
    await upload.part(1, BIG)
    await upload.part(2, SMALL)
    parts = [(1, md5(BIG)), (2, md5(SMALL))]
    # The condition held the first time, and what it made is there the second.
    first = await upload.complete(parts, {"if-none-match": "*"})
    assert first.status == 200
    again = await upload.complete(parts, {"if-none-match": "*"})
    assert (again.status, again.body) == (200, first.body)
    # It is an answer and no deed: what came after stays.
    await client.ask("PUT", upload.key, body=b"later")
    assert (await upload.complete(parts)).body == first.body
    assert (await get(client, upload.key)).body == b"later"
    assert (await upload.complete(parts[:1])).code == "NoSuchUpload"
    elsewhere = Upload(client, "ds/elsewhere")
    elsewhere.id = upload.id
    assert (await elsewhere.complete(parts)).code == "NoSuchUpload"
    assert (await client.ask("DELETE", upload.key, f"uploadId={upload.id}")).code == "NoSuchUpload"


async def test_a_completion_is_remembered_over_a_restart_and_not_for_ever(client, storage, clock):
    upload = await Upload(client).begin()
    await upload.part(1, SMALL)
    first = await upload.complete([(1, md5(SMALL))])
    await storage.aclose()
    await storage.open()
    assert (await upload.complete([(1, md5(SMALL))])).body == first.body
    await storage.aclose()
    clock.now += 2 * 3600
    client.use(client.grant())
    await storage.open()
    assert (await upload.complete([(1, md5(SMALL))])).code == "NoSuchUpload"


async def test_a_deleted_data_set_has_no_completion_that_is_remembered(client, storage):
    upload = await Upload(client).begin()
    await upload.part(1, SMALL)
    await upload.complete([(1, md5(SMALL))])
    await storage.delete_prefix("org-a", "ds/")
    assert (await upload.complete([(1, md5(SMALL))])).code == "NoSuchUpload"


async def test_a_part_copied_while_its_source_is_replaced_is_one_version_whole(client):
    """The answer's ETag is of the bytes that the part has, whichever version they are of."""
    versions = [os.urandom(MiB) for _ in range(4)]
    await client.ask("PUT", "ds/source", body=versions[0])
    uploads = [await Upload(client, f"ds/copy{number}").begin() for number in range(6)]

    async def replace():
        for data in versions:  # fewer than a copy tries
            await client.ask("PUT", "ds/source", body=data)

    async def copy(upload):
        answer = await upload.part(1, b"", {"x-amz-copy-source": "/org-a/ds/source"})
        assert answer.status == 200, answer.body
        etag = text(answer.body, "ETag").strip('"')
        assert (await upload.complete([(1, etag)])).status == 200
        got = (await get(client, upload.key)).body
        assert md5(got) == etag
        assert got in versions

    await asyncio.gather(replace(), *(copy(upload) for upload in uploads))


async def test_a_part_copied_has_the_span_that_was_asked_for(client, there):
    upload = await Upload(client).begin()
    headers = {"x-amz-copy-source": "org-a/ds/long", "x-amz-copy-source-range": "bytes=5-70000"}
    answer = await upload.part(1, b"", headers)
    span = (DATA * 1000)[5:70_001]
    assert text(answer.body, "ETag") == f'"{md5(span)}"'
    for wrong in ("bytes=5-100000", "bytes=-5", "bytes=9-3"):
        answer = await upload.part(2, b"", headers | {"x-amz-copy-source-range": wrong})
        assert answer.status in (400, 416), wrong
    stale = headers | {"x-amz-copy-source-if-match": OTHER}
    assert (await upload.part(2, b"", stale)).status == 412


@pytest.mark.parametrize("size", [10, 100_000])
async def test_of_many_creators_one_wins_and_its_bytes_are_there(client, size):
    bodies = [bytes([number]) * size for number in range(20)]
    answers = await asyncio.gather(
        *(client.ask("PUT", "ds/k", headers={"if-none-match": "*"}, body=body) for body in bodies)
    )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [200] + [412] * 19
    assert (await get(client)).body == bodies[statuses.index(200)]


async def test_of_many_who_replace_one_version_one_wins(client, there):
    answers = await asyncio.gather(
        *(
            client.ask("PUT", "ds/k", headers={"if-match": SAME}, body=bytes([number]))
            for number in range(20)
        )
    )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [200] + [412] * 19
    assert (await get(client)).body == bytes([statuses.index(200)])
    gone = await client.ask("DELETE", "ds/k", headers={"if-match": SAME})
    assert gone.status == 412


async def test_of_many_completions_that_create_one_wins(client):
    uploads = [await Upload(client).begin() for _ in range(8)]
    for number, upload in enumerate(uploads):
        await upload.part(1, bytes([number]))
    answers = await asyncio.gather(
        *(
            upload.complete([(1, md5(bytes([number])))], {"if-none-match": "*"})
            for number, upload in enumerate(uploads)
        )
    )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [200] + [412] * 7
    assert (await get(client, "ds/joined")).body == bytes([statuses.index(200)])
