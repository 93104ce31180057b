"""Reads: one version, verified, large ones in parts, neighbours in one request."""

from __future__ import annotations

import base64

import pytest
from awscrt import checksums
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncstore.errors import (
    IntegrityError,
    InvalidSpanError,
    NotFoundError,
    ObjectChangedError,
    UnavailableError,
)
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store import _reading
from asyncstore.types import Span

pytestmark = pytest.mark.asyncio


@pytest.fixture
def small(monkeypatch):
    """Cut reads into parts of 100 bytes from 250 bytes on."""
    monkeypatch.setattr(_reading, "PART", 100)
    monkeypatch.setattr("asyncstore.store._live.LARGE", 250)


DATA = bytes(range(256)) * 4


async def filled(cloud, data=DATA):
    store, provider = cloud()
    await MemoryProvider.put(provider, "set/k", data)
    return store, provider


async def test_a_small_object_is_one_request(cloud, small):
    store, provider = await filled(cloud, b"x" * 250)
    assert len(await store.get("k")) == 250
    assert provider.calls == [("get", "set/k", Span())]


async def test_a_large_object_comes_in_parts_at_once(cloud, small):
    store, provider = await filled(cloud)
    blob = await store.get("k")
    assert bytes(blob) == DATA
    assert blob.meta.key == "k"
    assert len(provider.calls) == 12
    assert provider.most_under_way > 1


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(start=st.none() | st.integers(-1100, 1100), stop=st.none() | st.integers(-1100, 1100))
async def test_any_span_is_what_a_slice_is(cloud, small, start, stop):
    store, _ = await filled(cloud)
    assert bytes(await store.get("k", span=(start, stop))) == DATA[start:stop]
    buffer = bytearray(1024)
    blob = await store.get_into("k", buffer, span=slice(start, stop))
    assert bytes(blob) == DATA[start:stop]
    assert bytes(buffer[: len(blob)]) == DATA[start:stop]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(
    spans=st.lists(
        st.tuples(
            st.none() | st.integers(-1100, 1100),
            st.none() | st.integers(-1100, 1100),
        ),
        max_size=8,
    ),
    gap=st.integers(0, 300),
)
async def test_ranges_are_what_slices_are(cloud, small, spans, gap):
    store, _ = await filled(cloud)
    blobs = await store.get_ranges("k", spans, gap=gap)
    assert [bytes(blob) for blob in blobs] == [DATA[start:stop] for start, stop in spans]
    for blob, (start, stop) in zip(blobs, spans, strict=True):
        if len(blob):
            assert blob.start == slice(start, stop).indices(len(DATA))[0]
        assert blob.meta.key == "k"


async def test_neighbouring_ranges_are_one_request(cloud):
    store, provider = await filled(cloud)
    blobs = await store.get_ranges("k", [(0, 10), (20, 30), (900, 910), (5, 25)], gap=10)
    assert [bytes(b) for b in blobs] == [DATA[0:10], DATA[20:30], DATA[900:910], DATA[5:25]]
    assert sorted(call[2].start for call in provider.calls) == [0, 900]


async def test_an_object_replaced_between_parts_is_refused(cloud, small):
    store, provider = await filled(cloud)

    async def replace(op, _key, span):
        if op == "get" and span.start == 500:
            await MemoryProvider.put(provider, "set/k", b"B" * 1024)

    provider.before = replace
    with pytest.raises(ObjectChangedError):
        await store.get("k")


async def test_each_part_asks_for_the_version_of_the_first_answer(cloud, small, monkeypatch):
    store, provider = await filled(cloud)
    asked = []
    get = type(provider).get

    async def asking(self, key, /, *, if_match=None, **options):
        asked.append(if_match)
        return await get(self, key, if_match=if_match, **options)

    monkeypatch.setattr(type(provider), "get", asking)
    blob = await store.get("k")
    assert asked[0] is None
    assert set(asked[1:]) == {blob.meta.etag}


async def test_a_part_of_another_version_is_refused_where_the_condition_is_ignored(
    cloud, small, monkeypatch
):
    store, provider = await filled(cloud)
    get = provider.get

    async def ignoring(key, /, **options):
        blob = await get(key, **options | {"if_match": None})
        if options["span"].start == 500:
            blob.meta = blob.meta.replace(etag='"another"')
        return blob

    monkeypatch.setattr(provider, "get", ignoring)
    with pytest.raises(ObjectChangedError):
        await store.get("k")


async def test_ranges_that_met_two_versions_are_read_again_from_one(cloud):
    store, provider = await filled(cloud, b"A" * 1000)

    async def replace(_op, _key, span):
        if span.start == 500:
            provider.before = None
            await MemoryProvider.put(provider, "set/k", b"B" * 1000)

    provider.before = replace
    blobs = await store.get_ranges("k", [(0, 10), (500, 510)], gap=0)
    assert [bytes(b) for b in blobs] == [b"B" * 10, b"B" * 10]


async def test_ranges_of_an_object_that_never_rests_are_refused(cloud):
    store, provider = await filled(cloud, b"A" * 1000)
    times = iter(range(100))

    async def replace(_op, _key, span):
        if span.start == 500:
            await MemoryProvider.put(provider, "set/k", bytes([next(times)]) * 1000)

    provider.before = replace
    with pytest.raises(ObjectChangedError):
        await store.get_ranges("k", [(0, 10), (500, 510)], gap=0)


async def test_a_version_is_asked_for_in_every_form(cloud, small):
    store, _ = await filled(cloud)
    etag = (await store.head("k")).etag
    assert len(await store.get("k", if_match=etag)) == 1024
    assert len((await store.get_ranges("k", [(0, 1)], if_match=etag))[0]) == 1
    for spans in ([(0, 1)], [(-1, None)], [(3, 3)]):
        with pytest.raises(ObjectChangedError):
            await store.get_ranges("k", spans, if_match="other")
    with pytest.raises(ObjectChangedError):
        await store.get("k", if_match="other")
    with pytest.raises(ObjectChangedError):
        async with store.stream("k", if_match="other"):
            pass


@pytest.mark.parametrize("name", ["crc64nvme", "crc32c"])
async def test_a_large_object_is_verified_as_a_whole(cloud, small, name, monkeypatch):
    store, provider = await filled(cloud)
    width = {"crc64nvme": 8, "crc32c": 4}[name]
    right = base64.b64encode(getattr(checksums, name)(DATA).to_bytes(width, "big")).decode()
    get = provider.get

    async def told(key, /, **options):
        blob = await get(key, **options)
        blob.meta.checksums = {name: right}
        return blob

    monkeypatch.setattr(provider, "get", told)
    assert bytes(await store.get("k")) == DATA

    async def flipped(key, /, **options):
        blob = await told(key, **options)
        if options["span"].start == 300:
            options["into"][7] ^= 1
        return blob

    monkeypatch.setattr(provider, "get", flipped)
    with pytest.raises(IntegrityError):
        await store.get("k")


async def test_a_part_that_is_too_short_is_refused(cloud, small, monkeypatch):
    store, provider = await filled(cloud)
    get = provider.get

    async def short(key, /, **options):
        blob = await get(key, **options)
        if options["span"].start == 300:
            blob.data = blob.data[:-1]
        return blob

    monkeypatch.setattr(provider, "get", short)
    with pytest.raises(IntegrityError):
        await store.get("k")


async def test_the_first_error_of_many_parts_is_raised_bare(cloud, small):
    store, provider = await filled(cloud)

    async def fail(_op, _key, span):
        if span.start in (200, 500, 900):
            raise UnavailableError("503")

    provider.before = fail
    with pytest.raises(UnavailableError):
        await store.get("k")
    assert provider.under_way == 0


async def test_a_buffer_that_does_not_fit_is_refused(cloud, small):
    store, _ = await filled(cloud)
    for size in (0, 10, 300, 1023):
        with pytest.raises(InvalidSpanError):
            await store.get_into("k", bytearray(size))
    with pytest.raises(TypeError):
        await store.get_into("k", b"x" * 1024)
    with pytest.raises(TypeError):
        await store.get_into("k", memoryview(bytearray(2048))[::2])
    with pytest.raises(InvalidSpanError):
        await store.get("k", span=(0, 10, 2))


async def test_a_missing_bucket_is_not_an_absent_object(cloud, monkeypatch):
    store, provider = cloud()
    assert await store.exists("none") is False
    store, provider = cloud()

    async def no_bucket(prefix, /, **options):
        raise NotFoundError("no such bucket")

    monkeypatch.setattr(provider, "list_page", no_bucket)
    with pytest.raises(NotFoundError):
        await store.exists("none")
    await store.put("k", b"")
    assert await store.exists("k") is True
    assert await store.exists("none") is False
