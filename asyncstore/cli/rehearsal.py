"""What `asyncstore demo` does: write, list, read and verify, with a count of everything.

It uses the library as a program of a user would, and trusts nothing: what is read is compared
with what was written by its SHA-256, and the listing with what was acknowledged.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore import datasets
from asyncstore.cli import chunks, exits
from asyncstore.cli.batch import each, stepping
from asyncstore.cli.copying import Measured, copy_object, sha256
from asyncstore.cli.output import UNSEEN
from asyncstore.cli.text import count, human
from asyncstore.cli.tree import kinds, scan
from asyncstore.errors import IntegrityError, StoreError
from asyncstore.store import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.cli.options import Options
    from asyncstore.cli.output import Output
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.types import ObjectMeta

T = TypeVar("T")

_FOLDER = "files/"
_SMALL = 8 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One object to write: its name, its bytes' number, and what makes them."""

    key: str
    size: int
    make: Callable[[], bytes] = bytes


@dataclass
class Work:
    """What to write.

    Attributes:
        items: what.
        noun: what one is called.
        folder: where the files are, if they are files; `None` where each item makes itself.
        prefix: what goes before their keys in the data set.
        left_out: how many files could not be taken; each was reported.
    """

    items: Sequence[Item]
    noun: str
    folder: str | None = None
    prefix: str = ""
    left_out: int = 0


def generated(number: int, seed: int) -> Work:
    """Make chunks up from a seed."""
    plan = chunks.plan(number, seed=seed)
    return Work([Item(chunk.key, chunk.size, chunk.make) for chunk in plan], "chunk")


def local_files(folder: str, output: Output) -> Work:
    """Take a folder's files, and report what is no file, or has a name that no store takes."""
    root = os.path.realpath(folder)
    tree = scan(root)
    for error in tree.refused:
        output.error(error)
    for kind, number in kinds(tree.skipped):
        output.remark(
            f"skipped   {count(number, kind)}: no bytes to store",
            {"type": "skipped", "kind": kind, "count": number},
        )
    if tree.empty:
        output.remark(
            f"skipped   {count(len(tree.empty), 'empty folder')}: stores hold objects only",
            {"type": "skipped", "kind": "empty folder", "count": len(tree.empty)},
        )
    items = [Item(file.key, file.size) for file in tree.files]
    return Work(items, "file", root, _FOLDER, len(tree.refused))


@dataclass(slots=True)
class _Tally:
    seconds: float = 0.0
    objects: int = 0
    bytes: int = 0

    def record(self, kind: str) -> dict[str, Any]:
        seconds = self.seconds or 1e-9
        return {
            "type": kind,
            "objects": self.objects,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "bytes_per_second": round(self.bytes / seconds),
            "objects_per_second": round(self.objects / seconds, 1),
        }

    def text(self, noun: str) -> str:
        seconds = self.seconds or 1e-9
        return (
            f"{count(self.objects, noun)}, {human(self.bytes)}, in {self.seconds:.1f} s: "
            f"{self.bytes / seconds / 1e6:,.0f} MB/s, {self.objects / seconds:,.0f} objects/s"
        )


@dataclass
class Rehearsal:
    """One run of the demo.

    Attributes:
        made: whether a data set was made, and so has to be removed.
        written: keys in the data set to `(size, SHA-256)`, as they were acknowledged.
    """

    options: Options
    output: Output
    place: Place
    work: Work
    workers: int
    made: bool = False
    written: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _failures: list[StoreError] = field(default_factory=list)

    async def run(self, download_to: str | None) -> int:
        """Do all of it, and return the exit code.

        Raises:
            DatasetExistsError: something is at the place already.
        """
        async with AsyncExitStack() as stores:
            source = folder = None
            if self.work.folder is not None:
                source = open_store(self.work.folder, read_only=True)
                await stores.enter_async_context(source)
            async with await datasets.empty(self.place.text, **self._reach()) as data:
                self.made = True
                self.output.remark(
                    f"data set  {self.place.url()}", {"type": "dataset", "url": self.place.url()}
                )
                tally, began = _Tally(), time.monotonic()
                await self._write(data.store, source, tally)
            # Closing flushed what was written to disk: that belongs to the time.
            tally.seconds = time.monotonic() - began
            self._say("wrote", tally)
            if download_to is not None:
                folder = open_store(download_to, durability="deferred")
                await stores.enter_async_context(folder)
            again = datasets.load(self.place.text, read_only=True, **self._reach())
            async with await again as data:
                await self._list(data.store)
                await self._read(data.store, folder)
        return self._verdict()

    async def remove(self) -> None:
        """Remove the data set, if this run made one: the place was empty before."""
        if self.made:
            async with open_store(self.place.text, **self._reach()) as store:
                await store.delete_prefix("")

    def _reach(self) -> dict[str, Any]:
        access = self.options.connection.settings(self.place.root.scheme)
        if self.place.is_local:
            access["durability"] = "deferred"  # flushed once, when the data set is closed
        return access

    async def _write(self, store: Store, source: Store | None, tally: _Tally) -> None:
        async def one(item: Item) -> None:
            key = self.work.prefix + item.key
            if source is None:
                size, digest = await _write_made(store, key, item)
            else:
                size, digest = await _write_file(store, key, item, source)
            progress.advance(size)
            self.written[key] = (size, digest)
            tally.objects += 1
            tally.bytes += size

        total = sum(item.size for item in self.work.items)
        with self.output.progress("writing", total=total) as progress:
            await self._each(self.work.items, one)

    async def _list(self, store: Store) -> None:
        """Compare what the store lists with what was written."""
        began = time.monotonic()
        everything = {meta.key: meta.size async for meta in store.list(self.work.prefix)}
        # The data set's own files are none of ours.
        listed = {key: size for key, size in everything.items() if key in self.written}
        seconds = time.monotonic() - began
        for key, (size, _) in self.written.items():
            if key not in listed:
                self._fail(IntegrityError("written, and not in the listing"), "list", key)
            elif listed[key] != size:
                self._fail(
                    IntegrityError(f"listed with {listed[key]} bytes of {size}"), "list", key
                )
        self.output.remark(
            f"listed    {count(len(listed), self.work.noun)} in {seconds:.1f} s",
            {"type": "listed", "objects": len(listed), "seconds": round(seconds, 3)},
        )

    async def _read(self, store: Store, folder: Store | None) -> None:
        """Read everything back, to a folder or through memory, and compare every byte."""
        tally, began = _Tally(), time.monotonic()

        async def one(key: str) -> None:
            size, digest = self.written[key]
            name = key.removeprefix(self.work.prefix)
            if folder is None:
                found = await _digest(store, key, size)
            else:
                await copy_object(store, key, folder, name)
                found = await _digest(folder, name, size)
            progress.advance(size)
            if found != digest:
                raise IntegrityError("what was read is not what was written").at(
                    "get", str(store.url.join(key))
                )
            tally.objects += 1
            tally.bytes += size

        total = sum(size for size, _ in self.written.values())
        with self.output.progress("reading", total=total) as progress:
            await self._each(list(self.written), one)
        tally.seconds = time.monotonic() - began
        self._say("read", tally)
        verified = tally.objects == len(self.written)
        self.output.remark(
            f"verified  {tally.objects:,} of {count(len(self.written), self.work.noun)}, "
            "every byte, by SHA-256",
            {"type": "verified", "objects": tally.objects, "ok": verified},
        )

    async def _each(self, items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
        await each(stepping(items), work, failed=self._failed, workers=self.workers)

    def _say(self, what: str, tally: _Tally) -> None:
        self.output.remark(f"{what:9} {tally.text(self.work.noun)}", tally.record(what))

    def _fail(self, error: StoreError, op: str, key: str) -> None:
        self._failed(error.at(op, f"{self.place.url()}/{key}"))

    def _failed(self, error: StoreError) -> None:
        self._failures.append(error)
        self.output.error(error)

    def _verdict(self) -> int:
        if any(isinstance(error, IntegrityError) for error in self._failures):
            return exits.CORRUPT
        return exits.FAILED if self._failures or self.work.left_out else exits.OK


async def _write_made(store: Store, key: str, item: Item) -> tuple[int, bytes]:
    data = item.make()
    meta = await store.put(key, data)
    _stored(store, key, meta, len(data))
    return len(data), hashlib.sha256(data).digest()


async def _write_file(store: Store, key: str, item: Item, source: Store) -> tuple[int, bytes]:
    if item.size <= _SMALL:
        blob = await source.get(item.key)
        meta = await store.put(key, blob.data)
        _stored(store, key, meta, len(blob))
        return len(blob), hashlib.sha256(blob.data).digest()
    async with source.stream(item.key) as stream:
        measured = Measured(stream, UNSEEN, hashed=True)
        meta = await store.put_stream(key, measured, size=stream.meta.size)
    _stored(store, key, meta, measured.size)
    return measured.size, measured.digest


def _stored(store: Store, key: str, meta: ObjectMeta, size: int) -> None:
    if meta.size != size:
        raise IntegrityError(f"{meta.size} bytes were stored of {size}").at(
            "put", str(store.url.join(key))
        )


async def _digest(store: Store, key: str, size: int) -> bytes:
    """Return the SHA-256 of an object."""
    if size <= _SMALL:
        return hashlib.sha256((await store.get(key)).data).digest()
    async with store.stream(key) as stream:
        return await sha256(stream)
