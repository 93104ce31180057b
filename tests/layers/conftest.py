"""A provider that fails as it is told, and a clock that moves only when somebody sleeps."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore.providers.memory import MemoryProvider
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from asyncstore.errors import StoreError


@dataclass
class After:
    """Do the call, then lose its answer."""

    error: StoreError


class Scripted(MemoryProvider):
    """Memory, but the next calls of an operation end as its script says."""

    def __init__(self):
        super().__init__(None)
        self.script: dict[str, deque[Any]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.cuts: deque[int] = deque()
        self.cut_error: StoreError | None = None
        self.checks: list[Any] = []

    def fail(self, op, *outcomes):
        self.script.setdefault(op, deque()).extend(outcomes)

    async def _play(self, op, call, *seen):
        self.calls.append((op, *seen))
        queue = self.script.get(op)
        outcome = queue.popleft() if queue else None
        if isinstance(outcome, After):
            await call()
            raise outcome.error
        if outcome is not None:
            raise outcome
        return await call()

    async def head(self, key, /):
        return await self._play("head", lambda: MemoryProvider.head(self, key), key)

    async def get(self, key, /, **options):
        return await self._play("get", lambda: MemoryProvider.get(self, key, **options), key)

    async def put(self, key, data, /, **options):
        def call():
            return MemoryProvider.put(self, key, data, **options)

        return await self._play("put", call, key, bytes(data))

    async def delete(self, keys, /):
        return await self._play("delete", lambda: MemoryProvider.delete(self, keys), *keys)

    async def begin_upload(self, key, /, **options):
        upload = await super().begin_upload(key, **options)
        return ScriptedUpload(self, upload, key)

    @asynccontextmanager
    async def open(self, key, /, *, span=WHOLE, if_match=None):
        self.calls.append(("open", key, span, if_match))
        queue = self.script.get("open")
        if queue and (error := queue.popleft()) is not None:
            raise error
        async with super().open(key, span=span, if_match=if_match) as stream:
            yield Cut(self, stream) if self.cuts else stream


class ScriptedUpload:
    def __init__(self, provider, inner, key):
        self._provider = provider
        self._inner = inner
        self._key = key

    async def put_part(self, number, data, /):
        await self._provider._play("put_part", lambda: self._inner.put_part(number, data), number)

    async def complete(self):
        return await self._provider._play("complete", self._inner.complete, self._key)

    async def abort(self):
        await self._provider._play("abort", self._inner.abort, self._key)


class Cut:
    """A stream that breaks after some bytes."""

    def __init__(self, provider, inner):
        self.meta, self.start = inner.meta, inner.start
        self._inner = inner
        self._left = provider.cuts.popleft()
        self._error = provider.cut_error
        self.check = provider.checks.pop() if provider.checks else None

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self._left == 0:
            raise self._error
        view = (await anext(self._inner))[: self._left]
        self._left -= len(view)
        if self.check is not None:
            await self.check.add(view)
        return view


@dataclass
class Clock:
    now: float = 1000.0
    naps: list[float] = field(default_factory=list)

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture(scope="session")
def fresh():
    """Makes scripted providers and clocks, for a test that needs many."""
    return lambda: (Scripted(), Clock())


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def after():
    return After
