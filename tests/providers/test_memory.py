"""The memory provider against the contract, and what is its own."""

import asyncio
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstore.errors import AlreadyExistsError
from asyncstore.provider import Diagnoses
from asyncstore.providers import memory
from asyncstore.providers.memory import MemoryProvider
from asyncstore.testing import ProviderContract
from asyncstore.types import Settings, Span
from asyncstore.url import StoreURL


class TestMemory(ProviderContract):
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request):
        return request.param

    @pytest.fixture
    async def provider(self, anyio_backend):
        provider = MemoryProvider()
        yield provider
        await provider.aclose()


def shared(name):
    return memory.connect(StoreURL.parse(f"mem://{name}"), Settings())


@pytest.mark.asyncio
async def test_a_name_is_one_store_in_the_whole_process():
    await shared("one").put("k", b"x")
    assert bytes(await shared("one").get("k")) == b"x"
    provider = shared("one")
    await provider.aclose()
    assert bytes(await shared("one").get("k")) == b"x", "closing one handle emptied the store"
    assert (await shared("two").list_page("")).objects == []
    assert (await MemoryProvider().list_page("")).objects == []
    await provider.delete(["k"])


@pytest.mark.asyncio
async def test_a_read_copies_nothing():
    provider = MemoryProvider()
    data = os.urandom(1_000_000)
    await provider.put("k", data)
    blob = await provider.get("k", span=Span(10, 20))
    assert isinstance(blob.data, memoryview)
    assert blob.data.obj is data
    assert blob.data.readonly


@pytest.mark.asyncio
async def test_what_a_caller_changes_in_an_answer_changes_no_object():
    provider = MemoryProvider()
    given = {"a": "b"}
    await provider.put("k", b"x", metadata=given)
    given["a"] = "changed"
    meta = await provider.head("k")
    meta.metadata["a"] = "changed"  # type: ignore[index]
    meta.key = "other"
    assert dict((await provider.head("k")).metadata) == {"a": "b"}
    assert (await provider.get("k")).meta.key == "k"


def test_loops_in_many_threads_share_a_store_and_its_conditions():
    name = "threads"
    barrier = threading.Barrier(8)

    async def work(t):
        provider = shared(name)
        wins = 0
        for n in range(200):
            try:
                await provider.put(f"{n:03}", str(t).encode(), if_absent=True)
                wins += 1
            except AlreadyExistsError:
                pass
            if n % 20 == 0:
                await provider.list_page("", delimiter=True)
        return wins

    def run(t):
        barrier.wait()
        return asyncio.run(work(t))

    with ThreadPoolExecutor(8) as threads:
        wins = list(threads.map(run, range(8)))
    assert sum(wins) == 200


keys = st.text("ab/é\U0001f600", min_size=1, max_size=4)
changes = st.lists(st.tuples(st.sampled_from(["put", "delete", "list"]), keys), max_size=120)


@settings(deadline=None)
@given(
    changes=changes,
    few=st.sampled_from([0, 64]),
    prefix=st.just("") | keys,
    limit=st.integers(1, 4),
)
def test_a_listing_follows_every_change(changes, few, prefix, limit):
    async def main():
        provider = MemoryProvider()
        present = set()
        for change, key in changes:
            if change == "put":
                await provider.put(key, b"x")
                present.add(key)
            elif change == "delete":
                await provider.delete([key])
                present.discard(key)
            else:
                await provider.list_page("")
        found, cursor = [], None
        while True:
            page = await provider.list_page(prefix, cursor=cursor, limit=limit)
            found += [meta.key for meta in page.objects]
            cursor = page.cursor
            if cursor is None:
                break
        wanted = sorted((key for key in present if key.startswith(prefix)), key=str.encode)
        assert found == wanted

    before, memory._FEW = memory._FEW, few
    try:
        asyncio.run(main())
    finally:
        memory._FEW = before


@pytest.mark.asyncio
async def test_a_hundred_thousand_keys_are_listed_while_they_are_written():
    provider = MemoryProvider()
    keys = [f"{n:06}" for n in range(100_000)]
    random.Random(7).shuffle(keys)
    started = time.perf_counter()
    for n, key in enumerate(keys):
        await provider.put(key, b"")
        if n % 500 == 0:
            await provider.list_page("", limit=10)
    found, cursor = 0, None
    while True:
        page = await provider.list_page("", cursor=cursor)
        found += len(page.objects)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == 100_000
    assert time.perf_counter() - started < 30


def test_a_fork_has_a_store_of_its_own():
    provider = shared("forked")
    asyncio.run(provider.put("k", b"parent"))
    provider._bucket.lock.acquire()  # as another thread of the parent might hold it
    child = os.fork()
    if child == 0:
        asyncio.run(provider.put("k", b"child"))
        os._exit(0)
    provider._bucket.lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bytes(asyncio.run(provider.get("k"))) == b"parent"


@pytest.mark.asyncio
async def test_it_tells_doctor_what_it_is():
    provider = shared("facts")
    assert isinstance(provider, Diagnoses)
    assert (await provider.diagnose())["endpoint"] == "mem://facts"
