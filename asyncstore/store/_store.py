"""`Store`: what a user does with the objects under one path."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from anyio.to_thread import run_sync

from asyncstore.errors import (
    ConfigurationError,
    NotFoundError,
    NotSupportedError,
    ReadOnlyError,
    StoreError,
)
from asyncstore.provider import Diagnoses, Moves, Presigns, TriesWrites, ability, passes_on
from asyncstore.store import _arguments, _deleting, _many, _reading, _transfers, _writing
from asyncstore.store._listing import Keys, Listing, Walk
from asyncstore.store._live import Watched
from asyncstore.store._together import each
from asyncstore.types import WHOLE, WRITE_ID, Blob, ObjectMeta, Span, change_meta
from asyncstore.url import check_key, check_listed, check_prefix

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        Callable,
        Iterable,
        Mapping,
        MutableSequence,
        Sequence,
    )
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncstore.batch import Batch
    from asyncstore.layers import Guard
    from asyncstore.provider import Provider
    from asyncstore.store._live import Live, Recipe
    from asyncstore.transfer import Progress, Report
    from asyncstore.types import Durability, Page, SpanLike, Stream
    from asyncstore.url import PathLike, StoreURL

GAP = 64 * 1024

Item: TypeAlias = "str | ObjectMeta | tuple[str, SpanLike]"
"""What `Store.get_many` reads: a key, an object of a listing, or a span of an object."""


class Store:
    """The objects under one path of a storage service. Made by `open_store`.

    Use it with `async with`, or on its own and `await store.aclose()` at the end. It may be used
    from any number of tasks, threads and event loops, in forked children, and from trio; it
    pickles as a recipe without secrets. Keys are relative to the path.

    Attributes:
        url: where it is.
    """

    __slots__ = ("__weakref__", "_live", "_mine", "_prefix", "_strip", "url")

    def __init__(self, live: Live, url: StoreURL, prefix: str) -> None:
        self._live = live
        self.url = url
        self._prefix = prefix
        self._strip = len(prefix)
        self._mine = partial(_own, self._strip)

    # ---- reading

    async def get(
        self, key: str, /, *, span: SpanLike = WHOLE, if_match: str | None = None
    ) -> Blob:
        """Read an object, or a span of it.

        Args:
            key: the object.
            span: bytes as `(start, stop)`, a `slice` or a `Span`, half-open; negative positions
                count from the end; past the end there is nothing.
            if_match: an `ObjectMeta.etag`: read this version or none.

        Returns:
            The bytes: `blob.data` supports the buffer protocol, `bytes(blob)` copies them,
            `blob.meta` is the object's metadata.

        Raises:
            NotFoundError: no such object.
            ObjectChangedError: it is not the version of `if_match`, or was replaced meanwhile.
            IntegrityError: the bytes are not those that the service said it sent.
        """
        live = self._live
        provider = live.provider()
        most = live.most
        wanted = span if span is WHOLE else Span.of(span)
        blob = await provider.get(self._whole(key), span=wanted, if_match=if_match, most=most)
        if most is not None and not len(blob.data):
            blob = await _reading.refused(provider, wanted, None, blob)
        change_meta(blob, self._mine)
        return blob

    async def get_into(
        self, key: str, buffer: Any, /, *, span: SpanLike = WHOLE, if_match: str | None = None
    ) -> Blob:
        """Read an object, or a span of it, into memory that is there already.

        Args:
            key: the object.
            buffer: writable and C-contiguous, such as a `bytearray` or a NumPy array, with at
                least as many bytes as come.
            span: as in `get`.
            if_match: as in `get`.

        Returns:
            A blob whose `data` is a view of the buffer's beginning.

        Raises:
            InvalidSpanError: the buffer is too small.
            TypeError: the buffer is read-only or not contiguous.
        """
        into = _arguments.writable(buffer)
        blob = await _reading.read(
            self._live.provider(),
            self._whole(key),
            Span.of(span),
            into=into,
            if_match=if_match,
            most=self._live.most,
        )
        change_meta(blob, self._mine)
        return blob

    async def get_range(
        self,
        key: str,
        start: int | None,
        stop: int | None = None,
        /,
        *,
        if_match: str | None = None,
    ) -> Blob:
        """Read bytes `[start, stop)`, which mean what they mean in a slice; see `get`."""
        return await self.get(key, span=Span(start, stop), if_match=if_match)

    async def get_ranges(
        self,
        key: str,
        spans: Sequence[SpanLike],
        /,
        *,
        gap: int = GAP,
        if_match: str | None = None,
    ) -> list[Blob]:
        """Read several spans of one version of an object, neighbours in one request.

        Args:
            key: the object.
            spans: in any order, overlaps allowed, each as in `get`.
            gap: read across at most this many unwanted bytes to save a request.
            if_match: as in `get`.

        Returns:
            A blob for each span, in their order. Blobs may share memory.

        Raises:
            ObjectChangedError: the object was replaced again and again meanwhile.
            ConfigurationError: `gap` is negative.
        """
        if gap < 0:
            raise ConfigurationError(f"gap={gap}: at least 0 bytes")
        wanted = [Span.of(span) for span in spans]
        whole = self._whole(key)
        if not wanted:
            return []
        blobs = await _reading.read_ranges(
            self._live.provider(),
            whole,
            wanted,
            gap=gap,
            if_match=if_match,
            most=self._live.most,
        )
        meta = self._mine(blobs[0].meta)
        for blob in blobs:
            blob.meta = meta
        return blobs

    def stream(
        self, key: str, /, *, span: SpanLike = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Read an object as it arrives: `async with store.stream(key) as s: async for view in s`.

        `s.meta` is the object's metadata. A view is good until the next one is asked for. A
        connection that breaks is resumed in the same version. Errors are as in `get`.
        """
        whole = self._whole(key)
        return _Streaming(self, self._live.provider, whole, Span.of(span), if_match)

    async def head(self, key: str, /) -> ObjectMeta:
        """Return an object's metadata.

        Raises:
            NotFoundError: no such object or bucket.
        """
        return self._mine(await self._live.provider().head(self._whole(key)))

    async def exists(self, key: str, /) -> bool:
        """Say whether there is such an object.

        Raises:
            NotFoundError: there is no such bucket.
            PermissionDeniedError: the service does not tell. Forbidden is not absent.
        """
        whole = self._whole(key)
        provider = self._live.provider()
        try:
            await provider.head(whole)
        except NotFoundError:
            # A HEAD has no body to say what is missing; a listing fails for a missing bucket.
            if not self._live.found:
                await provider.list_page(whole, limit=1)
                self._live.found = True
            return False
        self._live.found = True
        return True

    def list(self, prefix: str = "", /, *, after: str | None = None) -> Listing:
        """Iterate over the objects whose keys begin with `prefix`, in the service's order.

        Args:
            prefix: a beginning of keys, not a folder: `"a"` lists `a`, `a/b` and `ab`.
            after: only keys after this one.

        Raises:
            NotFoundError: no such bucket; an absent prefix is an empty listing.
            IntegrityError: the service's listing is not provably complete.
        """
        start = self._prefix + check_prefix(prefix)
        behind = None if after is None else self._prefix + check_prefix(after)

        def fetch(cursor: str | None) -> Any:
            return self._live.provider().list_page(start, cursor=cursor, after=behind)

        return Listing(fetch, self._mine, self._prefix)

    def walk(self, prefix: str = "", /) -> Walk:
        """Iterate over folders from the top, as `os.walk` does.

        Args:
            prefix: `""`, or a folder ending in `/`; a `/` is added where it has none.

        Yields:
            `(folder, folders, objects)`: its prefix, the prefixes one level below, each ending
            in `/`, and the objects directly in it. What is taken out of the list of folders is
            not entered.
        """
        folder = check_prefix(prefix)
        if folder and not folder.endswith("/"):
            folder += "/"

        async def fetch(here: str, cursor: str | None) -> Page:
            return await self._live.provider().list_page(here, cursor=cursor, delimiter=True)

        return Walk(fetch, self._prefix + folder, self._mine, self._prefix)

    # ---- writing

    async def put(
        self,
        key: str,
        data: Any,
        /,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """Write a whole object; it is there, whole, when this returns. Large ones go in parts.

        Args:
            key: the object; replaced where it exists.
            data: bytes, or any C-contiguous buffer such as a NumPy array.
            if_absent: create only.
            if_match: replace only the version with this `ObjectMeta.etag`.
            content_type: the media type.
            metadata: name-value pairs; names are lower-case `[a-z0-9-]`, values printable ASCII.

        Raises:
            AlreadyExistsError: `if_absent`, and there is one.
            PreconditionError: `if_match`, and it is another version, or none.
            NotSupportedError: the service lacks what was asked for; nothing was written.
            StoreError: `outcome` says whether the write may have happened.
            TypeError: `data` is no such buffer.
        """
        whole = self._whole(key)
        flat = _writing.flat(data)
        conditions = _arguments.conditions(
            if_absent=if_absent,
            if_match=if_match,
            content_type=content_type,
            metadata=metadata,
        )
        provider = self._live.provider()
        if len(flat) <= _writing.LARGE:
            return self._mine(await provider.put(whole, flat, **conditions))
        return self._mine(await _writing.put_large(provider, whole, flat, conditions))

    async def put_stream(
        self,
        key: str,
        source: Any,
        /,
        *,
        size: int | None = None,
        part_size: int | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """Write an object from a source, without holding all of it in memory.

        The object is there only when all of the source came; on an error or a cancellation
        what was sent is given up.

        Args:
            key: the object; replaced where it exists.
            source: a `pathlib.Path`, a binary file object (sync or async `read`), or an iterable
                or async iterable of bytes-like chunks of any sizes.
            size: how many bytes come, where known; anything else is an error.
            part_size: bytes per request; by default chosen from the size. Up to five are held.
            if_absent: as in `put`.
            if_match: as in `put`.
            content_type: as in `put`.
            metadata: as in `put`.

        Raises:
            ObjectChangedError: the source file changed meanwhile, or had not `size` bytes.
            StoreError: as in `put`.
            OSError: the source cannot be read.
        """
        whole = self._whole(key)
        conditions = _arguments.conditions(
            if_absent=if_absent,
            if_match=if_match,
            content_type=content_type,
            metadata=metadata,
        )
        provider = self._live.provider()
        try:
            written = await _writing.put_stream(
                provider, whole, source, conditions, size=size, part=part_size
            )
        except StoreError as error:
            error.at("put_stream", provider.locate(whole))
            raise
        return self._mine(written)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        to: Store | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """Copy an object with its metadata: at the service where it can, else through here.

        Through here, a target that holds no metadata, such as a file, gets the bytes alone.

        Args:
            source: the object.
            target: where to; replaced where it exists.
            to: the store of the target, if it is another.
            if_match: copy only this version of the source.
            if_absent: create the target only.

        Returns:
            The target's metadata.

        Raises:
            NotFoundError: no source.
            ObjectChangedError: the source is not the version of `if_match`, or was replaced
                meanwhile.
            AlreadyExistsError: `if_absent`, and there is a target.
        """
        there = self._to(to)
        here_key, there_key = self._whole(source), there._whole(target)  # noqa: SLF001 - a Store
        if self._same_service(there):
            # The target's, for whoever watches over its writes is asked then.
            provider = there._live.provider()  # noqa: SLF001
            copied = await provider.copy(
                here_key, there_key, if_match=if_match, if_absent=if_absent
            )
            return there._mine(copied)  # noqa: SLF001
        async with self._live.provider().open(here_key, if_match=if_match) as stream:
            found = stream.meta
            carried = there._live.provider().limits.metadata  # noqa: SLF001
            return await there.put_stream(
                target,
                stream,
                size=found.size,
                if_absent=if_absent,
                content_type=found.content_type if carried else None,
                metadata=_visible(found.metadata) if carried else None,
            )

    async def move(
        self, source: str, target: str, /, *, to: Store | None = None, if_absent: bool = False
    ) -> ObjectMeta:
        """Give an object another key, or take it to another store.

        Within one store on disk or in memory it is renamed. Else it is copied, and then the source
        deleted: both are there if the deletion fails.

        Raises:
            NotFoundError: no source.
            AlreadyExistsError: `if_absent`, and there is a target.
            NotSupportedError: the URLs are the same, and only the services' addresses differ, so
                that nobody can tell whether the target is the source: copy, and then delete.
        """
        there = self._to(to)
        if await self._is_itself(source, there, target):
            return await self.head(source)
        keys = self._whole(source), there._whole(target)  # noqa: SLF001 - a Store
        mover: Any = self._live.provider()
        if self._live is there._live and passes_on(mover, Moves):  # noqa: SLF001
            with suppress(NotSupportedError):  # as between two file systems; a copy may do
                return there._mine(await mover.move(*keys, if_absent=if_absent))  # noqa: SLF001
        moved = await self.copy(source, target, to=to, if_absent=if_absent)
        await self.delete(source)
        return moved

    async def delete(
        self,
        keys: str | Iterable[str] | AsyncIterable[str],
        /,
        *,
        missing_ok: bool = True,
    ) -> None:
        """Delete an object, or many in as few requests as the service allows.

        Args:
            keys: one key, or an iterable or async iterable of keys.
            missing_ok: whether an object that is not there counts as deleted.

        Raises:
            NotFoundError: one key, not `missing_ok`, and there is no such object.
            BatchError: many keys, and some failed; it holds an error for each of those.
        """
        if isinstance(keys, str):
            await self._delete_one(keys, missing_ok=missing_ok)
            return
        keys = _arguments.several(keys)
        if isinstance(keys, Collection):
            for key in keys:
                check_key(key)
        present = None if missing_ok else self._present
        await _deleting.delete(self._live.provider(), keys, self._whole, present=present)

    async def delete_prefix(self, prefix: str, /) -> int:
        """Delete every object whose key begins with `prefix`; return their number.

        Also those that others made under keys that a store makes none of, such as `folder/`.

        Args:
            prefix: a beginning of keys, not a folder: write `"a/"` to spare `ab`. `""` is
                everything under the store's path.

        Raises:
            BatchError: some objects failed.
            ReadOnlyError: the store was opened read-only.
        """
        if self.read_only:
            raise ReadOnlyError("opened read-only").at("delete_prefix", str(self.url))
        keys, errors = Keys(self.list(prefix)), list[StoreError]()
        await _deleting.delete(
            self._live.provider(),
            _deleting.listed(keys, errors),
            self._prefix.__add__,
            errors=errors,
        )
        return keys.count

    # ---- many objects at once

    def get_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        /,
        *,
        ordered: bool = False,
        width: int | None = None,
        budget: int = _many.BUDGET,
        gap: int = GAP,
    ) -> Batch[Item, Blob]:
        """Read many objects or spans: `async with store.get_many(keys) as got: async for o in got`.

        How many are read at once is found by itself: more while that is faster, half as many
        when the service says it is too many. Leaving the context cancels the rest.

        Args:
            items: keys; or `ObjectMeta`s, as a listing gives them, of which that version is
                read; or `(key, span)` pairs. Any iterable or async iterable, drawn as needed.
            ordered: hand out outcomes in the items' order, instead of as they end.
            width: most items under way at once; by default what the store's `concurrency` says.
            budget: bytes that are held at once, read and not yet consumed ones together. An
                object larger than all of it is read alone.
            gap: spans of one object that follow one another in `items` are read in one request
                where at most so many unwanted bytes lie between them.

        Returns:
            Outcomes: `outcome.item`, and `outcome.result()`, which is a `Blob` or raises. A
            blob's bytes count against the budget until the next outcome is asked for.
        """
        return _many.get_many(
            self._live.provider(),
            items,
            self._wanted,
            self._mine,
            ordered=ordered,
            width=width,
            budget=budget,
            gap=gap,
            most=self._live.most,
        )

    def put_many(
        self,
        items: Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]],
        /,
        *,
        if_absent: bool = False,
        ordered: bool = False,
        width: int | None = None,
        budget: int = _many.BUDGET,
    ) -> Batch[tuple[str, Any], ObjectMeta]:
        """Write many objects from `(key, data)` pairs; see `get_many`, and `put` for the data.

        `await puts.finish()` runs to the end, where only the errors matter.

        Args:
            items: pairs, drawn as they can be sent.
            if_absent: create only.
            ordered: as in `get_many`.
            width: as in `get_many`.
            budget: bytes of data that are drawn and not yet written.
        """

        async def put(item: tuple[str, Any]) -> ObjectMeta:
            return await self.put(item[0], item[1], if_absent=if_absent)

        return _many.each_of(
            self._live.provider(),
            items,
            put,
            writes=True,
            cost=lambda item: _many.weight(item[1]),
            ordered=ordered,
            width=width,
            budget=budget,
        )

    def head_many(
        self,
        keys: Iterable[str] | AsyncIterable[str],
        /,
        *,
        ordered: bool = False,
        width: int | None = None,
    ) -> Batch[str, ObjectMeta]:
        """Return the metadata of many objects; see `get_many`."""
        return self._each(keys, self.head, writes=False, ordered=ordered, width=width)

    def copy_many(
        self,
        items: Iterable[tuple[str, str]] | AsyncIterable[tuple[str, str]],
        /,
        *,
        to: Store | None = None,
        if_absent: bool = False,
        ordered: bool = False,
        width: int | None = None,
    ) -> Batch[tuple[str, str], ObjectMeta]:
        """Copy many objects, from `(source, target)` pairs; see `copy` and `get_many`."""

        async def copy(item: tuple[str, str]) -> ObjectMeta:
            return await self.copy(item[0], item[1], to=to, if_absent=if_absent)

        return self._each(items, copy, writes=True, ordered=ordered, width=width)

    def delete_many(
        self,
        keys: Iterable[str] | AsyncIterable[str],
        /,
        *,
        ordered: bool = False,
        width: int | None = None,
    ) -> Batch[str, None]:
        """Delete many objects, in as few requests as the service allows, with an outcome for each.

        A missing object counts as deleted. See `get_many`.
        """
        return _many.delete_many(
            self._live.provider(), keys, self._whole, ordered=ordered, width=width
        )

    def _each(
        self,
        items: Any,
        call: Callable[[Any], Any],
        *,
        writes: bool,
        ordered: bool,
        width: int | None,
    ) -> Batch[Any, Any]:
        return _many.each_of(
            self._live.provider(),
            items,
            call,
            writes=writes,
            cost=lambda _: 0,
            ordered=ordered,
            width=width,
            budget=_many.BUDGET,
        )

    def _wanted(self, item: Any, index: int) -> _many.Wanted:
        """Make sense of an item of `get_many`; what is wrong with it is its own outcome."""
        try:
            if type(item) is str:
                return _many.Wanted(item, index, self._whole(item))
            if isinstance(item, ObjectMeta):
                key = self._prefix + check_listed(item.key)
                return _many.Wanted(item, index, key, etag=item.etag, size=item.size)
            key, spanlike = item
            span = Span.of(spanlike)
            ends = _reading.closed(span)
            size = None if ends is None else ends[1] - ends[0]
            return _many.Wanted(item, index, self._whole(key), span, size=size)
        except StoreError as error:
            return _many.Wanted(item, index, "", error=error)

    # ---- folders

    async def download(
        self,
        source: str | Iterable[str],
        folder: PathLike,
        /,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        keys_from: str | os.PathLike[str] | None = None,
        failures_to: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        durability: Durability = "deferred",
        progress: bool | Callable[[Progress], None] = False,
        width: int | None = None,
        budget: int = _many.BUDGET,
    ) -> Report:
        """Copy objects to files of a local folder; run it again to go on where it was stopped.

        Each file appears under its name when it is whole and verified. No key leads out of the
        folder: what would is a failure. See `sync` for the arguments that are not here.

        Args:
            source: a folder of this store, such as `"photos"`, whose objects come to lie in
                `folder` by the rest of their keys, or `""` for all; or keys, of which each comes
                to lie in `folder` by the whole of it.
            folder: a local path; made where it is missing.
            include: as in `sync`, as are those up to `dry_run`.
            exclude: see there.
            keys_from: see there.
            failures_to: see there.
            dry_run: see there.
            durability: `"deferred"` flushes everything to the disk once, before this returns;
                `"full"` each file before it gets its name.
            progress: as in `sync`, as are the following.
            width: see there.
            budget: see there.

        Raises:
            StoreError: as in `sync`.
        """
        keys = None if isinstance(source, str) else source
        here = self._below(source) if isinstance(source, str) else self
        async with _transfers.beside(folder, progress, durability) as there:
            return await _transfers.transfer(
                here,
                there,
                "download",
                keys=keys,
                include=include,
                exclude=exclude,
                keys_from=keys_from,
                failures_to=failures_to,
                dry_run=dry_run,
                progress=progress,
                width=width,
                budget=budget,
            )

    async def upload(
        self,
        folder: PathLike,
        target: str = "",
        /,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        keys_from: str | os.PathLike[str] | None = None,
        failures_to: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        progress: bool | Callable[[Progress], None] = False,
        width: int | None = None,
        budget: int = _many.BUDGET,
    ) -> Report:
        """Copy the files of a local folder to objects; run it again to go on.

        Symbolic links, pipes, sockets and devices in the folder are no objects, and stay behind.
        See `sync` for the arguments that are not here.

        Args:
            folder: a local path.
            target: the folder of this store that comes to hold what the local one holds.
            include: as in `sync`, as are the following.
            exclude: see there.
            keys_from: see there.
            failures_to: see there.
            dry_run: see there.
            progress: see there.
            width: see there.
            budget: see there.

        Raises:
            NotFoundError: there is no such local folder.
            StoreError: as in `sync`.
        """
        async with _transfers.beside(folder, progress) as here:
            if not await run_sync(os.path.isdir, str(here.url)):
                raise NotFoundError("no such folder").at("upload", str(here.url))
            return await _transfers.transfer(
                here,
                self._below(target),
                "upload",
                include=include,
                exclude=exclude,
                keys_from=keys_from,
                failures_to=failures_to,
                dry_run=dry_run,
                progress=progress,
                width=width,
                budget=budget,
            )

    async def sync(
        self,
        target: Store,
        prefix: str = "",
        /,
        *,
        delete: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        keys_from: str | os.PathLike[str] | None = None,
        failures_to: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        progress: bool | Callable[[Progress], None] = False,
        width: int | None = None,
        budget: int = _many.BUDGET,
    ) -> Report:
        """Make another store hold what this one holds, under the same keys.

        An object is skipped if it is known to be there: by checksum, or because an earlier run
        wrote and verified it and neither side's ETag has changed since; never for its name and
        size alone. Large objects that a killed run began are gone on with, where the target
        is a file, S3, Google or a hub's. Within one service, objects are copied at the service.

        Args:
            target: any store.
            prefix: only this folder, on both sides. `(a / "x").sync(b / "y")` has two names.
            delete: remove from the target what the source has not; only when everything else
                succeeded, and both sides were listed to their proven end.
            include: glob patterns, of which a key must match one, where there are any; `*`
                matches slashes too.
            exclude: patterns of keys that stay as they are on both sides.
            keys_from: a file of keys to transfer: what `failures_to` wrote, or a key a line.
            failures_to: a file to write the failures to, a JSON object a line.
            dry_run: change nothing; the report's `planned` says what would be done.
            progress: `True` for a bar in the terminal or the notebook; or a function that is
                called with a `Progress`, on the event loop, some ten times a second.
            width: most objects under way at once; by default what both stores bear.
            budget: bytes that are held in memory at once.

        Returns:
            A report: counts, bytes, and `failures`, which hold an error for each object that
            was not transferred, while the others were. Look at `report.ok`.

        Raises:
            NotFoundError: no such bucket.
            IntegrityError: a listing is not provably complete.
            InvalidPathError: one of the two lies in the other.
            ConfigurationError: the arguments contradict each other, or a file of keys is none.
        """
        _transfers.check_store(target)
        return await _transfers.transfer(
            self._below(prefix),
            target._below(prefix),
            "sync",
            delete=delete,
            include=include,
            exclude=exclude,
            keys_from=keys_from,
            failures_to=failures_to,
            dry_run=dry_run,
            progress=progress,
            width=width,
            budget=budget,
        )

    def _below(self, folder: str) -> Store:
        return self.child(folder) if folder else self

    # ---- the rest

    async def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """Return a URL that works for one method on one key without credentials.

        Args:
            key: the object, which need not exist.
            method: what the URL is good for.
            expires: seconds, at most 7 days.
            content_type: what a `PUT` must send.

        Raises:
            NotSupportedError: the service has no such URLs.
            ConfigurationError: `method` or `expires` is none, or the credentials cannot sign.
            ReadOnlyError: a writing method in a read-only store.
        """
        _arguments.check_signing(method, expires)
        whole = self._whole(key)
        provider = self._live.provider()
        if self.read_only and method in ("PUT", "DELETE"):
            raise ReadOnlyError("opened read-only").at("presign", provider.locate(whole))
        signer = ability(provider, Presigns)  # type: ignore[type-abstract]
        if signer is None:
            raise NotSupportedError("this service has no presigned URLs").at(
                "presign", provider.locate(whole)
            )
        sign = partial(
            signer.presign, whole, method=method, expires=expires, content_type=content_type
        )
        return await self._live.there(sign)

    async def diagnose(self, *, try_writes: bool = False) -> dict[str, Any]:
        """Tell what would be used, and what the service supports, without secrets.

        Args:
            try_writes: find out also what only writes can tell, such as whether conditions are
                kept, on objects below this path of names that nobody has, and remove them.
                Otherwise what was not needed yet is `"not tried"`.

        Raises:
            ReadOnlyError: `try_writes`, and the store is read-only.
            StoreError: there are no credentials, or a trial was refused or failed.
        """
        facts: dict[str, Any] = {"url": str(self.url), "scheme": self.url.scheme}
        provider = self._live.provider()
        if try_writes:
            if self.read_only:
                raise ReadOnlyError("opened read-only").at("diagnose", str(self.url))
            trier = ability(provider, TriesWrites)  # type: ignore[type-abstract]
            if trier is not None:
                await self._live.there(partial(trier.try_writes, self._prefix))
        found = ability(provider, Diagnoses)  # type: ignore[type-abstract]
        if found is not None:
            facts.update(await self._live.there(found.diagnose))
        return facts

    def child(self, path: str, /) -> Store:
        """Return the store of a path below, over the same connections; as `store / path`.

        It is closed with this one. Close it itself only where this one is gone.

        Raises:
            InvalidPathError: `path` is not a legal key.
        """
        below = check_key(path.removesuffix("/") if isinstance(path, str) else path)
        return Store(self._live, self.url.join(below), f"{self._prefix}{below}/")

    def guarded(self, guard: Guard, /) -> Store:
        """Return a store of the same place, over the same connections, that asks before it writes.

        It is closed with this one, and pickles as a read-only store.

        Args:
            guard: its `before_write` is awaited before every write; what it raises is raised.
        """
        return Store(Watched(self._live, guard), self.url, self._prefix)

    def __truediv__(self, path: str) -> Store:
        return self.child(path)

    def with_secrets(self) -> Store:
        """Return a store of the same place whose pickle holds the credentials.

        Whoever reads the pickle has them: send it over a private channel only.
        """
        from asyncstore.store._open import store_of  # noqa: PLC0415 - the two need each other

        recipe = replace(self._live.recipe, keep_secrets=True)
        return store_of(recipe, self.url, self._prefix)

    @property
    def provider(self) -> Provider:
        """The provider with its layers, for the running event loop; its keys have the prefix."""
        return self._live.provider()

    @property
    def prefix(self) -> str:
        """What precedes this store's keys at the provider: `""`, or ends in `/`."""
        return self._prefix

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        return self._live.read_only

    async def aclose(self) -> None:
        """Free connections and flush what was deferred; twice is as once.

        For a store made by `child`, this does nothing while the store it came from lives.
        """
        if self._live.belongs_to(self):
            await self._live.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Store({str(self.url)!r}{', read_only=True' if self.read_only else ''})"

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Recipe, StoreURL, str]]:
        from asyncstore.store._open import store_of  # noqa: PLC0415

        return store_of, (self._live.recipe.without_secrets(), self.url, self._prefix)

    # ---- keys, in and out

    def _whole(self, key: str) -> str:
        """Check a key and put the prefix before it."""
        whole = self._prefix + check_key(key)
        if self._strip and len(whole) > _SHORT:
            check_key(whole)
        return whole

    def _to(self, other: Store | None) -> Store:
        """Return the store that a copy goes to."""
        if other is not None and not isinstance(other, Store):
            raise TypeError(f"to= is a Store, not {type(other).__name__}: write to=open_store(…)")
        return self if other is None else other

    def _same_service(self, other: Store) -> bool:
        """Whether one provider reaches both with the same rights."""
        if self._live is other._live:
            return True
        mine, theirs = self._live.recipe, other._live.recipe
        return (
            mine.provider is None
            and theirs.provider is None
            and mine.url.scheme == theirs.url.scheme != "file"
            and mine.url.bucket == theirs.url.bucket
            and (mine.url.scheme != "hub" or _set_of(mine.url) == _set_of(theirs.url))
            and mine.settings == theirs.settings
            and not other._live.read_only
        )

    async def _is_itself(self, source: str, there: Store, target: str) -> bool:
        """Whether a move would delete what it has written."""
        here_url, there_url = self.url.join(source), there.url.join(target)
        if self._live is not there._live and here_url.scheme == there_url.scheme == "file":
            one, other = await run_sync(_real, here_url.path), await run_sync(_real, there_url.path)
            return one == other
        if here_url != there_url:
            return False
        mine, theirs = self._live.recipe.settings, there._live.recipe.settings
        if self._live is not there._live and mine.endpoint_url != theirs.endpoint_url:
            raise NotSupportedError(
                "the source and the target have the same URL; copy, and then delete"
            ).at("move", str(here_url))
        return True

    async def _delete_one(self, key: str, *, missing_ok: bool) -> None:
        whole = self._whole(key)
        provider = self._live.provider()
        if not missing_ok:
            await provider.head(whole)
        for error in (await provider.delete([whole])).values():
            raise error

    async def _present(
        self, keys: Sequence[str], errors: MutableSequence[StoreError]
    ) -> Sequence[str]:
        """Return the keys that have an object, in no order; add errors for the others."""
        present: MutableSequence[str] = []

        async def look(key: str) -> None:
            try:
                await self.head(key)
            except StoreError as error:
                errors.append(error)
            else:
                present.append(key)

        await each(keys, look, width=_HEADS)
        return present


_SHORT = 256  # characters that are at most 1,024 bytes in UTF-8
_HEADS = 32


class _Streaming:
    """A stream with the store's own metadata; the provider's is opened on entry."""

    __slots__ = ("_if_match", "_inner", "_key", "_provider", "_span", "_store")

    def __init__(
        self,
        store: Store,
        provider: Callable[[], Provider],
        key: str,
        span: Span,
        if_match: str | None,
    ) -> None:
        self._store = store
        self._provider = provider
        self._key = key
        self._span = span
        self._if_match = if_match
        self._inner: AbstractAsyncContextManager[Stream] | None = None

    async def __aenter__(self) -> Stream:
        inner = self._provider().open(self._key, span=self._span, if_match=self._if_match)
        stream = await inner.__aenter__()
        self._inner = inner
        stream.meta = self._store._mine(stream.meta)  # noqa: SLF001
        return stream

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._inner is None:
            return None
        return await self._inner.__aexit__(kind, error, trace)


def _real(path: str) -> str:
    """Follow the links to a file's folder; a file itself is never reached through one."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _own(strip: int, meta: ObjectMeta) -> ObjectMeta:
    """Return metadata with a store's own key, and without the library's own marks.

    Args:
        strip: characters of the key that are the store's path.
        meta: as a provider gives it.
    """
    metadata = meta.metadata
    if WRITE_ID in metadata:
        metadata = _visible(metadata)
    elif not strip:
        return meta
    return ObjectMeta(
        meta.key[strip:],
        meta.size,
        etag=meta.etag,
        version=meta.version,
        modified=meta._modified,  # noqa: SLF001 - unparsed, which is quicker
        content_type=meta.content_type,
        metadata=metadata,
        checksums=meta.checksums,
    )


def _visible(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name != WRITE_ID}


def _set_of(url: StoreURL) -> str:
    """Return the name of a hub's data set, which is a place and rights of its own."""
    return url.path.partition("/")[0]


__all__ = ["Store"]
