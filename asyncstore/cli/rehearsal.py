"""What `asyncstore demo` does: write, list, read and verify, with a count of everything.

It uses the library as a program of a user would: `put_many` and `get_many` for many objects,
`upload` and `download` for folders. It trusts nothing: what is read is compared with what was
written by its SHA-256, and the listing with what was acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore import datasets
from asyncstore.cli import chunks, exits
from asyncstore.cli.copying import sha256
from asyncstore.cli.folders import moving
from asyncstore.cli.text import count, human
from asyncstore.cli.tree import kinds, scan
from asyncstore.errors import IntegrityError, StoreError
from asyncstore.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from asyncstore.cli.options import Options
    from asyncstore.cli.output import Output
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.transfer import Report

_FOLDER = "files"
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
        prefix: the folder of the data set in which they are; `""` or ends in `/`.
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
    return Work(items, "file", root, f"{_FOLDER}/", len(tree.refused))


@dataclass(slots=True)
class _Tally:
    seconds: float = 0.0
    objects: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more object, of so many bytes."""
        self.objects += 1
        self.bytes += size

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
        access: what else the place is reached with.
        made: whether a data set was made, and so has to be removed.
        written: keys in the data set to `(size, SHA-256)`, as they were acknowledged.
    """

    options: Options
    output: Output
    place: Place
    work: Work
    workers: int | None
    access: Mapping[str, Any] = field(default_factory=dict, repr=False)
    made: bool = False
    written: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _failures: list[StoreError] = field(default_factory=list)

    async def run(self, download_to: str | None) -> int:
        """Do all of it, and return the exit code.

        Raises:
            DatasetExistsError: something is at the place already.
        """
        async with await datasets.empty(self.place.text, **self._reach()) as data:
            self.made = True
            self.output.remark(
                f"data set  {self.place.url()}", {"type": "dataset", "url": self.place.url()}
            )
            tally, began = _Tally(), time.monotonic()
            if self.work.folder is None:
                await self._put(data.store, tally)
            else:
                await self._upload(data.store, self.work.folder, tally)
        # Closing flushed what was written to disk: that belongs to the time.
        tally.seconds = time.monotonic() - began
        self._say("wrote", tally)
        again = datasets.load(self.place.text, read_only=True, **self._reach())
        async with await again as data:
            await self._list(data.store)
            if download_to is None:
                await self._read(data.store)
            else:
                await self._download(data.store, download_to)
        return self._verdict()

    async def remove(self) -> None:
        """Remove the data set, if this run made one: the place was empty before."""
        if self.made and self.place.root.scheme == "hub":
            await datasets.delete(self.place.text, force=True, **self._reach())
        elif self.made:
            async with open_store(self.place.text, **self._reach()) as store:
                await store.delete_prefix("")

    def _reach(self) -> dict[str, Any]:
        access = self.options.connection.settings(self.place.root.scheme) | dict(self.access)
        if self.place.is_local:
            access["durability"] = "deferred"  # flushed once, when the data set is closed
        return access

    # ---- writing

    async def _put(self, store: Store, tally: _Tally) -> None:
        def pairs() -> Iterator[tuple[str, bytes]]:
            for item in self.work.items:
                yield self.work.prefix + item.key, item.make()

        total = sum(item.size for item in self.work.items)
        with self.output.progress("writing", total=total) as progress:
            async with store.put_many(pairs(), width=self.workers) as puts:
                async for outcome in puts:
                    key, data = outcome.item
                    if outcome.error is not None:
                        self._failed(outcome.error)
                    elif outcome.result().size != len(data):
                        stored = outcome.result().size
                        self._fail(
                            IntegrityError(f"{stored} bytes were stored of {len(data)}"), "put", key
                        )
                    else:
                        self.written[key] = (len(data), hashlib.sha256(data).digest())
                        tally.add(len(data))
                        progress.advance(len(data))

    async def _upload(self, store: Store, folder: str, tally: _Tally) -> None:
        """Write the files; what they hold is read from them, whatever was sent."""
        with self.output.progress("writing") as progress:
            report = await store.upload(
                folder, _FOLDER, width=self.workers, progress=moving(progress)
            )
        self._tell_failures(report)
        failed = {failure.key for failure in report.failures}
        items = [item for item in self.work.items if item.key not in failed]
        self.written = await asyncio.to_thread(_digests, folder, items, self.work.prefix)
        for size, _ in self.written.values():
            tally.add(size)

    def _tell_failures(self, report: Report) -> None:
        """Say what failed, but for names that no store takes: those were said before."""
        known = {item.key for item in self.work.items}
        for failure in report.failures:
            if failure.key in known:
                self._failed(failure.error)

    # ---- listing

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

    # ---- reading

    async def _read(self, store: Store) -> None:
        """Read everything back through memory, and compare every byte."""
        tally, began = _Tally(), time.monotonic()
        small = [key for key, (size, _) in self.written.items() if size <= _SMALL]
        total = sum(size for size, _ in self.written.values())
        with self.output.progress("reading", total=total) as progress:
            async with store.get_many(small, width=self.workers) as got:
                async for outcome in got:
                    if outcome.error is not None:
                        self._failed(outcome.error)
                        continue
                    data = outcome.result().data
                    self._compare(str(outcome.item), hashlib.sha256(data).digest(), tally)
                    progress.advance(len(data))
            for key in self.written.keys() - set(small):
                try:
                    async with store.stream(key) as stream:
                        self._compare(key, await sha256(stream), tally)
                except StoreError as error:
                    self._failed(error)
        self._say_read(tally, began)

    async def _download(self, store: Store, folder: str) -> None:
        """Read everything back into a folder, and compare every byte of its files."""
        tally, began = _Tally(), time.monotonic()
        source = store / _FOLDER if self.work.folder is not None else store
        keys = [key.removeprefix(self.work.prefix) for key in self.written]
        with self.output.progress("reading") as progress:
            report = await source.download(
                keys, folder, width=self.workers, progress=moving(progress)
            )
        for failure in report.failures:
            self._failed(failure.error)
        failed = {failure.key for failure in report.failures}
        items = [Item(key, 0) for key in keys if key not in failed]
        found = await asyncio.to_thread(_digests, folder, items, self.work.prefix)
        for key, (_, digest) in found.items():
            self._compare(key, digest, tally)
        self._say_read(tally, began)

    def _compare(self, key: str, digest: bytes, tally: _Tally) -> None:
        size, written = self.written[key]
        if digest == written:
            tally.add(size)
        else:
            self._fail(IntegrityError("what was read is not what was written"), "get", key)

    # ---- saying

    def _say_read(self, tally: _Tally, began: float) -> None:
        tally.seconds = time.monotonic() - began
        self._say("read", tally)
        verified = tally.objects == len(self.written)
        self.output.remark(
            f"verified  {tally.objects:,} of {count(len(self.written), self.work.noun)}, "
            "every byte, by SHA-256",
            {"type": "verified", "objects": tally.objects, "ok": verified},
        )

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


def _digests(folder: str, items: Sequence[Item], prefix: str) -> dict[str, tuple[int, bytes]]:
    """Return size and SHA-256 of files, by key in the data set; blocks."""
    found: dict[str, tuple[int, bytes]] = {}
    for item in items:
        with open(os.path.join(folder, item.key), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            found[prefix + item.key] = (file.tell(), digest)
    return found
