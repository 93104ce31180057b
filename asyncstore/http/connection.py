"""One connection: a request goes out, an answer comes in, one exchange at a time.

Theory of operation. The connection is an `asyncio.BufferedProtocol`: the transport asks where
the next bytes shall go (`get_buffer`) and says how many came (`buffer_updated`). Heads, chunks
and ends of bodies are received into a scratch buffer; the bulk of a body
of known length is received straight into its place in the caller's buffer. The last bytes of
every body pass through the scratch buffer, so that a server that sends more than it said is
caught in the same read, and its surplus never becomes the beginning of the next answer.

All connections of a pool share one scratch buffer, as what is received there is dealt with before
anybody else receives: few are ever in the middle of a head, and those get one of their own.

Everything happens in the transport's callbacks; no task runs. Whoever asked is told of the
outcome, as a future is. A connection that is in doubt in any way is closed, never reused.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, cast

from asyncstore.errors import (
    DeadlineError,
    IntegrityError,
    InvalidSpanError,
    StoreError,
    UnavailableError,
)
from asyncstore.http.body import (
    ERROR_KEPT,
    ERROR_READ,
    Capped,
    Growing,
    Queued,
    Whole,
)
from asyncstore.http.chunked import ChunkedDecoder
from asyncstore.http.head import CHUNKED, HEAD_MAX, UNTIL_CLOSE, Head, is_bad_start
from asyncstore.http.message import BUFFERS, Origin, Request, Response, TooLongError
from asyncstore.http.system import unread, unsent_by_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.errors import Outcome
    from asyncstore.http.options import EngineOptions
    from asyncstore.http.shapes import Shapes
    from asyncstore.types import Buffer

_SLICE = 256 << 10  # of an upload, handed to the transport at a time
_TAIL = 16 << 10  # of a body, received through the scratch buffer
_SMALL = 64 << 10  # a request's body below this travels with its head
_REQUEST_TIMEOUT = 408
_INTERIM_MAX = 16  # 1xx answers before the final one
_GROWING_MAX = 1 << 30

_NO_REQUEST = Request("GET", Origin("http", "", 80), "/")
_NO_SINK = Whole(0, None)

_IDLE, _HEAD, _LENGTH, _CHUNKS, _CLOSE = range(5)


class Waiter(Protocol):
    """Who waits for the end of an exchange: a future, or an object that is told as one is.

    It is told once, from a callback of the event loop, and raises nothing.
    """

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Take the `Response`, or where streamed `(Head, Queued)`."""
        ...

    def set_exception(self, error: Any, /) -> None:
        """Take the error in its place: `Stale`, or those of `Engine.send`."""
        ...


class Stale(Exception):  # noqa: N818 - a signal between two modules, not an error of the user's
    """A kept connection turned out to have been closed before any byte of an answer came."""


class Connection(asyncio.BufferedProtocol):
    """A connection to one origin, or to a proxy on the way there.

    Args:
        options: for the timeouts.
        on_free: called when an exchange has ended and another may begin.
        on_lost: called once, when the connection is closed.
        scratch: `HEAD_MAX` bytes to receive into, that other connections of the same event loop
            use too.
        shapes: reads heads, also of other connections to the same place.
    """

    def __init__(
        self,
        options: EngineOptions,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
        *,
        scratch: bytearray,
        shapes: Shapes,
    ) -> None:
        self._options = options
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.is_closing: Callable[[], bool] = lambda: True  # until it is open
        self._read_head = shapes.read
        self._shared = scratch
        self._use(scratch)
        self._window = self._scratch_view
        self._filled = 0  # of the scratch buffer, while in a head
        self._state = _IDLE
        self._waiter: Waiter | None = None
        self._request: Request = _NO_REQUEST
        self._streamed = False
        self._head: Head = cast("Head", None)
        self._sink: Whole | Growing | Capped | Queued = _NO_SINK
        self._left = 0  # of the body
        self._chunks: ChunkedDecoder | None = None
        self._interims = 0
        self._large = False  # the request's body did not go out at once
        self._out: list[memoryview] = []  # of the request's body, last piece first
        self._write_paused = False
        self._held = False
        self.closed = False
        self.closing = False
        self.served = 0
        self.received = 0
        self.sent = 0
        self.idle_since = 0.0
        self._deadline: float | None = None
        self._mark = 0.0  # when the present window of speed began; 0.0: at the next look
        self._marked = 0  # bytes moved by then
        self._wait_since: float | None = None  # since when the whole request is sent

    def _use(self, scratch: bytearray) -> None:
        self._scratch = scratch
        self._scratch_view = memoryview(scratch)

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the transport is open, and TLS agreed where there is TLS."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_closing = transport.is_closing

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Say where the next bytes shall go."""
        return self._window

    def buffer_updated(self, nbytes: int) -> None:
        """Take `nbytes` that were received into the window."""
        self.received += nbytes
        try:
            if self._state == _HEAD:
                self._filled += nbytes
                self._on_head_bytes(self._filled)
            else:
                self._on_bytes(nbytes)
        except StoreError as error:
            self._fail(error)

    def eof_received(self) -> bool:
        """See the other side's end: a body that ends there is complete, any other is cut."""
        self.closing = True
        if self._state == _CLOSE:
            self._head = self._head._replace(keep=False)
            try:
                self._finish()
            except StoreError as error:
                self._fail(error)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End: tell whoever waits, and the pool."""
        self.closed = self.closing = True
        if exc is not None and self._state == _HEAD:
            self._read_leftover()
        if self._waiter is not None or self._state != _IDLE:
            self._fail(self._cut())
        self._window = self._scratch_view
        self._on_lost(self)

    def _read_leftover(self) -> None:
        """Look for an answer behind a failed write: it says why the server hung up."""
        if self._transport.get_extra_info("sslcontext") is not None:
            return
        data = unread(self._transport.get_extra_info("socket"), len(self._window))
        if data:
            self._window[: len(data)] = data
            self.buffer_updated(len(data))

    def pause_writing(self) -> None:
        """Stop sending: the transport's buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._write_paused = False
        if self._out:
            self._pump()

    # The engine's side.

    def begin(
        self,
        request: Request,
        head: bytes,
        deadline: float | None,
        waiter: Waiter,
        *,
        streamed: bool = False,
    ) -> None:
        """Send a request, and tell `waiter` of its answer."""
        if self._scratch is not self._shared:
            self._use(self._shared)
            self._window = self._scratch_view
        self._request = request
        self._streamed = streamed
        self._state = _HEAD
        self._filled = 0
        self._interims = 0
        self._deadline = deadline
        self._wait_since = None
        self._mark = 0.0
        self._waiter = waiter
        if request.body:
            self._send(head, request.body)
        else:
            self._large = False
            self.sent += len(head)
            self._transport.write(head)

    def abort(self) -> None:
        """Close at once, dropping what is on its way; a waiting exchange is not told."""
        self._waiter = None
        self._request = _NO_REQUEST
        self._state = _IDLE
        self._out.clear()
        self._window = self._scratch_view
        self._sink = _NO_SINK
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def abandon(self, waiter: Waiter) -> None:
        """Close, unless the exchange is over and the connection serves another already."""
        if self._waiter is waiter:
            self.abort()

    def fail(self, error: StoreError) -> None:
        """End the exchange under way, if any, with an error, and close."""
        self._fail(error)

    # Sending.

    def _send(self, head: bytes, body: Any) -> None:
        write = self._transport.write
        if isinstance(body, BUFFERS):
            size = len(body)
            self._large = size >= _SMALL
            if not self._large:
                self.sent += len(head) + size
                write(b"".join((head, body)))
                return
            self._out.append(memoryview(body))
        else:
            self._large = True
            self._out.extend(memoryview(piece) for piece in reversed(body) if len(piece))
        self.sent += len(head)
        write(head)
        self._pump()

    def _pump(self) -> None:
        """Hand the transport slices of the body until its buffer is full."""
        out = self._out
        write = self._transport.write
        while out and not self._write_paused:
            piece = out[-1]
            part = piece[:_SLICE]
            if len(part) == len(piece):
                out.pop()
            else:
                out[-1] = piece[_SLICE:]
            self.sent += len(part)
            write(part)

    def _unsent(self) -> int:
        """Count the bytes that the transport has not handed to the system."""
        return self._transport.get_write_buffer_size()

    def _unacknowledged(self) -> int:
        """Count the bytes that the other side has not taken, as far as the system tells."""
        return self._unsent() + unsent_by_system(self._transport.get_extra_info("socket"))

    # Receiving.

    def _on_bytes(self, count: int) -> None:
        state = self._state
        if state == _LENGTH:
            self._on_body_bytes(count)
        elif state == _CHUNKS:
            self._on_chunks(self._scratch_view[:count])
        elif state == _CLOSE:
            self._on_until_close(self._scratch_view[:count])
        else:
            # Nobody asked: what follows could be taken for the answer to the next request.
            self.abort()

    def _on_head_bytes(self, filled: int) -> None:
        end = self._scratch.find(b"\r\n\r\n", 0, filled) + 4
        if end < 4:  # noqa: PLR2004
            self._on_partial_head()
            return
        request = self._request
        fields = self._read_head(str(self._scratch_view[:end], "latin-1"), request.method)
        status, headers, length, keep = fields
        if status < 200:  # noqa: PLR2004
            self._on_head_bytes(self._on_interim(status, end))
        elif (
            status < 300  # noqa: PLR2004
            and 0 <= length <= filled - end
            and (request.limit is None or length <= request.limit)
            and request.length is None
            and request.into is None
            and not (self._large or self._streamed)
        ):
            # What most answers are: small, whole, and all that was to be looked at.
            self._finish_small(status, headers, end, length, keep=keep)
        else:
            self._on_head(Head(*fields), end)

    def _on_partial_head(self) -> None:
        if is_bad_start(bytes(self._scratch_view[: min(self._filled, HEAD_MAX)])):
            raise IntegrityError("the answer does not begin with an HTTP/1 head")
        if self._filled >= HEAD_MAX:
            raise IntegrityError(f"the answer's head is longer than {HEAD_MAX} bytes")
        if self._scratch is self._shared:
            begun = bytes(self._scratch_view[: self._filled])
            self._use(bytearray(HEAD_MAX))
            self._scratch[: len(begun)] = begun
        self._window = self._scratch_view[self._filled :]

    def _on_interim(self, status: int, end: int) -> int:
        """Drop an interim answer; return how many bytes came behind it."""
        self._interims += 1
        if status == 101 or self._interims > _INTERIM_MAX:  # noqa: PLR2004
            raise IntegrityError(f"the answer is {status}, which was not asked for")
        rest = bytes(self._scratch_view[end : self._filled])
        self._scratch[: len(rest)] = rest
        self._filled = len(rest)
        return len(rest)

    def _on_head(self, head: Head, end: int) -> None:
        request = self._request
        if self._large and (self._out or self._unsent()):
            head = self._on_early(head)
        if head.status == _REQUEST_TIMEOUT and self.served and not head.keep:
            # Meant for the silence before this request, which it crossed on the way.
            self._fail(Stale())
            return
        self._head = head
        self._window = self._scratch_view
        length = head.length
        good = 200 <= head.status < 300  # noqa: PLR2004
        limit = request.limit
        if good and (
            length < 0
            or request.length is not None
            or request.into is not None
            or (limit is not None and length > limit)
        ):
            self._check_length(request, head)
        there = self._filled - end
        if 0 <= length <= there and not self._streamed:
            self._finish_small(head.status, head.headers, end, length, keep=head.keep)
            return
        self._mark = monotonic()
        self._marked = self.received + self.sent
        self._sink = self._make_sink(request, head, good=good)
        if self._streamed and not self._resolve((head, self._sink)):
            # Cancelled while the head was on its way: nobody will read the body.
            self.abort()
            return
        rest = self._scratch_view[end : self._filled]
        if length == CHUNKED:
            self._chunks = ChunkedDecoder()
            self._state = _CHUNKS
            self._on_chunks(rest)
        elif length == UNTIL_CLOSE:
            self._state = _CLOSE
            self._on_until_close(rest)
        else:
            self._state = _LENGTH
            self._left = length
            self._on_rest(rest)

    def _on_early(self, head: Head) -> Head:
        """See an answer that came before the whole request was sent: stop sending."""
        self._out.clear()
        if head.status < 300:  # noqa: PLR2004
            raise IntegrityError(
                "the service reported success before it had the whole request",
                status=head.status,
                outcome="unknown",
            )
        return head._replace(keep=False)

    def _check_length(self, request: Request, head: Head) -> None:
        length = head.length
        into = request.into
        if request.method == "HEAD":
            return
        if request.length is not None and length not in (request.length, CHUNKED, UNTIL_CLOSE):
            raise IntegrityError(
                f"the answer has {length} bytes, not the expected {request.length}",
                status=head.status,
            )
        if length == UNTIL_CLOSE and request.length is None:
            raise IntegrityError(
                "the answer does not say how long it is, so it cannot be told from a cut one",
                status=head.status,
            )
        if request.limit is not None and length > request.limit:
            raise TooLongError(request.limit, head.status, head.headers)
        if into is not None and length > len(into):
            raise InvalidSpanError(
                f"the answer has {length} bytes, the buffer room for {len(into)}",
                status=head.status,
            )

    def _make_sink(
        self, request: Request, head: Head, *, good: bool
    ) -> Whole | Growing | Capped | Queued:
        limit = request.limit
        if request.length is not None:
            limit = request.length if limit is None else min(limit, request.length)
        if self._streamed:
            most = (1 << 62) if limit is None else limit
            return Queued(most if good else ERROR_READ, self._hold, self._flow)
        if not good:
            return Capped()
        if head.length >= 0:
            return Whole(head.length, request.into)
        return Growing(_GROWING_MAX if limit is None else limit, request.into)

    def _on_rest(self, rest: memoryview) -> None:
        """Take the beginning of a body that came along with its head."""
        surplus = len(rest) - self._left
        if surplus > 0:
            rest = rest[: self._left]
        if rest and not self._take(rest):
            return
        self._left -= len(rest)
        if self._left == 0:
            self._left = max(surplus, 0)
            self._finish()
        else:
            self._aim()

    def _on_body_bytes(self, count: int) -> None:
        if self._window is self._scratch_view:
            self._on_rest(self._scratch_view[:count])
            return
        # The window was the body's own place.
        sink = cast("Whole", self._sink)
        sink.filled += count
        self._left -= count
        self._aim()

    def _aim(self) -> None:
        """Set the window for what is left of a body of known length."""
        sink = self._sink
        if self._left > 2 * _TAIL and type(sink) is Whole:
            self._window = sink.window(_TAIL)
        else:
            self._window = self._scratch_view

    def _on_chunks(self, data: memoryview) -> None:
        chunks = cast("ChunkedDecoder", self._chunks)
        pieces, used = chunks.feed(data)
        for piece in pieces:
            if not self._take(piece):
                return
        if chunks.done:
            self._left = len(data) - used
            self._finish()

    def _on_until_close(self, data: memoryview) -> None:
        if data:
            self._take(data)

    def _take(self, data: memoryview) -> bool:
        """Put bytes into the sink; return whether it wants more."""
        sink = self._sink
        sink.take(data)
        if type(sink) is not Capped or sink.filled <= ERROR_READ:
            return True
        # Enough of an error: what there is says it.
        self._head = self._head._replace(keep=False)
        self._finish()
        return False

    # Ending.

    def _finish_small(
        self, status: int, headers: dict[str, str], begin: int, length: int, *, keep: bool
    ) -> None:
        """End an answer that came in one piece: what `_end` does, spelled out."""
        end = begin + length
        good = 200 <= status < 300  # noqa: PLR2004
        into = self._request.into
        result: Buffer
        if good and into is not None:
            result = into[:length]
            result[:] = self._scratch_view[begin:end]
        else:
            kept = end if good else min(end, begin + ERROR_KEPT)
            result = bytes(self._scratch_view[begin:kept])
        self._state = _IDLE
        self._request = _NO_REQUEST
        self._window = self._scratch_view
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(Response(status, headers, result))
        self.served += 1
        if self._filled > end or not keep or self._out:
            self._close()
        else:
            self._on_free(self)

    def _finish(self) -> None:
        """End a body: check its length, hand it over, free the connection."""
        request = self._request
        sink = self._sink
        good = 200 <= self._head.status < 300  # noqa: PLR2004
        wanted = request.length
        if good and wanted is not None and sink.filled != wanted:
            raise UnavailableError(
                f"the answer has {sink.filled} bytes, not the expected {wanted}",
                status=self._head.status,
                outcome=self._outcome(),
            )
        if self._streamed:
            self._end(self._head, None)
        else:
            body = sink.result()
            self._end(self._head, Response(self._head.status, self._head.headers, body))

    def _end(self, head: Head, response: Response | None) -> None:
        surplus, self._left = self._left, 0
        sink = self._sink
        self._sink = _NO_SINK
        if self._held:
            self._flow()
        self._state = _IDLE
        self._request = _NO_REQUEST
        self._chunks = None
        self._window = self._scratch_view
        if response is not None:
            self._resolve(response)
        else:
            cast("Queued", sink).finish()
        self.served += 1
        if surplus or not head.keep or self._out:
            self._close()
        else:
            self._on_free(self)

    def _close(self) -> None:
        """Close after an answer behind which nothing may follow."""
        self.closing = True
        self._out.clear()
        self._transport.abort()

    def _resolve(self, value: Any) -> bool:
        """Tell whoever waits; return whether anybody still does."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(value)
        return True

    def _fail(self, error: StoreError | Stale) -> None:
        """End the exchange with an error, and the connection."""
        if isinstance(error, StoreError) and error.outcome == "not_applied":
            error.outcome = self._outcome()
        waiter = self._waiter
        sink = self._sink
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if type(sink) is Queued:
            sink.fail(error)

    def _outcome(self) -> Outcome:
        return "not_applied" if self._request.method in ("GET", "HEAD") else "unknown"

    def _cut(self) -> StoreError | Stale:
        if self._state == _HEAD and self.served and not self._filled and not self._interims:
            return Stale()
        if self._state in (_IDLE, _HEAD):
            return UnavailableError(
                "the connection was closed before the answer was complete",
                outcome=self._outcome(),
            )
        return UnavailableError(
            "the connection was closed in the middle of the answer",
            status=self._head.status,
            outcome=self._outcome(),
        )

    # Streaming.

    def _hold(self) -> None:
        self._held = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _flow(self) -> None:
        self._held = False
        self._mark = monotonic()
        self._marked = self.received + self.sent
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # Watching.

    def watch(self, now: float) -> None:
        """Give up an exchange that is late; called now and then by the engine's one timer."""
        if self._state == _IDLE:
            return
        if self._deadline is not None and now >= self._deadline:
            self._late("the operation's deadline passed")
        elif not self._held:
            self._watch_progress(now)

    def _watch_progress(self, now: float) -> None:
        options = self._options
        unsent = self._unacknowledged()
        if self._state == _HEAD and not self._out and not unsent:
            if self._wait_since is None:
                self._wait_since = now
            if now - self._wait_since >= options.read_timeout:
                self._late(f"no answer within {options.read_timeout:g} s")
            return
        moved = self.received + self.sent - unsent
        if self._mark == 0.0:
            self._mark = now
            self._marked = moved
            return
        if now - self._mark < options.speed_window:
            return
        if moved - self._marked < options.least_speed * (now - self._mark):
            self._late(f"slower than {options.least_speed:g} bytes per second")
        self._mark = now
        self._marked = moved

    def _late(self, message: str) -> None:
        self._fail(DeadlineError(message, outcome=self._outcome()))


__all__ = ["Connection", "Stale", "Waiter"]
