"""A stand-in for S3 that answers late, and lists keys that it does not have.

    python -m benchmarks.standin PORT ROOT DELAY

`GET /bucket?list-type=2` gives a page of 1,000 of 100,000 keys, made beforehand; any other
`GET` what was written to it, or a file under ROOT, from memory. `PUT` and uploads in parts are
kept in memory. Each answer comes DELAY seconds after its request.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys

from benchmarks.works import listed_key

KEYS = 100_000
_PAGE = 1000
_TOKEN = re.compile(rb"continuation-token=([0-9]+)")
_PART = re.compile(rb"partNumber=([0-9]+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_SUMS = re.compile(rb"\r\n(x-amz-checksum-(?:crc|sha)[^\r]+)", re.IGNORECASE)


def page(start: int) -> bytes:
    """Return one page of the listing, as S3 writes it."""
    last = start + _PAGE
    rows = "".join(
        f"<Contents><Key>{listed_key(number)}</Key>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><Size>{number}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(start, last)
    )
    more = last < KEYS
    token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
        f"<Prefix>listing/</Prefix><KeyCount>{_PAGE}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
    ).encode()
    return answer(body, "application/xml")


def answer(body: bytes, media: str = "application/octet-stream", etag: str = "0") -> bytes:
    """Return an HTTP answer."""
    head = (
        f"HTTP/1.1 200 OK\r\nserver: standin\r\ncontent-type: {media}\r\n"
        f'etag: "{etag}"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        f"accept-ranges: bytes\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Objects:
    """What was written, and what uploads are made of."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = answers
        self._whole: dict[bytes, list[bytearray]] = {}
        self._parts: dict[int, bytearray] = {}

    def answer(self, head: bytes, body: bytearray) -> list[bytes | bytearray]:
        """Carry out a request; return the pieces of the answer."""
        method, target = head.split(b" ", 2)[:2]
        path, _, query = target.partition(b"?")
        key = path.removeprefix(b"/bucket").lstrip(b"/")
        if method == b"PUT":
            return [self._put(key, query, head, body)]
        if method == b"POST":
            return [self._post(key, query)]
        if method == b"DELETE":
            return [b"HTTP/1.1 204 No Content\r\n\r\n"]
        pieces = self._get(key, query)
        if method == b"HEAD":
            return [bytes(pieces[0]).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"]
        return pieces

    def _get(self, key: bytes, query: bytes) -> list[bytes | bytearray]:
        if b"list-type=2" in query:
            token = _TOKEN.search(query)
            return [self.answers[b"page" + (token[1] if token else b"0")]]
        if key in self._whole:
            pieces = self._whole[key]
            return [_head(sum(map(len, pieces))), *pieces]
        return [self.answers.get(key, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")]

    def _put(self, key: bytes, query: bytes, head: bytes, body: bytearray) -> bytes:
        number = _PART.search(query)
        if number:
            self._parts[int(number[1])] = body
        else:
            self._whole[key] = [body]
        sums = b"".join(line + b"\r\n" for line in _SUMS.findall(head))
        return b'HTTP/1.1 200 OK\r\netag: "0"\r\n%scontent-length: 0\r\n\r\n' % sums

    def _post(self, key: bytes, query: bytes) -> bytes:
        if b"uploads" in query:
            self._parts = {}
            kind, rest = "InitiateMultipartUploadResult", "<UploadId>upload</UploadId>"
        else:
            self._whole[key] = [self._parts[number] for number in sorted(self._parts)]
            kind, rest = "CompleteMultipartUploadResult", "<ETag>&quot;0-1&quot;</ETag>"
        name = f"<Bucket>bucket</Bucket><Key>{key.decode()}</Key>"
        body = f'<{kind} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{name}{rest}</{kind}>'
        return answer(f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode(), "application/xml")


def _head(length: int) -> bytes:
    return answer(b"")[:-5] + f"{length}\r\n\r\n".encode()


class Connection(asyncio.BufferedProtocol):
    """One client; a body is received straight into where it stays."""

    def __init__(self, objects: Objects, delay: float) -> None:
        self._objects = objects
        self._delay = delay
        self._scratch = memoryview(bytearray(1 << 16))
        self._unread = b""
        self._head = b""
        self._body = bytearray()
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._body)[self._filled :] if self._head else self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._head:
            self._filled += nbytes
        else:
            self._unread += self._scratch[:nbytes]
        while self._head or b"\r\n\r\n" in self._unread:
            if not self._head:
                self._begin()
            if self._filled < len(self._body):
                return
            self._end()

    def _begin(self) -> None:
        self._head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(self._head)
        self._body = bytearray(int(length[1]) if length else 0)
        self._filled = min(len(self._body), len(rest))
        self._body[: self._filled] = rest[: self._filled]
        self._unread = rest[self._filled :]
        if b"100-continue" in self._head and self._filled < len(self._body):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _end(self) -> None:
        pieces = self._objects.answer(self._head, self._body)
        self._head, self._body, self._filled = b"", bytearray(), 0
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._write, pieces)
        else:
            self._write(pieces)

    def _write(self, pieces: list[bytes | bytearray]) -> None:
        for piece in pieces:
            self._transport.write(piece)


def load(root: str) -> dict[bytes, bytes]:
    """Return every answer there is."""
    answers = {b"page%d" % start: page(start) for start in range(0, KEYS, _PAGE)}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.getsize(path) <= 1 << 16:
                with open(path, "rb") as file:
                    answers[os.path.relpath(path, root).encode()] = answer(file.read())
    return answers


async def main() -> None:
    port, root, delay = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    answers = load(root)
    loop = asyncio.get_running_loop()
    objects = Objects(answers)
    server = await loop.create_server(lambda: Connection(objects, delay), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
