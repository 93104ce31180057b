"""The sync face mirrors the async API and behaves in threads, notebooks, children."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import threading

import pytest

import asyncstore
from asyncstore import background, sync
from asyncstore.errors import BatchError, NotFoundError

RENAMED = {"aclose": "close"}
ASYNC_ONLY = {
    # The layered provider and a guard are async objects.
    "Store": {"provider", "guarded"},
    "Dataset": set(),
    "Batch": {"some"},
}


@pytest.fixture
def store(request):
    with sync.open_store(f"mem://sync{abs(hash(request.node.nodeid))}/set") as store:
        yield store


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def shape(function):
    """Parameters without annotations: names, kinds, defaults."""
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]


def test_every_public_name_is_mirrored():
    for name in asyncstore.__all__:
        if name != "__version__":
            assert hasattr(sync, name), name


@pytest.mark.parametrize(
    "name", [n for n in asyncstore.__all__ if inspect.isfunction(getattr(asyncstore, n))]
)
def test_functions_take_the_same_arguments(name):
    assert shape(getattr(sync, name)) == shape(getattr(asyncstore, name))


@pytest.mark.parametrize("name", [n for n in ASYNC_ONLY if n in asyncstore.__all__])
def test_methods_are_the_same_and_take_the_same_arguments(name):
    theirs, ours = getattr(asyncstore, name), getattr(sync, name)
    expected = {RENAMED.get(n, n) for n in public(theirs) - ASYNC_ONLY[name]}
    assert public(ours) == expected
    for method in public(theirs) - ASYNC_ONLY[name]:
        there, here = getattr(theirs, method), getattr(ours, RENAMED.get(method, method))
        if inspect.isfunction(there):
            assert shape(here) == shape(there), method
            assert not inspect.iscoroutinefunction(here), method
            assert here.__doc__, method


def test_what_was_put_is_what_is_got(store):
    store.put("a/b", b"hello", metadata={"colour": "red"})
    assert bytes(store.get("a/b")) == b"hello"
    assert store.head("a/b").metadata == {"colour": "red"}
    assert bytes(store.get_range("a/b", -2)) == b"lo"
    assert [bytes(b) for b in store.get_ranges("a/b", [(0, 1), (-1, None)])] == [b"h", b"o"]
    buffer = bytearray(5)
    assert store.get_into("a/b", buffer).data == b"hello"
    with store.stream("a/b") as stream:
        assert stream.meta.key == "a/b"
        assert b"".join(stream) == b"hello"
    store.put_stream("c", (bytes([n]) for n in range(4)))
    assert bytes(store.get("c")) == bytes(range(4))
    store.copy("c", "d")
    store.move("d", "e", to=store / "sub")
    assert [meta.key for meta in store.list()] == ["a/b", "c", "sub/e"]
    assert store.exists("c")
    assert store.delete_prefix("") == 3
    assert not store.exists("c")


def test_keys_to_delete_may_come_from_the_store_itself(store):
    for n in range(600):
        store.put(f"k{n}", b"")
    store.delete(meta.key for meta in store.list("k"))
    assert list(store.list()) == []
    with pytest.raises(BatchError):
        store.delete(["a", "b"], missing_ok=False)


def test_a_walk_does_not_enter_what_the_caller_takes_out(store):
    for key in ("a/1", "b/2", "c"):
        store.put(key, b"")
    seen = []
    for folder, folders, _ in store.walk():
        seen.append(folder)
        if "a/" in folders:
            folders.remove("a/")
    assert seen == ["", "b/"]


def test_listing_ten_thousand_keys_takes_a_hop_for_every_256(store, monkeypatch):
    for n in range(10_000):
        store.put(f"{n:05}", b"")
    hops = 0
    fill = background.Iterating._fill

    async def counted(self):
        nonlocal hops
        hops += 1
        await fill(self)

    monkeypatch.setattr(background.Iterating, "_fill", counted)
    monkeypatch.setattr(background, "_SOON", 60)
    assert len(list(store.list())) == 10_000
    assert hops <= 41


def test_breaking_out_of_a_listing_leaves_nothing(store):
    for n in range(2_500):
        store.put(f"{n:05}", b"")
    for _meta in store.list():
        break

    async def left():
        for _ in range(3):
            await asyncio.sleep(0)
        return [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]

    assert background.run(left) == []


def test_a_stream_that_is_not_read_to_its_end_is_closed(store):
    store.put("k", b"x" * 5_000_000)
    with store.stream("k") as stream:
        next(stream)
    with pytest.raises(RuntimeError):
        next(stream)


def test_errors_are_those_of_the_async_api(store):
    with pytest.raises(NotFoundError) as caught:
        store.get("none")
    assert isinstance(caught.value, FileNotFoundError)
    assert "none" in str(caught.value)


def test_it_works_in_a_running_loop_and_in_threads(store):
    async def cell():
        store.put("k", b"1")
        return bytes(store.get("k"))

    assert asyncio.run(cell()) == b"1"
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(bytes(store.get("k")))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [b"1"] * 20


def test_a_store_pickles(store):
    store.put("k", b"1")
    with pickle.loads(pickle.dumps(store)) as copy:
        assert bytes(copy.get("k")) == b"1"
        assert copy.url == store.url


def test_many_objects_cross_from_the_loop_with_their_outcomes(store):
    with store.put_many((f"k{n}", b"%d" % n) for n in range(600)) as puts:
        assert puts.finish() == 600
    with store.get_many((f"k{n}" for n in range(601)), ordered=True) as got:
        data = [bytes(outcome.result()) if outcome.ok else None for outcome in got]
    assert data == [b"%d" % n for n in range(600)] + [None]
    with store.head_many(store.list("k1"), width=3) as heads, pytest.raises(BatchError):
        heads.finish()  # a listing's objects are no keys
    with store.copy_many([("k1", "copied")]) as copies:
        assert copies.finish() == 1
    with store.delete_many(meta.key for meta in store.list("k")) as gone:
        assert gone.finish() == 600
    assert [meta.key for meta in store.list()] == ["copied"]


def test_a_batch_left_early_ends_what_was_under_way(store):
    store.put("k", b"")
    with store.get_many("k" for _ in range(100_000)) as got:
        assert next(got).ok


def test_a_dataset_left_open_is_a_warning_that_names_the_line(tmp_path):
    def leave_open():
        sync.empty(tmp_path / "ds", lock_enabled=False)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed store .*test_sync\.py:\d+"):
        leave_open()
