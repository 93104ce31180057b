"""A wrong argument is refused with what to write instead, before anything is sent, everywhere."""

from __future__ import annotations

import pytest

from asyncstore.errors import ConfigurationError, ObjectChangedError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(anyio_backend, cloud):
    store, provider = cloud()
    await store.put("k", b"0123456789")
    provider.calls.clear()
    yield store
    assert provider.calls == []


CONDITIONS = {
    "both conditions": {"if_absent": True, "if_match": '"e"'},
    "a version that is no text": {"if_match": 5},
    "a media type that is no text": {"content_type": 5},
    "a media type of two lines": {"content_type": "a/b\r\nx: y"},
    "a media type with a space at its end": {"content_type": "a/b "},
    "metadata that is a list": {"metadata": ["a"]},
    "metadata in upper case": {"metadata": {"Name": "x"}},
    "metadata without a name": {"metadata": {"": "x"}},
    "the library's own mark": {"metadata": {"asyncstore-write-id": "x"}},
    "metadata that is a number": {"metadata": {"a": 1}},
    "metadata that is not ASCII": {"metadata": {"a": "é"}},
    "metadata with a space at its beginning": {"metadata": {"a": " x"}},
}


@pytest.mark.parametrize("wrong", CONDITIONS.values(), ids=CONDITIONS)
async def test_what_a_service_could_not_carry_is_not_sent(store, wrong):
    with pytest.raises(ConfigurationError):
        await store.put("k", b"", **wrong)
    with pytest.raises(ConfigurationError):
        await store.put_stream("k", [b""], **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"expires": seconds} for seconds in (0, -1, 604_801, float("nan"), float("inf"), "5")),
        {"expires": True},
        {"expires": None},
        {"method": "POST"},
        {"method": "get"},
    ],
    ids=str,
)
async def test_a_url_that_nobody_signs_is_refused(store, wrong):
    with pytest.raises(ConfigurationError, match=r"expires=|method="):
        await store.presign("k", **wrong)


@pytest.mark.parametrize("wrong", [b"read-only", "text", None, 5, memoryview(bytearray(8))[::2]])
async def test_memory_that_cannot_be_filled_is_refused(store, wrong):
    with pytest.raises(TypeError, match="writable, contiguous"):
        await store.get_into("k", wrong)


async def test_other_types_are_named(store):
    with pytest.raises(TypeError, match="iterable of keys, not int"):
        await store.delete(5)
    for call in (store.copy, store.move):
        with pytest.raises(TypeError, match="write to=open_store"):
            await call("k", "l", to="mem://there")
    with pytest.raises(ConfigurationError, match="gap=-1"):
        await store.get_ranges("k", [(0, 1)], gap=-1)


async def test_a_source_of_another_size_is_told_with_its_place(store):
    with pytest.raises(ObjectChangedError, match=r"put_stream .*/set/k: the source gave 3"):
        await store.put_stream("k", [b"abc"], size=2)
