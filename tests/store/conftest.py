"""A service like a cloud's, in memory: it belongs to one asyncio loop and counts what is open."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore import registry
from asyncstore.layers import Options, RetryPolicy
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store._live import Recipe
from asyncstore.store._open import store_of
from asyncstore.types import WHOLE, Limits, MiB
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Callable


class Cloud(MemoryProvider):
    """Memory that insists on the loop that it was used on first."""

    limits = Limits(engine=True, part_min=1, part_max=64 * MiB, put=256 * MiB, delete=100)

    move: Any = None  # no cloud's service renames

    def __init__(self, name="cloud"):
        super().__init__(name)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.open_now: Counter[str] = Counter()
        self.under_way = self.most_under_way = 0
        self.closed_on: list[asyncio.AbstractEventLoop] = []
        self.before: Callable[..., Any] | None = None

    async def _here(self, *call):
        loop = asyncio.get_running_loop()
        self.loop = self.loop or loop
        assert loop is self.loop, "used on another loop"
        self.calls.append(call)
        if self.before is not None:
            await self.before(*call)

    async def head(self, key, /):
        await self._here("head", key)
        return await super().head(key)

    async def get(self, key, /, *, span=WHOLE, into=None, if_match=None, most=None):
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._here("get", key, span)
            return await super().get(key, span=span, into=into, if_match=if_match, most=most)
        finally:
            self.under_way -= 1

    async def put(self, key, data, /, **options):
        await self._here("put", key)
        return await super().put(key, data, **options)

    async def delete(self, keys, /):
        await self._here("delete", *keys)
        return await super().delete(keys)

    async def copy(self, source, target, /, **options):
        await self._here("copy", source, target)
        return await super().copy(source, target, **options)

    async def list_page(self, prefix, /, **options):
        await self._here("list_page", prefix)
        return await super().list_page(prefix, **options)

    @asynccontextmanager
    async def open(self, key, /, *, span=WHOLE, if_match=None):
        await self._here("open", key)
        async with super().open(key, span=span, if_match=if_match) as stream:
            self.open_now["stream"] += 1
            try:
                yield stream
            finally:
                self.open_now["stream"] -= 1

    async def begin_upload(self, key, /, **options):
        await self._here("begin_upload", key)
        upload = await super().begin_upload(key, **options)
        self.open_now["upload"] += 1
        return CloudUpload(self, upload)

    async def aclose(self):
        await super().aclose()
        self.closed_on.append(asyncio.get_running_loop())


class CloudUpload:
    def __init__(self, cloud, inner):
        self._cloud = cloud
        self._inner = inner
        self._open = True

    def _end(self):
        if self._open:
            self._open = False
            self._cloud.open_now["upload"] -= 1

    async def put_part(self, number, data, /):
        cloud = self._cloud
        cloud.under_way += 1
        cloud.most_under_way = max(cloud.most_under_way, cloud.under_way)
        try:
            await cloud._here("put_part", number, len(data))
            await self._inner.put_part(number, data)
        finally:
            cloud.under_way -= 1

    async def complete(self):
        await self._cloud._here("complete")
        meta = await self._inner.complete()
        self._end()
        return meta

    async def abort(self):
        await self._cloud._here("abort")
        await self._inner.abort()
        self._end()


class Clouds(list[Cloud]):
    """Every provider that was made for `s3://` paths."""

    make = Cloud

    @property
    def calls(self):
        return [call for cloud in self for call in cloud.calls]

    @property
    def left_open(self):
        return sum(sum(cloud.open_now.values()) for cloud in self)


@pytest.fixture
def clouds(monkeypatch, request):
    """Serve `s3://` paths from memory, one provider for each event loop."""
    made = Clouds()
    name = f"clouds{abs(hash(request.node.nodeid))}"

    def connect(_url, _settings):
        made.append(Cloud(name))
        return made[-1]

    connector = registry.connector
    monkeypatch.setattr(
        registry, "connector", lambda scheme: connect if scheme == "s3" else connector(scheme)
    )
    return made


@pytest.fixture
def cloud():
    """Make stores over one provider that is an engine's."""
    made = []

    def make(provider=None, /, **options):
        url = StoreURL.parse("s3://bucket/set")
        options.setdefault("retry", RetryPolicy(attempts=1))
        provider = provider or Cloud(None)
        recipe = Recipe(url=url, provider=provider, options=Options(**options))
        made.append(store_of(recipe, url, url.prefix))
        return made[-1], provider

    yield make
    for store in made:
        store._live._closed = True  # nothing of it is worth a warning
