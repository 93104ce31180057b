"""The contract of listing: prefixes, pages, folders, order, completeness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.testing.terms import Terms, at_once, everything, names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncstore.provider import Provider

_TREE = ("a", "ab", "b/1", "b/2/x", "b/2/y", "b!", "b0", "c/d/e/f/g", "é/ü", "日本/語", "z")


async def plant(provider: Provider, root: str, keys: Iterable[str]) -> list[str]:
    """Put small objects and return their whole keys, sorted by their UTF-8 bytes."""
    whole = [root + key for key in keys]
    results = await at_once([lambda k=k: provider.put(k, k.encode()) for k in whole])  # type: ignore[misc]
    failed = [result for result in results if isinstance(result, Exception)]
    assert not failed, failed
    return sorted(whole, key=str.encode)


class Listings(Terms):
    """What `list_page` promises."""

    async def test_an_absent_prefix_is_an_empty_page(self, provider: Provider, root: str) -> None:
        for prefix in (root, root + "no", root + "no/such/folder/"):
            for delimiter in (False, True):
                page = await provider.list_page(prefix, delimiter=delimiter)
                assert page.objects == []
                assert list(page.prefixes) == []
                assert page.cursor is None

    async def test_a_listing_brings_every_object_and_its_metadata(
        self, provider: Provider, root: str
    ) -> None:
        keys = await plant(provider, root, _TREE)
        found = await everything(provider, root)
        assert sorted((meta.key for meta in found), key=str.encode) == keys
        for meta in found:
            head = await provider.head(meta.key)
            assert meta.size == head.size == len(meta.key.encode())
            assert meta.etag in (None, head.etag)
            assert meta.modified is not None

    async def test_a_sorted_listing_ascends_by_utf8_bytes(
        self, provider: Provider, root: str
    ) -> None:
        # U+FFFD and an emoji: UTF-16 sorts these two the other way round.
        odd = ("a", "a!", "a-b/c", "a.b", "a0", "è", "\ufffd", "\U0001f600", "Z", "_")
        keys = await plant(provider, root, [*_TREE[2:], *odd])
        if provider.limits.sorted:
            assert await names(provider, root) == keys
        assert sorted(await names(provider, root), key=str.encode) == keys

    async def test_a_prefix_is_a_beginning_of_keys(self, provider: Provider, root: str) -> None:
        keys = await plant(provider, root, _TREE)
        for prefix in ("", "a", "ab", "abc", "b", "b/", "b/2", "b/2/", "b/2/x", "b/2/x/", "c/d/e"):
            wanted = [key for key in keys if key.startswith(root + prefix)]
            assert sorted(await names(provider, root + prefix), key=str.encode) == wanted, prefix
        for prefix in ("é", "é/", "日", "日本/"):
            wanted = [key for key in keys if key.startswith(root + prefix)]
            assert await names(provider, root + prefix) == wanted, prefix

    async def test_a_delimiter_folds_folders(self, provider: Provider, root: str) -> None:
        await plant(provider, root, _TREE)
        cases = {
            "": (["a", "ab", "b!", "b0", "z"], ["b/", "c/", "é/", "日本/"]),
            "b": (["b!", "b0"], ["b/"]),
            "b/": (["b/1"], ["b/2/"]),
            "b/2": ([], ["b/2/"]),
            "b/2/": (["b/2/x", "b/2/y"], []),
            "c/d": ([], ["c/d/"]),
            "a": (["a", "ab"], []),
        }
        for prefix, (objects, prefixes) in cases.items():
            page = await provider.list_page(root + prefix, delimiter=True)
            assert [meta.key for meta in page.objects] == [root + key for key in objects], prefix
            assert list(page.prefixes) == [root + key for key in prefixes], prefix
            assert page.cursor is None

    async def test_a_name_beside_a_folder_is_listed_beside_it(
        self, provider: Provider, root: str
    ) -> None:
        if not self.key_beside_folder:
            return
        keys = [root + key for key in ("k", "k/sub", "k/sub/sub")]
        for key in keys:  # one after another: SeaweedFS may lose one of those written at once
            await provider.put(key, b"")
        assert sorted(await names(provider, root)) == keys
        page = await provider.list_page(root, delimiter=True)
        assert [meta.key for meta in page.objects] == [root + "k"]
        assert list(page.prefixes) == [root + "k/"]

    async def test_pages_are_no_longer_than_their_limit_and_lose_nothing(
        self, provider: Provider, root: str
    ) -> None:
        keys = await plant(provider, root, _TREE)
        for limit in (1, 2, 3, 7, len(keys), len(keys) + 1):
            found: list[str] = []
            cursor: str | None = None
            while True:
                page = await provider.list_page(root, cursor=cursor, limit=limit)
                assert len(page.objects) <= limit
                found += [meta.key for meta in page.objects]
                cursor = page.cursor
                if cursor is None:
                    break
            assert sorted(found, key=str.encode) == keys, limit

    async def test_pages_of_folders_lose_and_repeat_nothing(
        self, provider: Provider, root: str
    ) -> None:
        await plant(provider, root, _TREE)
        for limit in (1, 2, 3, 5):
            objects: list[str] = []
            prefixes: list[str] = []
            cursor: str | None = None
            while True:
                page = await provider.list_page(root, cursor=cursor, limit=limit, delimiter=True)
                assert len(page.objects) + len(page.prefixes) <= limit
                objects += [meta.key.removeprefix(root) for meta in page.objects]
                prefixes += [prefix.removeprefix(root) for prefix in page.prefixes]
                cursor = page.cursor
                if cursor is None:
                    break
            assert objects == ["a", "ab", "b!", "b0", "z"], limit
            assert prefixes == ["b/", "c/", "é/", "日本/"], limit

    async def test_after_goes_on_behind_a_key(self, provider: Provider, root: str) -> None:
        await plant(provider, root, _TREE)
        order = await names(provider, root)
        for n, key in enumerate(order):
            assert await names(provider, root, after=key) == order[n + 1 :], key
        if provider.limits.sorted:
            for middle in ("b/2", "b/2/xx", "b/1/no", "0", "zz", "é"):
                wanted = [key for key in order if key.encode() > (root + middle).encode()]
                assert await names(provider, root, after=root + middle) == wanted, middle

    async def test_after_and_limit_work_together(self, provider: Provider, root: str) -> None:
        await plant(provider, root, _TREE)
        order = await names(provider, root)
        assert await names(provider, root, after=order[2], limit=2) == order[3:]

    async def test_a_long_listing_is_complete(self, provider: Provider, root: str) -> None:
        keys = await plant(provider, root, [f"{n % 7}/{n % 3}/{n:05}" for n in range(self.many)])
        found = await names(provider, root)
        assert len(found) == len(set(found)) == self.many
        assert sorted(found) == keys

    async def test_a_listing_sees_what_was_written_and_deleted(
        self, provider: Provider, root: str
    ) -> None:
        keys = await plant(provider, root, [f"{n}" for n in range(9)])
        await provider.delete(keys[::2])
        assert await names(provider, root) == keys[1::2]
        await provider.put(keys[0], b"again")
        assert await names(provider, root) == [keys[0], *keys[1::2]]
