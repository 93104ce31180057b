"""`Store` without `await`: each method is the async one, run on the background loop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, TypeGuard

from asyncstore import store as _async
from asyncstore.background import Held, Iterating, run
from asyncstore.errors import BatchError, StoreError
from asyncstore.sync._batch import Batch, drawn
from asyncstore.types import WHOLE, Blob, Durability, ObjectMeta

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
    from types import TracebackType

    from asyncstore.layers import Event, RetryPolicy
    from asyncstore.store import Item
    from asyncstore.transfer import Progress, Report
    from asyncstore.types import SpanLike, Stream
    from asyncstore.url import PathLike, StoreURL

_AHEAD = 64  # items that are drawn from an iterator at once
_KEYS = 10_000  # how many keys of an iterable cross at once


class Store:
    """The objects under one path of a storage service. Made by `open_store`.

    As `asyncstore.Store`, without `await`; use it with `with`, or `close()` it at the end.
    """

    __slots__ = ("_store",)

    def __init__(self, store: _async.Store, /) -> None:
        self._store = store

    @property
    def url(self) -> StoreURL:
        """Where it is."""
        return self._store.url

    @property
    def prefix(self) -> str:
        """See `asyncstore.Store.prefix`."""
        return self._store.prefix

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        return self._store.read_only

    # ---- reading

    def get(self, key: str, /, *, span: SpanLike = WHOLE, if_match: str | None = None) -> Blob:
        """Read an object, or a span of it. See `asyncstore.Store.get`."""
        return run(partial(self._store.get, key, span=span, if_match=if_match))

    def get_into(
        self, key: str, buffer: Any, /, *, span: SpanLike = WHOLE, if_match: str | None = None
    ) -> Blob:
        """Read into memory that is there already. See `asyncstore.Store.get_into`."""
        return run(partial(self._store.get_into, key, buffer, span=span, if_match=if_match))

    def get_range(
        self,
        key: str,
        start: int | None,
        stop: int | None = None,
        /,
        *,
        if_match: str | None = None,
    ) -> Blob:
        """Read bytes `[start, stop)`. See `asyncstore.Store.get_range`."""
        return run(partial(self._store.get_range, key, start, stop, if_match=if_match))

    def get_ranges(
        self,
        key: str,
        spans: Sequence[SpanLike],
        /,
        *,
        gap: int = _async.GAP,
        if_match: str | None = None,
    ) -> Sequence[Blob]:
        """Read several spans of one version. See `asyncstore.Store.get_ranges`."""
        return run(partial(self._store.get_ranges, key, spans, gap=gap, if_match=if_match))

    def stream(
        self, key: str, /, *, span: SpanLike = WHOLE, if_match: str | None = None
    ) -> Streaming:
        """Read an object as it arrives: `with store.stream(key) as s: for view in s`.

        See `asyncstore.Store.stream`.
        """
        return Streaming(partial(self._store.stream, key, span=span, if_match=if_match))

    def head(self, key: str, /) -> ObjectMeta:
        """Return an object's metadata. See `asyncstore.Store.head`."""
        return run(partial(self._store.head, key))

    def exists(self, key: str, /) -> bool:
        """Say whether there is such an object. See `asyncstore.Store.exists`."""
        return run(partial(self._store.exists, key))

    def list(self, prefix: str = "", /, *, after: str | None = None) -> Iterator[ObjectMeta]:
        """Iterate over objects whose keys begin with `prefix`. See `asyncstore.Store.list`."""
        source = self._store.list(prefix, after=after)
        return Iterating(lambda: source)

    def walk(
        self, prefix: str = "", /
    ) -> Iterator[tuple[str, MutableSequence[str], Sequence[ObjectMeta]]]:
        """Iterate over folders from the top. See `asyncstore.Store.walk`."""
        # One at a time: the caller may take folders out before the next is entered.
        return Iterating(partial(self._store.walk, prefix), most=1)

    # ---- writing

    def put(
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
        """Write a whole object. See `asyncstore.Store.put`."""
        return run(
            partial(
                self._store.put,
                key,
                data,
                if_absent=if_absent,
                if_match=if_match,
                content_type=content_type,
                metadata=metadata,
            )
        )

    def put_stream(
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
        """Write an object from a source. See `asyncstore.Store.put_stream`.

        An iterable is drawn in another thread.
        """
        return run(
            partial(
                self._store.put_stream,
                key,
                source,
                size=size,
                part_size=part_size,
                if_absent=if_absent,
                if_match=if_match,
                content_type=content_type,
                metadata=metadata,
            )
        )

    def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        to: Store | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """Copy an object with its metadata. See `asyncstore.Store.copy`."""
        there = None if to is None else to._store  # noqa: SLF001 - a Store
        return run(
            partial(
                self._store.copy,
                source,
                target,
                to=there,
                if_match=if_match,
                if_absent=if_absent,
            )
        )

    def move(
        self, source: str, target: str, /, *, to: Store | None = None, if_absent: bool = False
    ) -> ObjectMeta:
        """Copy an object, then delete the source. See `asyncstore.Store.move`."""
        there = None if to is None else to._store  # noqa: SLF001 - a Store
        return run(partial(self._store.move, source, target, to=there, if_absent=if_absent))

    def delete(self, keys: str | Iterable[str], /, *, missing_ok: bool = True) -> None:
        """Delete an object, or many. See `asyncstore.Store.delete`."""
        if isinstance(keys, str):
            run(partial(self._store.delete, keys, missing_ok=missing_ok))
            return
        errors: MutableSequence[StoreError] = []
        iterator = iter(keys)  # drawn here: it may use this very store
        while batch := tuple(islice(iterator, _KEYS)):
            try:
                run(partial(self._store.delete, batch, missing_ok=missing_ok))
            except BatchError as group:
                errors.extend(_leaves(group))
        if errors:
            raise BatchError(f"{len(errors)} objects were not deleted", errors)

    def delete_prefix(self, prefix: str, /) -> int:
        """Delete every object whose key begins so. See `asyncstore.Store.delete_prefix`."""
        return run(partial(self._store.delete_prefix, prefix))

    # ---- many objects at once

    def get_many(
        self,
        items: Iterable[Item],
        /,
        *,
        ordered: bool = False,
        width: int | None = None,
        budget: int = _async.BUDGET,
        gap: int = _async.GAP,
    ) -> Batch[Item, Blob]:
        """Read many objects or spans: `with store.get_many(keys) as got: for outcome in got`.

        See `asyncstore.Store.get_many`. An iterator is drawn in another thread.
        """
        return Batch(
            partial(
                self._store.get_many,
                drawn(items, _AHEAD),
                ordered=ordered,
                width=width,
                budget=budget,
                gap=gap,
            )
        )

    def put_many(
        self,
        items: Iterable[tuple[str, Any]],
        /,
        *,
        if_absent: bool = False,
        ordered: bool = False,
        width: int | None = None,
        budget: int = _async.BUDGET,
    ) -> Batch[tuple[str, Any], ObjectMeta]:
        """Write many objects from `(key, data)` pairs. See `asyncstore.Store.put_many`.

        An iterator is drawn in another thread, a pair at a time.
        """
        return Batch(
            partial(
                self._store.put_many,
                drawn(items, 1),
                if_absent=if_absent,
                ordered=ordered,
                width=width,
                budget=budget,
            )
        )

    def head_many(
        self, keys: Iterable[str], /, *, ordered: bool = False, width: int | None = None
    ) -> Batch[str, ObjectMeta]:
        """Return the metadata of many objects. See `asyncstore.Store.head_many`."""
        return Batch(
            partial(self._store.head_many, drawn(keys, _AHEAD), ordered=ordered, width=width)
        )

    def copy_many(
        self,
        items: Iterable[tuple[str, str]],
        /,
        *,
        to: Store | None = None,
        if_absent: bool = False,
        ordered: bool = False,
        width: int | None = None,
    ) -> Batch[tuple[str, str], ObjectMeta]:
        """Copy many objects. See `asyncstore.Store.copy_many`."""
        there = None if to is None else to._store  # noqa: SLF001 - a Store
        return Batch(
            partial(
                self._store.copy_many,
                drawn(items, _AHEAD),
                to=there,
                if_absent=if_absent,
                ordered=ordered,
                width=width,
            )
        )

    def delete_many(
        self, keys: Iterable[str], /, *, ordered: bool = False, width: int | None = None
    ) -> Batch[str, None]:
        """Delete many objects. See `asyncstore.Store.delete_many`."""
        return Batch(
            partial(self._store.delete_many, drawn(keys, _AHEAD), ordered=ordered, width=width)
        )

    # ---- folders

    def download(
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
        budget: int = _async.BUDGET,
    ) -> Report:
        """Copy objects to files of a local folder. See `asyncstore.Store.download`."""
        return run(
            partial(
                self._store.download,
                tuple(source) if _are_keys(source) else source,
                folder,
                include=include,
                exclude=exclude,
                keys_from=keys_from,
                failures_to=failures_to,
                dry_run=dry_run,
                durability=durability,
                progress=progress,
                width=width,
                budget=budget,
            )
        )

    def upload(
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
        budget: int = _async.BUDGET,
    ) -> Report:
        """Copy the files of a local folder to objects. See `asyncstore.Store.upload`."""
        return run(
            partial(
                self._store.upload,
                folder,
                target,
                include=include,
                exclude=exclude,
                keys_from=keys_from,
                failures_to=failures_to,
                dry_run=dry_run,
                progress=progress,
                width=width,
                budget=budget,
            )
        )

    def sync(
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
        budget: int = _async.BUDGET,
    ) -> Report:
        """Make another store hold what this one holds. See `asyncstore.Store.sync`."""
        return run(
            partial(
                self._store.sync,
                target._store if isinstance(target, Store) else target,
                prefix,
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
        )

    # ---- the rest

    def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """Return a URL that works without credentials. See `asyncstore.Store.presign`."""
        return run(
            partial(
                self._store.presign,
                key,
                method=method,
                expires=expires,
                content_type=content_type,
            )
        )

    def diagnose(self, *, try_writes: bool = False) -> dict[str, Any]:
        """Tell what would be used. See `asyncstore.Store.diagnose`."""
        return run(partial(self._store.diagnose, try_writes=try_writes))

    def child(self, path: str, /) -> Store:
        """Return the store of a path below. See `asyncstore.Store.child`."""
        return Store(self._store.child(path))

    def __truediv__(self, path: str) -> Store:
        return self.child(path)

    def with_secrets(self) -> Store:
        """Return a store whose pickle holds the credentials; see the async one."""
        return Store(self._store.with_secrets())

    def close(self) -> None:
        """Free connections and flush what was deferred. See `asyncstore.Store.aclose`."""
        run(self._store.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"sync.{self._store!r}"


class Streaming:
    """A stream as a context manager and an iterator of views.

    Attributes:
        meta: the object's metadata, once entered.
        start: the first byte's position in the object.
    """

    def __init__(self, make: Callable[[], Any], /) -> None:
        self._held: Held[Stream] = Held(make)
        self.meta: ObjectMeta
        self.start: int

    def __enter__(self) -> Self:
        self._stream = self._held.enter()
        self.meta = self._stream.meta
        self.start = self._stream.start
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.leave(error)

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        view = self._held.run(self._next)
        if view is None:
            raise StopIteration
        return view

    async def _next(self) -> memoryview | None:
        return await anext(self._stream, None)


def _are_keys(source: str | Iterable[str]) -> TypeGuard[Iterable[str]]:
    """Whether these are keys, to be drawn here, as drawing may use this very store."""
    return isinstance(source, Iterable) and not isinstance(source, str)


def _leaves(group: BatchError) -> Sequence[StoreError]:
    return [error for error in group.exceptions if isinstance(error, StoreError)]


def open_store(
    path: PathLike,
    /,
    *,
    creds: Any = None,
    token: str | None = None,
    hub_url: str | None = None,
    read_only: bool = False,
    endpoint_url: str | None = None,
    region: str | None = None,
    retry: RetryPolicy | None = None,
    concurrency: int = 512,
    deadline: float | None = 300.0,
    durability: Durability = "full",
    checksums: bool = True,
    allow_http: bool = False,
    ca_bundle: str | os.PathLike[str] | None = None,
    trace: Callable[[Event], None] | None = None,
    hedge: bool = False,
) -> Store:
    """Open a path as a `Store`. Nothing is sent until it is used. See `asyncstore.open_store`."""
    return Store(
        _async.open_store(
            path,
            creds=creds,
            token=token,
            hub_url=hub_url,
            read_only=read_only,
            endpoint_url=endpoint_url,
            region=region,
            retry=retry,
            concurrency=concurrency,
            deadline=deadline,
            durability=durability,
            checksums=checksums,
            allow_http=allow_http,
            ca_bundle=ca_bundle,
            trace=trace,
            hedge=hedge,
        )
    )
