"""A stand-in for S3 with many objects, a latency, and room for so many requests.

    python -m benchmarks.crowd PORT JSON

Serves `GET`, `HEAD` and `ListObjectsV2` of made-up objects, from memory, on uvloop where there is
one: it is to cost less than any client. A request is answered `latency` seconds after it got its
place. There are `room` places; who finds none waits in line. Above `bears` requests at once the
next one is refused with 503 SlowDown. One request in `tail` takes `slow` seconds. `GET /counts`
tells how many requests were answered, refused, and at most under way at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from urllib.parse import parse_qs

_REFUSED = (
    b"HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: 57\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>-</Message></Error>\r\n"
)
_NONE = (
    b"HTTP/1.1 404 Not Found\r\ncontent-type: application/xml\r\ncontent-length: 58\r\n\r\n"
    b"<Error><Code>NoSuchKey</Code><Message>-</Message></Error>\n"
)
_GET = b"GET /bucket/"
_PAGE = 1000


@dataclass(frozen=True)
class Crowd:
    """What is served, and how.

    Attributes:
        count: objects, below `data/`.
        size: of each, in bytes.
        latency: seconds from a request's place to its answer.
        room: requests at once; the others wait. 0 is no bound.
        bears: requests at once, above which one is refused. 0 is no bound.
        tail: one request in so many is slow; 0 is none.
        slow: seconds that a slow one takes.
    """

    count: int
    size: int
    latency: float = 0.0
    room: int = 0
    bears: int = 0
    tail: int = 0
    slow: float = 0.0


def key_of(number: int) -> str:
    """Return an object's key."""
    return f"data/{number // 1000:03}/{number:06}.bin"


def body_of(number: int, size: int) -> bytes:
    """Return an object's bytes: no two objects' are the same."""
    line = b"%016d" % number
    return (line + _NOISE[number % 64 :] + _NOISE * (size // len(_NOISE)))[:size]


_NOISE = random.Random(3).randbytes(1 << 16)


class Objects:
    """Answers, made when they are first asked for, and kept where they are small."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._numbers = {key_of(number).encode(): number for number in range(crowd.count)}
        self.kept: dict[bytes, bytes] = {}
        self._pages: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes:
        """Return the answer to a `GET`."""
        found = self.kept.get(key)
        if found is None:
            number = self._numbers.get(key)
            if number is None:
                return _NONE
            body = body_of(number, self._crowd.size)
            found = self._head(number, len(body), body) + body
            if self._crowd.count * self._crowd.size <= 1 << 30:
                self.kept[key] = found
        return found

    def part(self, key: bytes, ends: bytes) -> bytes:
        """Return the answer to a `GET` of some bytes."""
        number = self._numbers.get(key)
        if number is None:
            return _NONE
        whole = self.get(key).partition(b"\r\n\r\n")[2]
        first, last = (int(end) if end else None for end in ends.split(b"-"))
        start = first or 0
        stop = len(whole) if last is None else min(len(whole), last + 1)
        head = (
            f"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {start}-{stop - 1}/{len(whole)}"
            f"\r\ncontent-length: {stop - start}\r\n"
            f'etag: "{number:032x}"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n'
        )
        return head.encode() + whole[start:stop]

    def head(self, key: bytes) -> bytes:
        """Return the answer to a `HEAD`."""
        number = self._numbers.get(key)
        if number is None:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        return self.get(key).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _head(self, number: int, length: int, body: bytes) -> bytes:
        return (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
            f'etag: "{number:032x}"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
            f"accept-ranges: bytes\r\n{checksum(body)}content-length: {length}\r\n\r\n"
        ).encode()

    def page(self, query: str) -> bytes:
        """Return one page of the listing."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        start = int(asked.get("continuation-token", "0"))
        prefix = asked.get("prefix", "")
        limit = min(_PAGE, int(asked.get("max-keys", _PAGE)))
        name = f"{prefix}\n{start}\n{limit}".encode()
        if name not in self._pages:
            self._pages[name] = self._make_page(prefix, start, limit)
        return self._pages[name]

    def _make_page(self, prefix: str, start: int, limit: int) -> bytes:
        last = min(start + limit, self._crowd.count)
        listed = [n for n in range(start, last) if key_of(n).startswith(prefix)]
        rows = "".join(
            f"<Contents><Key>{key_of(n)}</Key><LastModified>2026-01-01T00:00:00.000Z"
            f"</LastModified><ETag>&quot;{n:032x}&quot;</ETag><Size>{self._crowd.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for n in listed
        )
        more = last < self._crowd.count
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>{prefix}</Prefix><KeyCount>{len(listed)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{rows}</ListBucketResult>"
        ).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}"
        return f"{head}\r\n\r\n".encode() + body


def checksum(body: bytes) -> str:
    """Return the header with which S3 tells a checksum of the whole object."""
    from base64 import b64encode

    from awscrt.checksums import crc64nvme

    value = b64encode(crc64nvme(body).to_bytes(8, "big")).decode()
    return f"x-amz-checksum-crc64nvme: {value}\r\nx-amz-checksum-type: FULL_OBJECT\r\n"


class Service:
    """Places, the line before them, and what is answered when."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.objects = Objects(crowd)
        self.is_free = not (crowd.latency or crowd.room or crowd.bears or crowd.tail)
        self.counts = {"answered": 0, "refused": 0, "most": 0}
        self._draw = random.Random(7)
        self._under_way = 0
        self._line: deque[tuple[Client, bytes]] = deque()
        self._due: deque[tuple[float, Client, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def ask(self, client: Client, answer: bytes) -> None:
        """Take a request, of which the answer is known already."""
        crowd = self.crowd
        if crowd.bears and self._under_way >= crowd.bears:
            self.counts["refused"] += 1
            client.write(_REFUSED)
        elif crowd.room and self._under_way >= crowd.room:
            self._line.append((client, answer))
        else:
            self._begin(client, answer)

    def _begin(self, client: Client, answer: bytes) -> None:
        self._under_way += 1
        self.counts["most"] = max(self.counts["most"], self._under_way)
        crowd = self.crowd
        if crowd.tail and self._draw.randrange(crowd.tail) == 0:
            self._loop.call_later(crowd.slow, self._end, client, answer)
        elif not crowd.latency:
            self._end(client, answer)
        else:
            # They end in the order in which they began: one timer serves all.
            self._due.append((self._loop.time() + crowd.latency, client, answer))
            if self._timer is None:
                self._timer = self._loop.call_later(crowd.latency, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.0005
        while self._due and self._due[0][0] <= now:
            _, client, answer = self._due.popleft()
            self._end(client, answer)
        if self._due and self._timer is None:
            wait = max(0.0, self._due[0][0] - self._loop.time())
            self._timer = self._loop.call_later(wait, self._tick)

    def _end(self, client: Client, answer: bytes) -> None:
        self._under_way -= 1
        self.counts["answered"] += 1
        client.write(answer)
        if self._line and self._under_way < self.crowd.room:
            self._begin(*self._line.popleft())


class Client(asyncio.Protocol):
    """One connection; requests have no body."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._unread and self._answer_at_once(data):
            return
        self._unread += data
        while True:
            head, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            self._unread = rest
            self._take(head)

    def _answer_at_once(self, data: bytes) -> bool:
        """Answer a plain `GET` where nobody waits: the server is to cost less than any client."""
        if not self._service.is_free or data.find(b"\r\n\r\n") != len(data) - 4:
            return False
        if not data.startswith(_GET) or data.find(b"ange: bytes=") >= 0:
            return False
        answer = self._service.objects.kept.get(data[len(_GET) : data.find(b" ", len(_GET))])
        if answer is None:
            return False
        self._service.counts["answered"] += 1
        self._transport.write(answer)
        return True

    def write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _take(self, head: bytes) -> None:
        method, target = head.split(b" ", 2)[:2]
        path, _, query = target.partition(b"?")
        service = self._service
        if path == b"/counts":
            body = json.dumps(service.counts).encode()
            self.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        key = path.removeprefix(b"/bucket/")
        if b"list-type=2" in query:
            answer = service.objects.page(query.decode())
        elif method == b"HEAD":
            answer = service.objects.head(key)
        else:
            at = head.lower().find(b"\r\nrange: bytes=")
            if at >= 0:
                answer = service.objects.part(key, head[at + 15 :].split(b"\r\n", 1)[0])
            else:
                answer = service.objects.get(key)
        service.ask(self, answer)


async def serve(port: int, crowd: Crowd) -> None:
    """Serve until the end of the process."""
    service = Service(crowd)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for number in range(min(crowd.count, (1 << 30) // max(1, crowd.size))):
        service.objects.get(key_of(number).encode())  # made before the clock of any client runs
    print(f"{asdict(crowd)} ready in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    server = await loop.create_server(lambda: Client(service), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    port, crowd = int(sys.argv[1]), Crowd(**json.loads(sys.argv[2]))
    import uvloop

    uvloop.run(serve(port, crowd))


if __name__ == "__main__":
    main()
