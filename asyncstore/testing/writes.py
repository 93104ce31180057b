"""The contract of writing whole objects: put, copy, delete, their conditions and races."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import (
    AlreadyExistsError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PreconditionError,
    StoreError,
    TransientError,
)
from asyncstore.testing.terms import (
    Terms,
    at_once,
    everything,
    exists,
    names,
    pattern,
    read,
    succeeded,
)
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.provider import Provider
    from asyncstore.types import Buffer


class Writes(Terms):
    """What `put`, `copy` and `delete` promise."""

    async def test_put_is_read_back(self, provider: Provider, root: str) -> None:
        for size in (0, 1, 4_096, 65_537, 3 * MiB):
            meta = await provider.put(f"{root}{size}", pattern(size))
            assert meta.key == f"{root}{size}"
            assert meta.size == size
            assert await read(provider, f"{root}{size}") == pattern(size)

    async def test_a_large_object_is_put_whole(self, provider: Provider, root: str) -> None:
        data = pattern(33 * MiB + 7)
        await provider.put(root + "large", data)
        assert await read(provider, root + "large") == data

    async def test_put_takes_every_kind_of_buffer(self, provider: Provider, root: str) -> None:
        data = pattern(70_000)
        buffers: tuple[Buffer, ...] = (
            data,
            bytearray(data),
            memoryview(data),
            memoryview(b"--" + data + b"--")[2:-2],
        )
        for n, buffer in enumerate(buffers):
            await provider.put(f"{root}{n}", buffer)
            assert await read(provider, f"{root}{n}") == data

    async def test_the_callers_buffer_is_free_after_put(
        self, provider: Provider, root: str
    ) -> None:
        buffer = bytearray(pattern(10_000))
        await provider.put(root + "a", buffer)
        buffer[:] = b"\0" * 10_000
        buffer.clear()  # nobody exports it any more
        assert await read(provider, root + "a") == pattern(10_000)

    async def test_put_replaces_and_changes_the_version(
        self, provider: Provider, root: str
    ) -> None:
        etags = []
        for data in (b"one", b"two, longer", b"3"):
            etags.append((await provider.put(root + "a", data)).etag)
            assert await read(provider, root + "a") == data
        assert len(set(etags)) == 3

    async def test_if_absent_creates_and_never_replaces(
        self, provider: Provider, root: str
    ) -> None:
        with self.may_lack("put if_absent"):
            await provider.put(root + "a", b"first", if_absent=True)
        if "put if_absent" in self.lacks:
            assert not await exists(provider, root + "a")
            return
        with pytest.raises(AlreadyExistsError) as caught:
            await provider.put(root + "a", b"second", if_absent=True)
        assert caught.value.outcome == "not_applied"
        assert await read(provider, root + "a") == b"first"
        await provider.delete([root + "a"])
        await provider.put(root + "a", b"third", if_absent=True)
        assert await read(provider, root + "a") == b"third"

    async def test_if_match_replaces_this_version_or_none(
        self, provider: Provider, root: str
    ) -> None:
        first = await provider.put(root + "a", b"first")
        with self.may_lack("put if_match"):
            second = await provider.put(root + "a", b"second", if_match=first.etag)
        if "put if_match" in self.lacks:
            assert await read(provider, root + "a") == b"first"
            return
        with pytest.raises(PreconditionError) as caught:
            await provider.put(root + "a", b"third", if_match=first.etag)
        assert caught.value.outcome == "not_applied"
        assert await read(provider, root + "a") == b"second"
        await provider.delete([root + "a"])
        with pytest.raises(PreconditionError):
            await provider.put(root + "a", b"fourth", if_match=second.etag)
        assert not await exists(provider, root + "a")

    async def test_of_many_creators_one_wins(self, provider: Provider, root: str) -> None:
        if "put if_absent" in self.lacks:
            return
        for n in range(5):
            key = f"{root}race/{n}"
            bodies = [f"creator {c}".encode() * 1000 for c in range(self.creators)]
            results = await at_once(
                [lambda b=b: provider.put(key, b, if_absent=True) for b in bodies],  # type: ignore[misc]  # noqa: B023 - awaited in the loop
                width=self.creators,
            )
            _assert_one_winner(results, AlreadyExistsError)
            winner = next(i for i, r in enumerate(results) if not isinstance(r, StoreError))
            assert await read(provider, key) == bodies[winner]

    async def test_of_many_replacers_of_one_version_one_wins(
        self, provider: Provider, root: str
    ) -> None:
        if "put if_match" in self.lacks:
            return
        for n in range(5):
            key = f"{root}race/{n}"
            etag = (await provider.put(key, b"old")).etag
            bodies = [f"replacer {c}".encode() * 1000 for c in range(self.creators)]
            results = await at_once(
                [lambda b=b: provider.put(key, b, if_match=etag) for b in bodies],  # type: ignore[misc]  # noqa: B023 - awaited in the loop
                width=self.creators,
            )
            _assert_one_winner(results, PreconditionError)
            winner = next(i for i, r in enumerate(results) if not isinstance(r, StoreError))
            assert await read(provider, key) == bodies[winner]

    async def test_the_last_of_many_writers_is_whole(self, provider: Provider, root: str) -> None:
        bodies = [bytes([65 + n]) * 200_000 for n in range(12)]
        calls = [lambda b=b: provider.put(root + "a", b) for b in bodies]
        assert len(succeeded(await at_once(calls, width=12))) == 12
        assert await read(provider, root + "a") in bodies
        assert await names(provider, root) == [root + "a"]

    async def test_metadata_and_content_type_round_trip(
        self, provider: Provider, root: str
    ) -> None:
        pairs = {"colour": "blue", "x-1": 'a b;c=d, "e" ~!', "long": "v" * 500}
        if not provider.limits.metadata or "metadata" in self.lacks:
            for option in ({"metadata": pairs}, {"content_type": "text/plain"}):
                with pytest.raises(NotSupportedError):
                    await provider.put(root + "a", b"x", **option)
                with pytest.raises(NotSupportedError):
                    await provider.begin_upload(root + "a", **option)
            assert not await exists(provider, root + "a")
            return
        await provider.put(root + "a", b"x", content_type="image/x-thing", metadata=pairs)
        meta = await provider.head(root + "a")
        assert meta.content_type == "image/x-thing"
        assert dict(meta.metadata) == pairs
        blob = await provider.get(root + "a")
        assert blob.meta.content_type == "image/x-thing"
        assert dict(blob.meta.metadata) == pairs
        await provider.put(root + "a", b"y")
        assert dict((await provider.head(root + "a")).metadata) == {}

    async def test_copy_makes_an_object_of_its_own(self, provider: Provider, root: str) -> None:
        data = pattern(100_000)
        await provider.put(root + "a", data)
        meta = await provider.copy(root + "a", root + "b/c")
        assert meta.key == root + "b/c"
        assert meta.size == len(data)
        assert meta.etag == (await provider.head(root + "b/c")).etag
        await provider.put(root + "a", b"changed")
        assert await read(provider, root + "b/c") == data
        await provider.delete([root + "a"])
        assert await read(provider, root + "b/c") == data

    async def test_copy_replaces_its_target(self, provider: Provider, root: str) -> None:
        await provider.put(root + "a", b"new")
        await provider.put(root + "b", b"old, longer")
        await provider.copy(root + "a", root + "b")
        assert await read(provider, root + "b") == b"new"

    async def test_copy_keeps_metadata(self, provider: Provider, root: str) -> None:
        if not provider.limits.metadata or "metadata" in self.lacks:
            return
        await provider.put(root + "a", b"x", content_type="image/x-thing", metadata={"k": "v"})
        await provider.copy(root + "a", root + "b")
        meta = await provider.head(root + "b")
        assert meta.content_type == "image/x-thing"
        assert dict(meta.metadata) == {"k": "v"}

    async def test_copy_onto_itself_changes_nothing(self, provider: Provider, root: str) -> None:
        carries = provider.limits.metadata and "metadata" not in self.lacks
        pairs = {"k": "v"} if carries else None
        await provider.put(root + "a", b"same", metadata=pairs)
        meta = await provider.copy(root + "a", root + "a")
        assert meta.size == 4
        assert await read(provider, root + "a") == b"same"
        assert dict((await provider.head(root + "a")).metadata) == (pairs or {})

    async def test_copy_of_an_absent_source_is_not_found(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "b", b"kept")
        for target in ("b", "c"):
            with pytest.raises(NotFoundError):
                await provider.copy(root + "no", root + target)
        assert await read(provider, root + "b") == b"kept"
        assert await names(provider, root) == [root + "b"]

    async def test_copy_if_match_copies_this_version_or_none(
        self, provider: Provider, root: str
    ) -> None:
        old = await provider.put(root + "a", b"old")
        with self.may_lack("copy if_match"):
            await provider.copy(root + "a", root + "b", if_match=old.etag)
        if "copy if_match" in self.lacks:
            return
        assert await read(provider, root + "b") == b"old"
        await provider.put(root + "a", b"new")
        with pytest.raises(ObjectChangedError):
            await provider.copy(root + "a", root + "b", if_match=old.etag)
        assert await read(provider, root + "b") == b"old"

    async def test_copy_if_absent_never_replaces(self, provider: Provider, root: str) -> None:
        await provider.put(root + "a", b"new")
        await provider.put(root + "b", b"kept")
        if "copy if_absent" in self.lacks:
            with pytest.raises(NotSupportedError):
                await provider.copy(root + "a", root + "c", if_absent=True)
            assert not await exists(provider, root + "c")
            return
        for source in ("a", "b"):
            with pytest.raises(AlreadyExistsError):
                await provider.copy(root + source, root + "b", if_absent=True)
        assert await read(provider, root + "b") == b"kept"
        await provider.copy(root + "a", root + "c", if_absent=True)
        assert await read(provider, root + "c") == b"new"

    async def test_delete_removes_and_a_missing_object_is_success(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "a", b"x")
        await provider.put(root + "b/c", b"x")
        await provider.put(root + "kept", b"x")
        assert not await provider.delete([root + "a", root + "b/c", root + "no", root + "no/no"])
        assert await names(provider, root) == [root + "kept"]
        assert not await provider.delete([root + "a"])
        assert not await provider.delete([])

    async def test_delete_of_a_beginning_removes_nothing(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "a/b/c", b"x")
        await provider.delete([root + "a", root + "a/b"])
        assert await read(provider, root + "a/b/c") == b"x"

    async def test_delete_takes_as_many_as_its_limit(self, provider: Provider, root: str) -> None:
        keys = [f"{root}{n:04}" for n in range(min(provider.limits.delete, 300))]
        await at_once([lambda k=k: provider.put(k, b"") for k in keys])  # type: ignore[misc]
        extra = [f"{root}absent-{n}" for n in range(min(provider.limits.delete, 1000) - len(keys))]
        assert not await provider.delete(keys + extra)
        assert await everything(provider, root) == []

    async def test_delete_takes_a_key_twice_and_odd_names(
        self, provider: Provider, root: str
    ) -> None:
        odd = [root + key for key in ("a b", "a+b", "a%20b", "é&<>'\"]]>", "a")]
        for key in odd:
            await provider.put(key, b"x")
        assert not await provider.delete([*odd, odd[0]])
        assert await names(provider, root) == []


def _assert_one_winner(results: Sequence[object], loser: type[StoreError]) -> None:
    winners = [result for result in results if not isinstance(result, StoreError)]
    others = [result for result in results if isinstance(result, StoreError)]
    assert len(winners) == 1, results
    # A service may turn a racer away with "try again": that racer has written nothing either.
    assert all(isinstance(error, loser | TransientError) for error in others), results
    assert all(error.outcome == "not_applied" for error in others), results
