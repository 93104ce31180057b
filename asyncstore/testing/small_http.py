"""A small HTTP/1.1 server on loopback for stand-ins: threads, keep-alive, and faults on demand.

A stand-in is a function from `Call` to `Reply`. Faults come between the two: a connection that is
dropped before or after the call took effect, a cut or altered body, any reply instead.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = Callable[["Call"], "Reply"]

_LONGEST = 1 << 30

Kind: TypeAlias = Literal[
    "reply", "drop", "drop_after", "cut", "flip", "before", "alter", "edit", "break_body"
]


@dataclass
class Call:
    """A request as it arrived.

    Attributes:
        method: upper case.
        path: still percent-encoded.
        query: decoded; a repeated name's first value.
        headers: names in lower case.
        body: all of it, unless a fault broke it off.
        whole: whether all of the body arrived.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    whole: bool = True


@dataclass
class Reply:
    """What to answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with calls that match; see `SmallServer.fail`."""

    kind: Kind
    method: str
    pattern: re.Pattern[str]
    times: int
    value: Any = None
    after: int = 0


class SmallServer:
    """Serves a function on a free port of 127.0.0.1, from `with` or `start` to `close`.

    Attributes:
        url: where, such as `"http://127.0.0.1:40001"`.
        calls: every call that came, in order.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.calls: list[Call] = []
        self.url = ""
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            self.hang_up()
            server.server_close()

    def hang_up(self) -> None:
        """End every connection that is open now."""
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def fail(
        self,
        kind: Kind,
        pattern: str,
        value: Any = None,
        /,
        *,
        method: str = "",
        times: int = 1,
        after: int = 0,
    ) -> Fault:
        """Let matching calls go wrong.

        Args:
            kind: `reply`: answer `value`, a `Reply`, and do nothing. `drop`: close without doing
                anything. `drop_after`: do it, then close without an answer. `cut`: send only
                `value` bytes of the answer's body, then close. `flip`: alter one bit of it, at
                `value`. `before`: call `value`, then go on. `alter`: let `value` change the
                `Call`. `edit`: change the answer by calling `value` with it. `break_body`:
                read `value` bytes of the request's body, act on them and close.
            pattern: a regular expression to be found in path and query.
            value: see `kind`.
            method: upper case, or any.
            times: how often.
            after: let so many matching calls pass first.
        """
        fault = Fault(kind, method, re.compile(pattern), times, value, after)
        with self._lock:
            self._faults.append(fault)
        return fault

    def count(self, pattern: str, method: str = "") -> int:
        """Return how many calls matched."""
        return sum(
            1
            for call in self.calls
            if method in ("", call.method) and re.search(pattern, _target(call))
        )

    def _fault_of(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.method in ("", method) and fault.pattern.search(target):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None


def _target(call: Call) -> str:
    return call.path + "?" + "&".join(f"{n}={v}" for n, v in call.query.items())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, owner: SmallServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.owner._lock:  # noqa: SLF001 - one thing in two classes
            self.server.owner._open.add(self.connection)  # noqa: SLF001

    def finish(self) -> None:
        with self.server.owner._lock:  # noqa: SLF001
            self.server.owner._open.discard(self.connection)  # noqa: SLF001
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet: targets may hold signatures."""

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        with suppress(ConnectionError):
            self._serve()
            self.wfile.flush()

    def _serve(self) -> None:
        owner = self.server.owner
        fault = owner._fault_of(self.command, self.path)  # noqa: SLF001
        most = fault.value if fault is not None and fault.kind == "break_body" else _LONGEST
        call = self._call(most)
        owner.calls.append(call)
        if fault is None:
            self._send(owner._answer(call))  # noqa: SLF001
        else:
            self._misbehave(fault, call, owner._answer)  # noqa: SLF001

    def _misbehave(self, fault: Fault, call: Call, answer: Answer) -> None:
        kind = fault.kind
        if kind == "drop":
            self.close_connection = True
        elif kind in ("drop_after", "break_body"):
            answer(call)
            self.close_connection = True
        elif kind == "reply":
            self._send(fault.value)
        elif kind == "before":
            fault.value()
            self._send(answer(call))
        elif kind == "alter":
            fault.value(call)
            self._send(answer(call))
        elif kind == "edit":
            self._send(fault.value(answer(call)))
        elif kind == "flip":
            reply = answer(call)
            body = bytearray(reply.body)
            body[fault.value] ^= 1
            self._send(Reply(reply.status, bytes(body), reply.headers))
        else:
            self._send(answer(call), most=fault.value)
            self.close_connection = True

    def _call(self, most: int) -> Call:
        parts = urlsplit(self.path)
        query = {n: v[0] for n, v in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, whole = self._chunks(), True
        else:
            length = int(headers.get("content-length", "0"))
            body = self.rfile.read(min(length, most))
            whole = len(body) == length
        return Call(self.command, parts.path, query, headers, body, whole)

    def _chunks(self) -> bytes:
        found = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(found)

    def _send(self, reply: Reply, most: int = _LONGEST) -> None:
        self.send_response_only(reply.status)
        headers: Mapping[str, str] = {
            "date": self.date_time_string(),
            "content-length": str(len(reply.body)),
            **reply.headers,
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[:most])
