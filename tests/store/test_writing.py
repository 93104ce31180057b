"""Writes: whole or not at all, from anything that gives bytes, with nothing left behind."""

from __future__ import annotations

import io
import os

import anyio
import anyio.lowlevel
import pytest
from anyio.lowlevel import checkpoint

from asyncstore import open_store
from asyncstore.errors import (
    AlreadyExistsError,
    BatchError,
    ConfigurationError,
    InvalidPathError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    ReadOnlyError,
    UnavailableError,
)
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store import _writing
from asyncstore.testing import cancelled_everywhere

pytestmark = pytest.mark.asyncio

DATA = os.urandom(1024)


@pytest.fixture
def small(monkeypatch):
    """Cut writes into parts of 100 bytes."""
    monkeypatch.setattr(_writing, "PART", 100)
    monkeypatch.setattr(_writing, "LARGE", 250)


def ops(provider):
    return [call[0] for call in provider.calls]


async def test_a_large_put_goes_up_in_parts_at_once(cloud, small):
    store, provider = cloud()
    meta = await store.put("k", DATA, content_type="a/b", metadata={"c": "d"})
    assert (meta.key, meta.size) == ("k", 1024)
    assert bytes(await store.get("k")) == DATA
    found = await store.head("k")
    assert (found.content_type, found.metadata) == ("a/b", {"c": "d"})
    assert ops(provider).count("put_part") == 11
    assert provider.most_under_way > 1
    assert provider.open_now["upload"] == 0


async def test_a_small_put_is_one_request(cloud, small):
    store, provider = cloud()
    await store.put("k", b"x" * 250)
    assert ops(provider) == ["put"]


@pytest.mark.parametrize(
    "data",
    [
        b"12345678",
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        memoryview(b"12345678").cast("I"),
        memoryview(b"12345678").cast("B", (2, 4)),
    ],
)
async def test_any_flat_buffer_is_written(cloud, data):
    store, _ = cloud()
    assert (await store.put("k", data)).size == 8
    assert bytes(await store.get("k")) == b"12345678"


async def test_an_empty_buffer_is_an_empty_object(cloud):
    store, _ = cloud()
    for empty in (b"", memoryview(b""), memoryview(bytearray())):
        assert (await store.put("k", empty)).size == 0


@pytest.mark.parametrize("data", ["text", 5, None, [1], memoryview(b"123456")[::2]])
async def test_what_is_no_flat_buffer_is_refused_with_advice(cloud, data):
    store, provider = cloud()
    with pytest.raises(TypeError):
        await store.put("k", data)
    assert provider.calls == []


class AsyncFile:
    def __init__(self, data):
        self._file = io.BytesIO(data)

    async def read(self, n):
        return self._file.read(min(n, 37))


class Pieces:
    """A file object that gives less than it is asked for."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, n):
        return self._file.read(min(n, 41))


async def chunks(data, size):
    for at in range(0, len(data), size):
        yield data[at : at + size]


def sources(data, folder):
    path = folder / "source"
    path.write_bytes(data)
    yield "path", path
    yield "BytesIO", io.BytesIO(data)
    yield "buffered", path.open("rb")
    yield "unbuffered", path.open("rb", buffering=0)
    yield "async file", AsyncFile(data)
    yield "pieces", Pieces(data)
    yield "bytes", data
    for size in (1, 33, 100, 5000):
        yield f"list of {size}", [data[at : at + size] for at in range(0, len(data), size)]
        yield f"generator of {size}", (data[at : at + size] for at in range(0, len(data), size))
        yield f"async generator of {size}", chunks(data, size)
    if len(data) > 100:
        yield "buffers", [memoryview(data[:100]).cast("I"), bytearray(data[100:]), b""]


@pytest.mark.parametrize("length", [0, 99, 100, 101, 200, 1023])
async def test_any_source_is_written_whole(cloud, small, tmp_path, length):
    store, provider = cloud()
    data = (DATA * 2)[:length] if length < 100 else DATA[:length]
    for name, source in sources(data, tmp_path):
        meta = await store.put_stream("k", source)
        assert meta.size == length, name
        assert bytes(await store.get("k")) == data, name
        if hasattr(source, "close") and not hasattr(source, "send"):
            source.close()
    assert provider.open_now["upload"] == 0


async def test_a_file_goes_on_from_where_it_stands(cloud, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    store, _ = cloud()
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        await store.put_stream("k", file)
    assert bytes(await store.get("k")) == b"456789"


async def test_parts_are_sent_at_once_and_few_are_held(cloud, small):
    store, provider = cloud()
    drawn = 0

    async def source():
        nonlocal drawn
        for _ in range(100):
            drawn += 1
            yield b"x" * 100

    async def look(op, *_rest):
        if op == "put_part":
            done = sum(call[0] == "put_part" for call in provider.calls)
            assert drawn <= done + _writing.WIDTH + 1
            await anyio.lowlevel.checkpoint()

    provider.before = look
    await store.put_stream("k", source())
    assert 1 < provider.most_under_way <= _writing.WIDTH


@pytest.mark.parametrize("size", [0, 500, 1025, 5000])
async def test_another_size_than_was_said_writes_nothing(cloud, small, size):
    store, provider = cloud()
    for source in (chunks(DATA, 50), io.BytesIO(DATA)):
        with pytest.raises(ObjectChangedError):
            await store.put_stream("k", source, size=size)
    assert not await store.exists("k")
    assert provider.open_now["upload"] == 0


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "replace"])
@pytest.mark.parametrize("at", ["put_part", "complete"])
async def test_a_source_file_that_changes_writes_nothing(cloud, small, tmp_path, change, at):
    path = tmp_path / "source"
    path.write_bytes(DATA)
    store, provider = cloud()

    async def touch(op, *_rest):
        if op != "put_part":
            return
        provider.before = None
        with path.open("r+b") as file:
            if change == "grow":
                file.seek(0, 2)
                file.write(b"more")
            elif change == "shrink":
                file.truncate(300)
            else:
                file.write(b"other")
        os.utime(path, (1, 1))

    provider.before = touch
    with pytest.raises(ObjectChangedError):
        await store.put_stream("k", path)
    assert not await store.exists("k")
    assert provider.open_now["upload"] == 0


async def test_a_source_that_raises_writes_nothing_and_its_error_is_raised(cloud, small):
    async def broken():
        yield b"x" * 300
        raise LookupError("the source")

    def also_broken():
        yield b"x" * 300
        raise LookupError("the source")

    store, provider = cloud()
    for source in (broken(), also_broken()):
        with pytest.raises(LookupError, match="the source"):
            await store.put_stream("k", source)
    assert not await store.exists("k")
    assert provider.open_now["upload"] == 0


@pytest.mark.parametrize("source", ["text", [b"x", "text"], [5], io.StringIO("text"), 7])
async def test_what_gives_no_bytes_is_refused(cloud, source):
    store, _ = cloud()
    with pytest.raises(TypeError):
        await store.put_stream("k", source)
    assert not await store.exists("k")


async def test_a_part_that_fails_gives_the_upload_up_and_its_error_is_raised_bare(cloud, small):
    store, provider = cloud()

    async def fail(op, *rest):
        if op == "put_part" and rest[0] == 5:
            raise UnavailableError("503")

    provider.before = fail
    for write in (lambda: store.put("k", DATA), lambda: store.put_stream("k", chunks(DATA, 10))):
        with pytest.raises(UnavailableError):
            await write()
        assert provider.open_now["upload"] == 0
        assert ops(provider)[-1] == "abort"
    assert not await store.exists("k")


async def test_an_abort_that_fails_does_not_hide_why(cloud, small):
    store, provider = cloud()

    async def fail(op, *_rest):
        if op == "put_part":
            raise PermissionDeniedError("why")
        if op == "abort":
            raise UnavailableError("and then")

    provider.before = fail
    with pytest.raises(PermissionDeniedError):
        await store.put("k", DATA)


async def test_an_abort_that_hangs_is_given_up(cloud, small, monkeypatch):
    monkeypatch.setattr(_writing, "_TIDY", 0.05)
    store, provider = cloud()

    async def fail(op, *_rest):
        if op == "put_part":
            raise PermissionDeniedError("why")
        if op == "abort":
            await anyio.sleep_forever()

    provider.before = fail
    with anyio.fail_after(60), pytest.raises(PermissionDeniedError):
        await store.put("k", DATA)


async def cancelled_at_every_step(provider, call, check):
    """Cancel a call at the provider's first, second, … step, wherever it is made."""
    for k in range(1, 1000):
        steps = 0

        async def step(*_call, k=k):
            nonlocal steps
            for _ in range(2):
                steps += 1
                if steps == k:
                    scope.cancel()
                await checkpoint()

        ended = False
        with anyio.CancelScope() as scope:
            provider.before = step
            await call()
            ended = True
        provider.before = None
        await check(ended)
        if ended and steps < k:
            return k
    raise AssertionError("it never ends")


@pytest.mark.parametrize("how", [cancelled_at_every_step, None])
async def test_a_cancelled_write_leaves_no_upload(cloud, small, how):
    store, provider = cloud()

    async def check(ended):
        assert provider.open_now["upload"] == 0
        assert provider.under_way == 0
        found = await MemoryProvider.list_page(provider, "set/")
        assert not found.objects or found.objects[0].size == 1024
        assert not ended or found.objects
        await MemoryProvider.delete(provider, ["set/k"])

    for write in (lambda: store.put("k", DATA), lambda: store.put_stream("k", chunks(DATA, 100))):
        if how is None:
            assert await cancelled_everywhere(write, check) > 3
        else:
            assert await how(provider, write, check) > 20


async def test_conditions_hold_for_parts_too(cloud, small):
    store, provider = cloud()
    first = await store.put("k", DATA, if_absent=True)
    for write in (
        lambda **c: store.put("k", DATA, **c),
        lambda **c: store.put_stream("k", chunks(DATA, 50), **c),
        lambda **c: store.put("k", b"small", **c),
    ):
        with pytest.raises(AlreadyExistsError):
            await write(if_absent=True)
        with pytest.raises(PreconditionError):
            await write(if_match="other")
        assert (await store.head("k")).etag == first.etag
        first = await write(if_match=first.etag)
    with pytest.raises(ConfigurationError):
        await store.put("k", b"", if_absent=True, if_match=first.etag)
    assert provider.open_now["upload"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {"Upper": "x"}},
        {"metadata": {"a b": "x"}},
        {"metadata": {"": "x"}},
        {"metadata": {"asyncstore-write-id": "x"}},
        {"metadata": {"a": "line\nbreak"}},
        {"metadata": {"a": "é"}},
        {"metadata": {"a": 5}},
        {"content_type": "a/b\r\nx: y"},
    ],
)
async def test_metadata_that_could_not_travel_is_refused_before_anything_is_sent(cloud, wrong):
    store, provider = cloud()
    with pytest.raises(ConfigurationError):
        await store.put("k", b"", **wrong)
    assert provider.calls == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\nb", 5, "é" * 600]
)
async def test_a_key_is_checked_at_the_door_of_every_call(cloud, key):
    store, provider = cloud()
    for call in (
        lambda: store.get(key),
        lambda: store.get_ranges(key, [(0, 1)]),
        lambda: store.head(key),
        lambda: store.exists(key),
        lambda: store.put(key, b""),
        lambda: store.put_stream(key, b""),
        lambda: store.copy("a", key),
        lambda: store.copy(key, "a"),
        lambda: store.move(key, "a"),
        lambda: store.delete([key]),
        lambda: store.delete(["a", key]),
        lambda: store.presign(key),
    ):
        with pytest.raises(InvalidPathError):
            await call()
    with pytest.raises(InvalidPathError):
        store.stream(key)
    assert provider.calls == []


async def test_the_prefix_counts_to_the_length_of_a_key():
    async with open_store("mem://long/" + "p" * 1000) as store:
        await store.put("k" * 23, b"")
        with pytest.raises(InvalidPathError):
            await store.put("k" * 24, b"")


async def test_many_keys_are_deleted_in_batches_and_errors_told_together(cloud, monkeypatch):
    store, provider = cloud()
    keys = [f"k{n}" for n in range(250)]
    await store.delete(keys)
    assert [len(call) - 1 for call in provider.calls] == [100, 100, 50]

    async def some(batch, /):
        return {key: PermissionDeniedError("no") for key in batch if key.endswith("7")}

    monkeypatch.setattr(provider, "delete", some)
    with pytest.raises(BatchError) as caught:
        await store.delete(keys)
    assert len(caught.value.exceptions) == 25
    with pytest.raises(PermissionDeniedError):
        await store.delete("k7")


async def test_an_error_of_the_whole_call_is_no_batch(cloud):
    store, provider = cloud()

    async def fail(*_call):
        raise UnavailableError("503")

    provider.before = fail
    with pytest.raises(UnavailableError):
        await store.delete([f"k{n}" for n in range(250)])


async def test_copies_within_a_service_are_the_services(cloud):
    store, there = cloud()
    await store.put("a", b"1", metadata={"x": "y"})
    copied = await store.copy("a", "sub/a")
    assert copied.key == "sub/a"
    assert (await (store / "sub").move("a", "z", to=store)).key == "z"
    assert ops(there).count("copy") == 2
    other, _ = cloud()
    copied = await store.copy("a", "b", to=other)
    assert copied.key == "b"
    assert (await other.head("b")).metadata == {"x": "y"}


async def test_a_move_onto_itself_keeps_the_object(cloud):
    store, _ = cloud()
    await store.put("a/b", b"1")
    await store.move("a/b", "a/b")
    await store.move("a/b", "b", to=store / "a")
    assert bytes(await store.get("a/b")) == b"1"


async def test_a_move_through_a_link_to_the_same_folder_keeps_the_object(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    async with open_store(tmp_path / "real") as one, open_store(tmp_path / "link") as other:
        await one.put("k", b"1")
        await one.move("k", "k", to=other)
        assert bytes(await one.get("k")) == b"1"
        await one.move("k", "l", to=other)
        assert [meta.key async for meta in one.list()] == ["l"]


async def test_a_move_between_two_services_of_the_same_names_is_refused(clouds):
    async with (
        open_store("s3://bucket/x") as one,
        open_store("s3://bucket/x", endpoint_url="http://127.0.0.1:9") as other,
    ):
        await one.put("k", b"1")
        with pytest.raises(NotSupportedError):
            await one.move("k", "k", to=other)
        assert bytes(await one.get("k")) == b"1"


async def test_a_read_only_store_signs_nothing_that_writes(cloud):
    store, provider = cloud(read_only=True)
    for method in ("PUT", "DELETE"):
        with pytest.raises(ReadOnlyError):
            await store.presign("k", method=method)
    with pytest.raises(ReadOnlyError):
        await store.delete_prefix("")
    with pytest.raises(ReadOnlyError):
        await store.put_stream("k", b"x")
    assert not {"put", "delete", "begin_upload"} & set(ops(provider))
