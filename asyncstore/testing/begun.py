"""The contract of reads that are begun and not waited for, of providers that have the ability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asyncstore.errors import NotFoundError, ObjectChangedError
from asyncstore.provider import Asked, StartsReads
from asyncstore.testing.terms import Terms, at_once, pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.errors import StoreError
    from asyncstore.provider import Provider, Started
    from asyncstore.types import Blob

_COUNT = 12


class BegunReads(Terms):
    """What `start_gets` promises."""

    async def test_reads_that_are_begun_come_to_what_get_returns(
        self, provider: Provider, root: str
    ) -> None:
        if not isinstance(provider, StartsReads):
            return
        keys = [f"{root}{number}" for number in range(_COUNT)]
        for number, key in enumerate(keys):
            await provider.put(key, pattern(number * 1000))
        blobs = await at_once([lambda key=key: provider.get(key) for key in keys])  # type: ignore[misc]
        begun = _Begun(provider)
        begun.start([Asked(key, None, None, key) for key in keys])
        for started, found in await begun.ends():
            blob: Any = blobs[keys.index(started.asked.token)]
            assert bytes(found) == bytes(blob)
            assert found.meta == blob.meta
            assert found.start == 0

    async def test_what_is_wrong_with_a_begun_read_is_told_as_of_any_other(
        self, provider: Provider, root: str
    ) -> None:
        if not isinstance(provider, StartsReads):
            return
        await provider.put(root + "a", b"old")
        old = (await provider.get(root + "a")).meta.etag
        await provider.put(root + "a", b"new")
        await provider.get(root + "a")
        begun = _Begun(provider)
        begun.start([Asked(root + "a", old, None, 0), Asked(root + "no", None, None, 1)])
        for started, found in await begun.ends():
            assert type(found) is (NotFoundError if started.asked.token else ObjectChangedError)
            assert found.url == provider.locate(started.asked.key)

    async def test_a_begun_read_brings_no_more_than_the_most(
        self, provider: Provider, root: str
    ) -> None:
        if not isinstance(provider, StartsReads):
            return
        await provider.put(root + "a", pattern(1000))
        await provider.get(root + "a")
        for most, count in ((1000, 1000), (999, 0)):
            begun = _Begun(provider)
            begun.start([Asked(root + "a", None, most, None)])
            for _, found in await begun.ends():
                assert len(found) == count
                assert (found.meta.key, found.meta.size) == (root + "a", 1000)


class _Begun:
    """Reads that are begun, and how each of them ends."""

    def __init__(self, provider: StartsReads) -> None:
        self._provider = provider
        self._under_way = 0
        self._ended: list[tuple[Started, Blob | None]] = []
        self._event = anyio.Event()

    def start(self, asked: Sequence[Asked]) -> int:
        """Begin as many as can begin at once; return how many."""
        begun = self._provider.start_gets(asked, self._on_end)
        assert [started.asked for started in begun] == list(asked[: len(begun)])
        self._under_way += len(begun)
        return len(begun)

    def _on_end(self, started: Started, blob: Blob | None) -> None:
        self._ended.append((started, blob))
        self._event.set()

    async def ends(self) -> list[tuple[Started, Any]]:
        """Return each read with its bytes, or with its error."""
        found: list[tuple[Started, Blob | StoreError]] = []
        while len(found) < self._under_way:
            await self._event.wait()
            self._event = anyio.Event()
            while self._ended:
                started, blob = self._ended.pop()
                found.append((started, await _settled(started) if blob is None else blob))
        return found


async def _settled(started: Started) -> Blob | StoreError:
    try:
        return await started.settle()
    except (NotFoundError, ObjectChangedError) as error:
        return error
