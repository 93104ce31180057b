"""The contract of keys: each is kept byte for byte, and none means another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import InvalidPathError, NotFoundError, NotSupportedError, StoreError
from asyncstore.testing.terms import Terms, exists, names, read

if TYPE_CHECKING:
    from asyncstore.provider import Provider

KEYS = (
    "plain",
    "with space",
    " leading",
    "trailing ",
    "two  spaces",
    "a+b",
    "a%2Bb",
    "a%20b",
    "100%",
    "%2e%2e",
    "%2E%2E/up",
    "a%2Fb",
    "%00",
    "%252F",
    "question?mark",
    "hash#tag",
    "amp&ersand=1",
    "semi;colon,comma:colon",
    "at@dollar$",
    "quote'single",
    'quote"double',
    "<angle>&amp;",
    "star*(paren)[bracket]{brace}|pipe^caret`tick~",
    "...",
    "..a/b..",
    ".hidden/.file",
    "ends.",
    "caf\u00e9",  # NFC
    "cafe\u0301",  # NFD: another key
    "\u05e9\u05dc\u05d5\u05dd/\u0645\u0631\u062d\u0628\u0627",  # right to left
    "\u202eoverride",
    "emoji/\U0001f40d/\U0001f469\u200d\U0001f680",
    "\u65e5\u672c\u8a9e",
    "Case",
    "case",
    "bom\ufeff",
    "nbsp\u00a0",
    "AUX",
    "con.txt",
    "tilde~",
    "~/home",
    "$HOME",
    "-dash",
    "--version",
    "a.tmp",
    ".asyncstore",
    "uploads",
    "1e3",
    "null",
    "deep/" + "/".join("abcdefghijklmnopqrstuvwxyz"),
)


class Keys(Terms):
    """What every operation promises of odd names."""

    async def test_every_key_is_kept_exactly(self, provider: Provider, root: str) -> None:
        kept = [key for key in KEYS if key not in self.refused_keys]
        for key in kept:
            await provider.put(root + key, key.encode())
        for key in kept:
            blob = await provider.get(root + key)
            assert bytes(blob) == key.encode(), key
            assert (await provider.head(root + key)).key == root + key
            assert await names(provider, root + key) == sorted(
                root + other for other in kept if other.startswith(key)
            )
        assert sorted(await names(provider, root)) == sorted(root + key for key in kept)

    async def test_every_key_is_copied_and_deleted_alone(
        self, provider: Provider, root: str
    ) -> None:
        kept = [key for key in KEYS if key not in self.refused_keys]
        for key in kept:
            await provider.put(root + "from/" + key, key.encode())
            await provider.copy(root + "from/" + key, root + "to/" + key)
        for n, key in enumerate(kept):
            assert await read(provider, root + "to/" + key) == key.encode(), key
            assert not await provider.delete([root + "to/" + key])
            assert len(await names(provider, root + "to/")) == len(kept) - n - 1, key
        assert len(await names(provider, root + "from/")) == len(kept)

    async def test_every_key_may_be_uploaded_in_parts(self, provider: Provider, root: str) -> None:
        for key in KEYS[::7]:
            if key in self.refused_keys:
                continue
            upload = await provider.begin_upload(root + key)
            await upload.put_part(1, key.encode())
            await upload.complete()
            async with provider.open(root + key) as stream:
                assert b"".join([bytes(view) async for view in stream]) == key.encode()

    async def test_a_refused_key_is_refused_before_anything_is_written(
        self, provider: Provider, root: str
    ) -> None:
        for key in self.refused_keys:
            with pytest.raises((InvalidPathError, NotSupportedError)):
                await provider.put(root + key, b"x")
        assert await names(provider, root) == []

    async def test_the_longest_key_is_kept(self, provider: Provider, root: str) -> None:
        segment = "s" * min(provider.limits.segment, 99)
        long = root
        while len(long) < 1024:
            long += segment + "/"
        long = long[:1023].rstrip("/")
        long += "x" * (1024 - len(long))
        assert len(long) == 1024
        await provider.put(long, b"long")
        assert await read(provider, long) == b"long"
        assert await names(provider, root) == [long]
        wide = root + "é" * ((min(provider.limits.segment, 1024 - len(root))) // 2)
        await provider.put(wide, b"wide")
        assert await read(provider, wide) == b"wide"
        assert not await provider.delete([long, wide])
        assert await names(provider, root) == []

    async def test_a_part_of_a_key_that_is_too_long_is_refused(
        self, provider: Provider, root: str
    ) -> None:
        room = 1024 - len(root)
        if provider.limits.segment >= room:
            return
        key = root + "s" * (provider.limits.segment + 1)
        with pytest.raises(InvalidPathError):
            await provider.put(key, b"x")
        with pytest.raises((InvalidPathError, NotFoundError)):
            await provider.get(key)
        assert not await provider.delete([key]) or True

    async def test_a_key_and_a_folder_of_its_name_are_never_confused(
        self, provider: Provider, root: str
    ) -> None:
        for first, second in (("k", "k/sub"), ("f/sub", "f"), ("d/e/f", "d/e"), ("p", "p/q/r")):
            await provider.put(root + first, b"first")
            if self.key_beside_folder:
                await provider.put(root + second, b"second")
                assert await read(provider, root + second) == b"second"
            else:
                await self._refuses_beside(provider, root, first, second)
            assert await read(provider, root + first) == b"first"
            await provider.delete([root + second])
            assert await read(provider, root + first) == b"first"
            assert not await exists(provider, root + second)
            await provider.delete([root + first])
        assert await names(provider, root) == []

    async def _refuses_beside(self, provider: Provider, root: str, first: str, second: str) -> None:
        with pytest.raises(NotSupportedError):
            await provider.put(root + second, b"second")
        with pytest.raises(NotSupportedError):
            await provider.copy(root + first, root + second)
        with pytest.raises(NotSupportedError):
            upload = await provider.begin_upload(root + second)
            try:
                await upload.put_part(1, b"second")
                await upload.complete()
            finally:
                await upload.abort()
        with pytest.raises(NotFoundError):
            await provider.get(root + second)
        with pytest.raises(NotFoundError):
            await provider.head(root + second)
        assert await names(provider, root + first) == [root + first]

    async def test_errors_say_what_and_where_and_show_no_control_characters(
        self, provider: Provider, root: str
    ) -> None:
        key = root + "no\u202esuch"
        with pytest.raises(NotFoundError) as caught:
            await provider.get(key)
        assert caught.value.op == "get"
        assert caught.value.url == provider.locate(key)
        assert "\u202e" not in str(caught.value)
        with pytest.raises(StoreError) as caught_head:
            await provider.head(root + "no")
        assert caught_head.value.op == "head"
        assert caught_head.value.url == provider.locate(root + "no")
