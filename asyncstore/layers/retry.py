"""Trying again: the one retry loop of the library, and the deadline around it.

What may be tried again: a call that failed for a passing reason, if repeating it is harmless, or
if the failure is known to have changed nothing. A conditional write is neither: where its answer
was lost, its repetition meets its own success and is told "precondition failed". Such a write
carries a random id in its metadata, and a look at what is there then tells whose success it was
(an upload's completion likewise: repeated, it is told that there is no such upload).

Waits grow exponentially and are drawn at random from zero ("full jitter"), so that many clients
do not come back at once. A budget, shared by all calls of a store, bounds what retries add to the
load of a service that is down.
"""

from __future__ import annotations

import random
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DeadlineError,
    NotFoundError,
    PreconditionError,
    StoreError,
)
from asyncstore.layers.base import Layer, LayerUpload
from asyncstore.layers.limit import Limited
from asyncstore.layers.resume import Resuming
from asyncstore.types import WHOLE, WRITE_ID, Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from contextvars import ContextVar

    from asyncstore.provider import Provider, Resumed, Upload
    from asyncstore.types import Blob, Buffer, ObjectMeta, Span, Stream

T = TypeVar("T")

_PATIENCE = 3600.0  # seconds; a service's hint beyond this is not waited for without a deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how patiently, a failed request is tried again.

    Attributes:
        attempts: most requests for one call, the first included; 1 is no retry.
        base: seconds; the first wait is a random time up to this, and each further one's bound
            is twice the one before.
        cap: seconds; no wait of the library's own is longer. A service's hint may be.
        budget: retries that a store makes before successes have paid for more; ten pay for one.
    """

    attempts: int = 8
    base: float = 0.1
    cap: float = 20.0
    budget: int = 500

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(f"attempts={self.attempts}: at least 1, which is no retry")
        if not (self.base >= 0 and self.cap >= 0 and self.budget >= 0):
            raise ConfigurationError("a retry policy's base, cap and budget are not negative")


class Retried(Layer):
    """Try failed calls again where that is safe, within a deadline.

    Args:
        inner: what to make the calls on.
        policy: how often and how patiently.
        deadline: seconds for one call with all its tries and waits, or `None`.
        sleep: waits a number of seconds; for tests, as the next two.
        clock: monotonic seconds.
        draw: random numbers between 0 and 1.

    Attributes:
        retries: how many there were so far.
        limited: the limit right beneath, if there is one: what it does is then done here.
    """

    def __init__(
        self,
        inner: Provider,
        policy: RetryPolicy,
        /,
        *,
        deadline: float | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner)
        self._policy = policy
        self._deadline = deadline
        self._sleep = sleep
        self._clock = clock
        self._draw = draw
        self._tokens = float(policy.budget)
        self.retries = 0
        self.limited = inner if isinstance(inner, Limited) else None
        self._var: ContextVar[float | None] | None = None
        if self.limits.engine:
            from asyncstore.http import DEADLINE  # noqa: PLC0415 - others need no HTTP

            self._var = DEADLINE

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call until it succeeds or must not be repeated; the last error is raised."""
        return await self._until_done(op, call, None)

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`; this layer's `around` and the limit's beneath it, in one.

        Reads are most of all calls, and each step on the way costs every one of them.
        """
        limited, var = self.limited, self._var
        if limited is None or var is None:
            call = partial(self.inner.get, key, span=span, into=into, if_match=if_match, most=most)
            return await self.around(Op("get", key), call)
        end = self.end()
        token = var.set(end)
        gate = limited.reads
        try:
            place = gate.enter() or await limited.turn(gate, Op("get", key))
            try:
                blob = await limited.inner.get(
                    key, span=span, into=into, if_match=if_match, most=most
                )
            except BaseException as error:
                gate.leave(*place, error)
                raise
        except StoreError as error:
            call = partial(self.inner.get, key, span=span, into=into, if_match=if_match, most=most)
            return await self._again(Op("get", key), call, None, error, end=end)
        finally:
            var.reset(token)
        gate.done(len(blob.data))
        self.paid()
        return blob

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """See `Provider.put`; a conditional one is told from its own repetition."""
        settle = None
        if if_absent or if_match is not None:
            mark, metadata = self._marked(metadata)
            settle = partial(self._find, key, mark)
        call = partial(
            self.inner.put if self.limited is None else self.limited.inner.put,
            key,
            data,
            if_match=if_match,
            if_absent=if_absent,
            content_type=content_type,
            metadata=metadata,
        )
        op = Op("put", key, write=True, size=len(data))
        if self.limited is None:
            return await self._until_done(op, call, settle)
        again = partial(self.limited.around, op, call)
        return await self._until_done(op, again, settle, first=call)

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Upload:
        """See `Provider.begin_upload`; a repeated completion knows its own success."""
        mark, metadata = self._marked(metadata)
        call = partial(
            self.inner.begin_upload,
            key,
            size=size,
            if_match=if_match,
            if_absent=if_absent,
            content_type=content_type,
            metadata=metadata,
        )
        upload = await self.around(Op("begin_upload", key, write=True), call)
        return _RetriedUpload(self, upload, key, mark)

    async def resume_upload(self, key: str, token: str, /, **how: Any) -> Resumed:
        """See `ResumesUploads.resume_upload`; a repeated completion knows its own success.

        Without a condition the service settles that. With one, the object bears a mark, which
        is in the token, so that also another process knows it.
        """
        mark, _, inner_token = token.rpartition(_MARK_ENDS)
        if how.get("if_absent") and (mark or not inner_token):
            made, how["metadata"] = self._marked(how.get("metadata"), mark or None)
            mark = made or ""
        found = await super().resume_upload(key, inner_token, **how)
        upload = found.upload
        inner = upload._inner if isinstance(upload, LayerUpload) else upload  # noqa: SLF001
        return found._replace(upload=_RetriedUpload(self, inner, key, mark or None))

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """See `ResumesUploads.drop_uploads`."""
        _, _, inner_token = token.rpartition(_MARK_ENDS)
        await super().drop_uploads(key, token=inner_token, since=since)

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`; keys that failed for a passing reason are tried again."""
        end = None if self._deadline is None else self._clock() + self._deadline
        failed = await super().delete(keys)
        attempts = 1
        while failed:
            again = [key for key, error in failed.items() if error.retryable]
            if not again or attempts >= self._policy.attempts:
                break
            wait = self._delay(attempts) + max(_hint(failed[key]) for key in again)
            if wait > (_PATIENCE if end is None else end - self._clock()) or not self._spend():
                break
            await self._sleep(wait)
            attempts += 1
            rest = {key: error for key, error in failed.items() if not error.retryable}
            failed = rest | dict(await super().delete(again))
        for error in failed.values():
            error.attempts = attempts
        return failed

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`; a cut stream goes on where it was, in the same version."""
        return Resuming(self, key, span, if_match)

    async def attempt(
        self,
        op: Op,
        call: Callable[[], Awaitable[T]],
        /,
        *,
        failed: StoreError | None = None,
        attempts: int = 0,
    ) -> T:
        """Make a stream's call; bounded in time between attempts, as a body may take long.

        Args:
            op: what it is.
            call: opens the stream.
            failed: the error that broke it before, to wait for.
            attempts: calls since the last byte came.
        """
        end = None if self._deadline is None else self._clock() + self._deadline
        if failed is not None:
            return await self._again(op, call, None, failed, end=end, attempts=attempts)
        try:
            return await call()
        except StoreError as error:
            return await self._again(op, call, None, error, end=end, attempts=1)

    async def _until_done(
        self,
        op: Op,
        call: Callable[[], Awaitable[T]],
        settle: Callable[[], Awaitable[Any]] | None,
        first: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        """Make a call and set its deadline where the engine reads it, which costs next to nothing.

        Args:
            op: what it is.
            call: makes it.
            settle: as in `_again`.
            first: the same of a write, but for the limit beneath this layer, which is then kept
                here: a step less.
        """
        limited, var = self.limited, self._var
        if var is None:
            return await self._until_late(op, call, settle)
        end = self.end()
        token = var.set(end)
        try:
            if first is None or limited is None:
                result = await call()
            else:
                place = limited.writes.enter() or await limited.turn(limited.writes, op)
                try:
                    result = await first()
                except BaseException as error:
                    limited.writes.leave(*place, error)
                    raise
                limited.writes.done(op.size or 0)
        except StoreError as error:
            return await self._again(op, call, settle, error, end=end)
        finally:
            var.reset(token)
        self.paid()
        return result

    def end(self) -> float | None:
        """Return when a call that begins now must have ended, in seconds of the clock."""
        outer = None if self._var is None else self._var.get()
        if self._deadline is None:
            return outer
        end = self._clock() + self._deadline
        return end if outer is None or end < outer else outer

    @contextmanager
    def until(self, end: float | None) -> Generator[None]:
        """Set the deadline where the engine reads it, for the calls within."""
        if self._var is None:
            yield
            return
        token = self._var.set(end)
        try:
            yield
        finally:
            self._var.reset(token)

    def paid(self) -> None:
        """Count a success, which pays for a part of a retry."""
        if self._tokens < self._policy.budget:
            self._tokens += 0.1

    async def go_on(
        self, op: Op, call: Callable[[], Awaitable[T]], error: StoreError, *, end: float | None
    ) -> T:
        """Go on after a first try, made elsewhere, that failed."""
        return await self._again(op, call, None, error, end=end)

    async def _until_late(
        self,
        op: Op,
        call: Callable[[], Awaitable[T]],
        settle: Callable[[], Awaitable[Any]] | None,
    ) -> T:
        """Cancel the call at the deadline, where there is no engine to keep it."""
        seconds = self._deadline
        if seconds is None:
            return await self._once(op, call, settle, None)
        end = self._clock() + seconds
        with anyio.move_on_after(seconds):
            return await self._once(op, call, settle, end)
        raise DeadlineError(
            f"not done in {seconds:g} seconds", outcome="unknown" if op.write else "not_applied"
        ).at(op.name, self.locate(op.key))

    async def _once(
        self,
        op: Op,
        call: Callable[[], Awaitable[T]],
        settle: Callable[[], Awaitable[Any]] | None,
        end: float | None,
    ) -> T:
        try:
            result = await call()
        except StoreError as error:
            return await self._again(op, call, settle, error, end=end)
        self.paid()
        return result

    async def _again(
        self,
        op: Op,
        call: Callable[[], Awaitable[T]],
        settle: Callable[[], Awaitable[Any]] | None,
        error: StoreError,
        *,
        end: float | None,
        attempts: int = 1,
    ) -> T:
        """Go on after a failure: wait and repeat, settle what is in doubt, or raise."""
        doubt = False
        while True:
            if settle is not None and doubt and isinstance(error, _OWN_SUCCESS):
                found = await settle()
                if found is not None:
                    result: T = found
                    return result
            doubt = doubt or (op.write and error.outcome == "unknown")
            if not self._may_repeat(op, error, can_settle=settle is not None, attempts=attempts):
                raise _told(error, op, attempts, doubt=doubt)
            wait = self._delay(attempts) + _hint(error)
            if wait > (_PATIENCE if end is None else end - self._clock()) or not self._spend():
                raise _told(error, op, attempts, doubt=doubt)
            await self._sleep(wait)
            attempts += 1
            try:
                return await call()
            except StoreError as another:
                error = another

    def _may_repeat(self, op: Op, error: StoreError, *, can_settle: bool, attempts: int) -> bool:
        return (
            error.retryable
            and attempts < self._policy.attempts
            and (op.idempotent or can_settle or error.outcome == "not_applied")
        )

    def _delay(self, attempts: int) -> float:
        policy = self._policy
        return self._draw() * min(policy.cap, policy.base * 2.0 ** (attempts - 1))

    def _spend(self) -> bool:
        if self._tokens < 1:
            return False
        self._tokens -= 1
        self.retries += 1
        return True

    def _marked(
        self, metadata: Mapping[str, str] | None, mark: str | None = None
    ) -> tuple[str | None, Mapping[str, str] | None]:
        """Add a random id to a write's metadata, where objects carry metadata."""
        if not self.limits.metadata:
            return None, metadata
        mark = mark or secrets.token_hex(16)
        return mark, {**(metadata or {}), WRITE_ID: mark}

    async def _find(self, key: str, mark: str | None) -> ObjectMeta | None:
        """Return the object's metadata if it is the one that was written with `mark`."""
        if mark is None:
            return None
        try:
            meta = await self.head(key)
        except StoreError:
            return None
        return meta if meta.metadata.get(WRITE_ID) == mark else None


_MARK_ENDS = "\n"
"""Behind the mark in an upload's token; no service's own token has one."""

_OWN_SUCCESS = (AlreadyExistsError, PreconditionError, NotFoundError)
"""How a repeated write's own success may look to it."""


class _RetriedUpload(LayerUpload):
    __slots__ = ("_mark", "_retried")

    def __init__(self, layer: Retried, inner: Upload, key: str, mark: str | None) -> None:
        super().__init__(layer, inner, key)
        self._retried = layer
        self._mark = mark

    @property
    def token(self) -> str:
        """See `LastingUpload.token`; with the mark, where there is one."""
        return super().token if self._mark is None else f"{self._mark}{_MARK_ENDS}{super().token}"

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`."""
        op = Op("complete", self._key, write=True)
        settle = partial(self._retried._find, self._key, self._mark)  # noqa: SLF001 - its own
        return await self._retried._until_done(op, self._inner.complete, settle)  # noqa: SLF001


def _hint(error: StoreError) -> float:
    """Return the service's wish for a wait, in seconds; nonsense is 0."""
    hint = getattr(error, "retry_after", None)
    return hint if isinstance(hint, int | float) and 0 < hint < float("inf") else 0.0


def _told(error: StoreError, op: Op, attempts: int, *, doubt: bool) -> StoreError:
    """Say in the error how often it was tried, and that an earlier try may have worked."""
    error.attempts = attempts
    if doubt and op.write and error.outcome == "not_applied":
        error.outcome = "unknown"
    return error
