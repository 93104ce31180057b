"""The lock of a version: one process writes at a time, and finds out if it no longer may.

Theory of operation. The lock is an object in the dataset (`format.LockRecord`). It is made with
a create-only write, taken over from a holder whose end has passed with a conditional one, and
renewed long before its own end, so that of those who use these rules exactly one holds it. Deep
Lake 3.9 does not: it reads, writes, waits half a second and reads again. Who takes the lock here
therefore reads it once more after that time, before the first write; and every renewal fails
where the object is no longer what this process wrote last. A lost lock is never taken back: the
other may have written meanwhile.

Machines' clocks may differ by three minutes: a holder in good health has that long to its end.
"""

from __future__ import annotations

import atexit
import math
import os
import random
import time
import uuid
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
import anyio.to_thread

from asyncstore.datasets import holding
from asyncstore.datasets.holding import Held, Seen
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetLockedError,
    NotFoundError,
    NotSupportedError,
    PreconditionError,
    StoreError,
)
from asyncstore.format.lock import LOCK_BYTES, VALIDITY, LockRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.store import Store

RENEW_AFTER = 120.0
"""Seconds after which a lock is renewed: two renewals may fail before it ends."""

MARGIN = 60.0
"""Seconds before its end at which a write waits for a renewal."""

SETTLE = 0.5
"""Seconds in which Deep Lake 3.9, having read no lock, may still write its own over ours."""

SETTLE_LOCAL = 0.02

_POLL = 1.0
_POLL_LOCAL = 0.05
_BUSY = 0.005
_EXIT = 5.0  # seconds that giving locks back may delay the process's end


class WriteLock:
    """A share in a version's lock; made by `acquire`.

    Args:
        store: of the dataset.
        held: what is shared; joined already.
        clock: epoch seconds.
    """

    def __init__(self, store: Store, held: Held, clock: Callable[[], float]) -> None:
        self._store = store
        self._held = held
        self._clock = clock
        self._share: weakref.finalize[..., WriteLock] = weakref.finalize(self, held.leave)
        self._share.atexit = False

    @property
    def lost(self) -> str | None:
        """Why the lock is no longer held, or `None`."""
        if self._held.process != os.getpid():
            return "it is the parent process's, not this one's"
        return self._held.lost

    async def ensure(self) -> None:
        """Return if a write may begin now, renewing the lock where its end is near.

        Raises:
            DatasetLockedError: the lock is lost; nothing was written.
            StoreError: it could not be renewed in time.
        """
        while not self._is_sure():
            await self._alone(self._renew if self._held.settled else self._settle)

    async def renew(self) -> None:
        """Renew the lock, unless another share has done so lately.

        Raises:
            DatasetLockedError: it is lost.
            StoreError: the service failed; the lock is held until its end all the same.
        """
        self._check()
        if self._left() < VALIDITY - RENEW_AFTER / 2:
            await self._alone(self._renew)

    async def keep(self) -> None:
        """Renew the lock again and again, until it is lost or this is cancelled."""
        pause = RENEW_AFTER
        while self.lost is None:
            await anyio.sleep(pause)
            try:
                await self.renew()
            except DatasetLockedError:
                return  # the next write says so
            except StoreError:
                pause = RENEW_AFTER / 8  # more than half of its time is left: try again soon
            else:
                pause = RENEW_AFTER

    async def release(self) -> None:
        """Give up this share; the last one deletes the lock if it is still ours.

        Raises:
            StoreError: it could not be deleted; it ends by itself.
        """
        held = self._held
        if self._share.detach() is None or not held.leave(give_back=True) or not held.is_mine:
            return
        try:
            await _delete(self._store, held)
        finally:
            held.forget()

    async def give_up(self) -> None:
        """Release where something else went wrong: shielded, in bounded time, without an error."""
        with anyio.move_on_after(_EXIT, shield=True), suppress(StoreError):
            await self.release()

    def drop(self, reason: str) -> None:
        """Say that the lock's object is gone for a reason, for whoever shares it."""
        self._share.detach()
        self._held.forget(reason)

    def _is_sure(self) -> bool:
        self._check()
        return self._held.settled and self._left() > MARGIN

    def _left(self) -> float:
        return self._held.seen.end - self._clock()

    def _check(self) -> None:
        reason = self.lost
        if reason is not None:
            raise DatasetLockedError(f"the lock is lost: {reason}; load the dataset again")

    def _lose(self, reason: str) -> NoReturn:
        self._held.forget(reason)
        self._check()
        raise AssertionError("unreachable")

    async def _alone(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, or wait while another share does; an event would belong to one loop."""
        if not self._held.begin():
            await anyio.sleep(_BUSY)
            return
        try:
            await work()
        finally:
            self._held.end()

    async def _settle(self) -> None:
        held = self._held
        await anyio.sleep(max(0.0, held.settle_at - self._clock()))
        seen = await _see(self._store, held.key)
        if not held.wrote(seen.record):
            self._lose(f"it is held by {seen.holder}")
        held.seen, held.settled = seen, True

    async def _renew(self) -> None:
        held = self._held
        late = self._clock() >= held.settle_at
        record = await _new_record(self._clock())
        held.claim(record)
        try:
            etag = await self._replace(record)
        except PreconditionError:
            # An earlier write, that was cut short, may have happened after all: it is ours too.
            held.seen = seen = await _see(self._store, held.key)
            if not held.wrote(seen.record):
                self._lose(f"it is held by {seen.holder}")
            etag = seen.etag if seen.record == record else await self._replace(record)
        except NotFoundError:
            self._lose("it was deleted, or the dataset was")
        held.seen = Seen(record, etag)
        held.settled = held.settled or late

    async def _replace(self, record: bytes) -> str | None:
        held = self._held
        if held.seen.etag is not None:
            with suppress(NotSupportedError):
                meta = await self._store.put(held.key, record, if_match=held.seen.etag)
                return meta.etag
        seen = await _see(self._store, held.key)
        if not held.wrote(seen.record):
            self._lose(f"it is held by {seen.holder}")
        await self._store.put(held.key, record)
        return None


async def acquire(
    store: Store, key: str, /, *, wait: float | None = 0.0, clock: Callable[[], float] = time.time
) -> WriteLock:
    """Take a version's lock, or a share in it where this process holds it.

    Args:
        store: of the dataset.
        key: the lock's.
        wait: seconds to wait for another's; `None` is for ever.
        clock: epoch seconds.

    Raises:
        DatasetLockedError: another process holds it, until the time that the message says.
        StoreError: the lock could not be written.
    """
    poll = _POLL_LOCAL if store.url.scheme == "file" else _POLL
    deadline = math.inf if wait is None else clock() + wait
    seen = Seen()
    looked: bytes | None = None
    while True:
        if seen.end <= clock():  # nobody's, as far as is known
            lock = await _take(store, key, seen, clock)
            if lock is not None:
                return lock
        seen = await _see(store, key)
        held = holding.find(store, key, seen)
        if held is not None:
            if held.join():
                return WriteLock(store, held, clock)
            await anyio.sleep(_BUSY)  # it is being given back
            continue
        if seen.record != looked:
            # This process may have given it back between the two lines above: look again.
            looked = seen.record
            continue
        left = seen.end - clock()
        if left > 0:
            if clock() >= deadline:
                raise DatasetLockedError(
                    f"locked by {seen.holder}, for another {left:.0f} s; load it with "
                    "read_only=True, or wait with lock_timeout="
                ).at("lock", str(store.url))
            await anyio.sleep(max(0.0, min(left, deadline - clock(), poll)))


async def _take(store: Store, key: str, seen: Seen, clock: Callable[[], float]) -> WriteLock | None:
    """Write our record in place of none or of an ended one; `None` where another was quicker."""
    record = await _new_record(clock())
    settle = SETTLE_LOCAL if store.url.scheme == "file" else SETTLE
    held = Held(store.with_secrets(), key, Seen(record), clock() + settle)
    held.claim(record)
    try:
        etag = await _write(store, key, record, seen)
    except (AlreadyExistsError, PreconditionError):
        held.forget()
        return None
    except StoreError as error:
        if error.outcome == "not_applied":
            held.forget()  # else it may be there, and is ours: whoever asks next shares it
        raise
    held.seen, held.settle_at = Seen(record, etag), clock() + settle
    held.join()
    lock = WriteLock(store, held, clock)
    if etag is None:
        try:
            await lock.ensure()
        except DatasetLockedError:
            return None
    return lock


async def _write(store: Store, key: str, record: bytes, seen: Seen) -> str | None:
    """Write a record over what was seen and nothing else; return its version, where there is one.

    Raises:
        AlreadyExistsError, PreconditionError: something else is there.
    """
    try:
        if seen.record is None:
            return (await store.put(key, record, if_absent=True)).etag
        if seen.etag is not None:
            return (await store.put(key, record, if_match=seen.etag)).etag
    except NotSupportedError:
        pass  # no conditions: the old client's way is the only one
    if (await _see(store, key)) != seen:
        raise PreconditionError("another was quicker")
    await store.put(key, record)
    return None


async def _see(store: Store, key: str) -> Seen:
    try:
        blob = await store.get(key, span=(0, LOCK_BYTES + 1))
    except NotFoundError:
        return Seen()
    return Seen(bytes(blob), blob.meta.etag)


async def _delete(store: Store, held: Held) -> None:
    if held.wrote((await _see(store, held.key)).record):
        await store.delete(held.key)


async def _new_record(now: float) -> bytes:
    # The first call may run a program to find the machine's network address.
    node = await anyio.to_thread.run_sync(uuid.getnode)
    expires = now + VALIDITY + random.random()  # noqa: S311 - tells records apart, no secret
    return LockRecord(node, expires, os.getpid().to_bytes(4, "little")).dump()


def _give_back() -> None:
    """Delete what the process still holds as it ends; what cannot be deleted ends by itself."""
    mine = holding.all_held()
    if mine:
        with suppress(StoreError, OSError, RuntimeError):
            anyio.run(_give_back_all, mine)


async def _give_back_all(mine: list[Held]) -> None:
    with anyio.move_on_after(_EXIT):
        for held in mine:
            async with held.store as store:
                await _delete(store, held)


atexit.register(_give_back)
