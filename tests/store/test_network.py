"""A `Store` behind a bad network: nothing is lost, nothing altered, no connection left open.

Everything that is drawn comes from the seed, which the test's name tells. Every write has a key of
its own, because a server may carry out a request long after its connection was cut.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from asyncstore import open_store
from asyncstore.errors import NotFoundError, TransientError
from asyncstore.layers import RetryPolicy
from asyncstore.testing.faultproxy import FaultProxy, Faults
from asyncstore.types import MiB

pytestmark = pytest.mark.asyncio

WORKERS = 6
STEPS = 12
PROBE = "/.asyncstore-probe-"  # removed in a few tries, and those may all meet the bad network
WRITES = ["put", "put", "create", "large"]
ALL = ["put", "create", "get", "get", "range", "stream", "stream", "delete", "give_up"]
SIZES = [0, 1, 4_000, 70_000, 700_000]


class Truth:
    """What must be there, what must not, and what may be either.

    Attributes:
        there: keys whose write was acknowledged, with their bytes.
        gone: keys whose deletion was acknowledged.
        either: keys that were written or deleted with an unknown outcome, with their bytes.
    """

    def __init__(self):
        self.there = {}
        self.gone = set()
        self.either = {}
        self.did: Counter[str] = Counter()


class Worker:
    """One caller: writes, reads, streams, deletes and gives up, each as the seed says."""

    def __init__(self, number, seed, store, truth):
        self.number = number
        self.rng = random.Random(f"{seed}/{number}")
        self.store = store
        self.truth = truth
        self.mine = {}

    async def run(self):
        for step in range(STEPS):
            key = f"{self.number}/{step:03}"
            name = self.rng.choice(WRITES if not self.mine or step < 3 else ALL)
            if step == STEPS // 2:
                name = "large"
            try:
                await getattr(self, name)(key)
                self.truth.did[name] += 1
            except TransientError as error:
                # Too much went wrong for as many tries as there are.
                self.truth.did[type(error).__name__] += 1

    async def write(self, key, data, writing):
        self.truth.either[key] = data
        try:
            await writing
        except TransientError as error:
            if error.outcome == "not_applied":
                self.truth.gone.add(key)
                del self.truth.either[key]
            raise
        del self.truth.either[key]
        self.truth.there[key] = self.mine[key] = data

    async def put(self, key):
        data = self.rng.randbytes(self.rng.choice(SIZES))
        await self.write(key, data, self.store.put(key, data))

    async def create(self, key):
        # Never "it exists already": only this request can have made it.
        data = self.rng.randbytes(self.rng.choice(SIZES))
        await self.write(key, data, self.store.put(key, data, if_absent=True))

    async def large(self, key):
        data = self.rng.randbytes(11 * MiB)

        async def pieces():
            for at in range(0, len(data), MiB):
                yield data[at : at + MiB]

        await self.write(key, data, self.store.put_stream(key, pieces(), part_size=5 * MiB))

    def one(self):
        return self.rng.choice(sorted(self.mine))

    async def get(self, _):
        key = self.one()
        assert (await self.store.get(key)).data == self.mine[key], key

    async def range(self, _):
        key = self.one()
        start = self.rng.randrange(800_000)
        span = (start, start + self.rng.randrange(800_000))
        assert (await self.store.get(key, span=span)).data == self.mine[key][slice(*span)], key

    async def stream(self, _):
        key = self.one()
        given = bytearray()
        async with self.store.stream(key) as stream:
            async for view in stream:
                given += view
                assert self.mine[key].startswith(given[: 1 << 16]), key
        assert given == self.mine[key], key

    async def delete(self, _):
        key = self.one()
        self.truth.either[key] = self.mine.pop(key)
        del self.truth.there[key]
        await self.store.delete(key)
        del self.truth.either[key]
        self.truth.gone.add(key)

    async def give_up(self, key):
        """Be cancelled somewhere in the middle of a write, and then of a read."""
        data = self.rng.randbytes(700_000)
        self.truth.either[key] = data
        for doing in (self.store.put(key, data), self.store.get(self.one())):
            task = asyncio.ensure_future(doing)
            await asyncio.wait([task], timeout=self.rng.random() * 0.05)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()


async def spoil(proxy, seed):
    """Change the network for the worse every now and then, until cancelled."""
    rng = random.Random(f"{seed}/network")
    while True:
        for way in ("up", "down"):
            faults = Faults(
                latency=rng.choice([0, 0, 0, 0.002]),
                piece=rng.choice([1000, 16_384, 16_384, 65_536]),
                how=rng.choice(["reset", "fin"]),
            )
            if rng.random() < 0.5:
                faults.cut_after, faults.cuts = rng.randrange(1, 1_500_000), rng.randrange(1, 3)
            setattr(proxy, way, faults)
        if rng.random() < 0.05:
            proxy.drop()
        proxy.refusing = rng.random() < 0.05
        await asyncio.sleep(rng.random() * 0.1)


@pytest.mark.parametrize("seed", [1, 20261122])
async def test_a_bad_network_loses_nothing_and_alters_nothing(seed, seaweedfs):
    path = f"s3://{seaweedfs.make_bucket()}/set"
    port = int(seaweedfs.url.rpartition(":")[2])
    truth = Truth()
    async with FaultProxy("127.0.0.1", port) as proxy:
        store = open_store(
            path,
            creds=seaweedfs.creds,
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            retry=RetryPolicy(attempts=8, base=0.02, cap=0.2),
            deadline=30,
        )
        async with store:
            spoiling = asyncio.create_task(spoil(proxy, seed))
            workers = [Worker(number, seed, store, truth) for number in range(WORKERS)]
            await asyncio.gather(*(worker.run() for worker in workers))
            spoiling.cancel()
            await asyncio.wait([spoiling])
            proxy.up, proxy.down, proxy.refusing = Faults(), Faults(), False
        for _ in range(500):  # a closed socket is seen a few turns later
            if not proxy.open:
                break
            await asyncio.sleep(0.01)
        assert proxy.open == 0
        assert proxy.connections > WORKERS

    async with open_store(path, creds=seaweedfs.creds) as store:
        for key, data in truth.there.items():
            assert (await store.get(key)).data == data, key
        for key in truth.gone:
            with pytest.raises(NotFoundError):
                await store.get(key)
        for key, data in truth.either.items():
            try:
                found = await store.get(key)
            except NotFoundError:
                continue
            assert found.data == data, key
        listed = {meta.key: meta.size async for meta in store.list() if PROBE not in meta.key}
    assert listed.keys() - truth.either.keys() == truth.there.keys()
    assert all(size == len((truth.there | truth.either)[key]) for key, size in listed.items())
    done = sum(count for name, count in truth.did.items() if not name.endswith("Error"))
    assert done >= WORKERS * STEPS * 0.8
