"""The local provider: a folder as a bucket, files as objects."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore.errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    StoreError,
    UnavailableError,
)
from asyncstore.provider import Resumed
from asyncstore.providers.local import faults, reading
from asyncstore.providers.local.copying import clone
from asyncstore.providers.local.flushing import Deferred, Flush
from asyncstore.providers.local.grouping import Pace, put_group
from asyncstore.providers.local.keeping import KeptDraft, kept_name
from asyncstore.providers.local.listing import Lister
from asyncstore.providers.local.locking import locked
from asyncstore.providers.local.moving import move_object, move_prefix
from asyncstore.providers.local.reading import Source, meta_of
from asyncstore.providers.local.streaming import FileStream
from asyncstore.providers.local.threads import check_cancelled, run, run_all
from asyncstore.providers.local.tree import NAME_BYTES, Root, parts_of
from asyncstore.providers.local.uploading import Parts
from asyncstore.providers.local.writing import Draft
from asyncstore.types import WHOLE, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from asyncstore.types import Blob, Buffer, Durability, ObjectMeta, Page, Span

T = TypeVar("T")

_TiB = 1 << 40


class LocalProvider:
    """Files below a folder.

    Objects carry no metadata of the user's, and `k` cannot be beside `k/sub`. Symbolic links
    below the root are not followed, pipes, sockets and devices not opened, and none of them is
    listed.

    Args:
        root: the folder's absolute path; made when something is first written.
        durability: `"full"`: an acknowledged write outlives a power cut. `"deferred"`: writes are
            flushed once, by `aclose`; see `asyncstore.providers.local.flushing`.
    """

    limits = Limits(
        put=8 * _TiB,
        part_min=1,
        part_max=8 * _TiB,
        parts=1_000_000,
        object_max=8 * _TiB,
        delete=10_000,
        segment=NAME_BYTES,
        metadata=False,
    )

    def __init__(self, root: str, *, durability: Durability = "full") -> None:
        self._root = Root(root)
        self._flush = Flush() if durability == "full" else Deferred()
        self._lister = Lister(self._root)
        self._durability = durability
        self._pace = Pace()

    def locate(self, key: str, /) -> str:
        """Return the file's path."""
        return f"{self._root.path.rstrip('/')}/{key}"

    async def head(self, key: str, /) -> ObjectMeta:
        """See `Provider.head`."""
        return await self._run("head", key, partial(reading.head, self._root, key))

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`."""
        call = partial(reading.get, self._root, key, span, into, if_match=if_match, most=most)
        return await self._run("get", key, call)

    @asynccontextmanager
    async def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AsyncIterator[FileStream]:
        """See `Provider.open`; the next chunk is read while the caller has one."""
        call = partial(Source, self._root, key, if_match)
        source = await self._run("open", key, call, dispose=Source.close)
        stream = FileStream(key, self.locate(key), source, span)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """See `Provider.put`."""
        self._refuse_metadata("put", key, content_type, metadata)

        def call() -> ObjectMeta:
            with self._draft(key) as draft:
                draft.write(data)
                return meta_of(key, draft.publish(if_match=if_match, if_absent=if_absent))

        return await self._run("put", key, call)

    async def put_group(
        self, items: Sequence[tuple[str, Buffer]], /
    ) -> Sequence[ObjectMeta | None]:
        """See `PutsGroup.put_group`; one thread does it, or some where the disk is slow."""
        share = -(-len(items) // self._pace.threads(len(items)))
        calls = [
            partial(put_group, self._root, self._flush, items[at : at + share], self._pace)
            for at in range(0, len(items), share)
        ]
        return [meta for found in await run_all(calls) for meta in found]

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,  # noqa: ARG002 - the contract's name
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> FileUpload:
        """See `Provider.begin_upload`; parts are written to where they belong."""
        self._refuse_metadata("begin_upload", key, content_type, metadata)
        make = partial(Draft, self._root, key, self._flush)
        parts = await self._run("begin_upload", key, lambda: Parts(make), dispose=Parts.abort)
        finish = partial(parts.complete, if_match=if_match, if_absent=if_absent)
        return FileUpload(key, self.locate(key), parts, finish)

    async def resume_upload(
        self,
        key: str,
        token: str,
        /,
        *,
        size: int,
        part: int,
        sums: Mapping[int, int],
        check: Callable[[Buffer], int],
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Resumed:
        """See `ResumesUploads.resume_upload`; parts count if the file holds what was recorded."""
        self._refuse_metadata("begin_upload", key, content_type, metadata)
        make = partial(Draft, self._root, key, self._flush)

        def call() -> tuple[Parts, frozenset[int]]:
            main = KeptDraft(self._root, key, self._flush, fresh=not token)
            parts = Parts(make, main, part)
            try:
                return parts, parts.find(size, sums, check) if token else frozenset()
            except BaseException:
                parts.abort()
                raise

        parts, present = await self._run(
            "begin_upload", key, call, dispose=lambda made: made[0].abort()
        )
        finish = partial(parts.complete, if_match=None, if_absent=if_absent)
        return Resumed(FileUpload(key, self.locate(key), parts, finish), present)

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """See `ResumesUploads.drop_uploads`; the file's name follows from the key."""
        del token, since

        def call() -> None:
            with suppress(UnavailableError):  # somebody is writing it: it is theirs
                KeptDraft(self._root, key, self._flush, fresh=True).discard()

        await self._run("abort", key, call)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """See `Provider.copy`; the file system shares the blocks where it can."""

        def call() -> ObjectMeta:
            with Source(self._root, source, if_match) as old:
                if source == target:
                    if if_absent:
                        raise AlreadyExistsError("there is an object")
                    return meta_of(target, old.state)
                with self._draft(target) as draft:
                    clone(old.fd, draft.fd, old.size)
                    old.check_unchanged()
                    return meta_of(target, draft.publish(if_match=None, if_absent=if_absent))

        return await self._run("copy", source, call)

    async def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectMeta:
        """See `Moves.move`; one `rename`, or for create-only a second name and the first's end."""

        def call() -> ObjectMeta:
            state = move_object(self._root, self._flush, source, target, if_absent=if_absent)
            return meta_of(target, state)

        return await self._run("move", source, call)

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`; folders that become empty go too, but for the root."""
        failed: dict[str, StoreError] = {}
        await self._run("delete", "", partial(self._delete, sorted(set(keys)), failed))
        return failed

    async def list_page(
        self,
        prefix: str,
        /,
        *,
        cursor: str | None = None,
        after: str | None = None,
        delimiter: bool = False,
        limit: int = 1000,
    ) -> Page:
        """See `Provider.list_page`; sorted, and a page costs what is on it."""
        call = partial(self._lister.page, prefix, cursor, after, delimiter=delimiter, limit=limit)
        return await self._run("list", prefix, call)

    async def move_prefix(self, source: str, target: str, /) -> None:
        """See `MovesPrefix.move_prefix`; one `rename`."""
        await self._run(
            "move", source, partial(move_prefix, self._root, self._flush, source, target)
        )

    async def diagnose(self) -> Mapping[str, Any]:
        """See `Diagnoses.diagnose`."""
        return await self._run("diagnose", "", self._facts)

    async def flush(self) -> None:
        """See `Flushes.flush`."""
        await self._run("flush", "", self._flush.finish)

    async def aclose(self) -> None:
        """See `Provider.aclose`; with deferred durability, everything is on the disk then."""
        await self._run("close", "", self._flush.finish)

    async def _run(
        self,
        op: str,
        key: str,
        call: Callable[[], T],
        *,
        dispose: Callable[[T], None] | None = None,
    ) -> T:
        with told(op, self.locate(key)):
            return await run(call, dispose=dispose)

    @contextmanager
    def _draft(self, key: str) -> Iterator[Draft]:
        draft = Draft(self._root, key, self._flush)
        try:
            yield draft
        finally:
            draft.discard()

    def _refuse_metadata(
        self, op: str, key: str, content_type: str | None, metadata: Mapping[str, str] | None
    ) -> None:
        if content_type is not None or metadata:
            raise NotSupportedError(
                "files carry no metadata and no content type; leave them out, or keep them in an "
                "object of their own",
                op=op,
                url=self.locate(key),
            )

    def _delete(self, keys: Sequence[str], failed: dict[str, StoreError]) -> None:
        for folder, group in groupby(keys, key=lambda key: key.rpartition("/")[0]):
            names = list(group)
            try:
                folders = parts_of(folder) if folder else []
                self._delete_in(folders, names, failed)
            except (FileNotFoundError, NotFoundError):
                continue  # nothing is there to be deleted
            except (OSError, StoreError) as error:
                reason = faults.translated(error) if isinstance(error, OSError) else error
                for key in names:
                    failed.setdefault(key, reason.at("delete", self.locate(key)))

    def _delete_in(
        self, folders: list[str], keys: Sequence[str], failed: dict[str, StoreError]
    ) -> None:
        fd = self._root.open(folders)
        try:
            for key in keys:
                check_cancelled()
                try:
                    _unlink(fd, parts_of(key)[-1])
                except OSError as error:
                    failed[key] = faults.translated(error).at("delete", self.locate(key))
                except StoreError as error:
                    failed[key] = error.at("delete", self.locate(key))
        finally:
            os.close(fd)
        left = self._root.prune(folders)
        if left is not None:
            try:
                self._flush.folder(left)
            finally:
                os.close(left)

    def _facts(self) -> Mapping[str, Any]:
        path = self._root.path
        there = path
        while not os.path.exists(there):
            there = os.path.dirname(there)
        return {
            "endpoint": path,
            "source": f"user id {os.getuid()}" if hasattr(os, "getuid") else "this user",
            "exists": there == path,
            "free_bytes": shutil.disk_usage(there).free,
            "capabilities": {
                "conditional_put": True,
                "metadata": False,
                "move_prefix": True,
                "durability": self._durability,
                "writable": os.access(there, os.W_OK | os.X_OK),
            },
        }


class FileUpload:
    """See `Upload`."""

    def __init__(
        self, key: str, url: str, parts: Parts, finish: Callable[[], os.stat_result]
    ) -> None:
        self._key = key
        self._url = url
        self._parts = parts
        self._finish = finish

    @property
    def token(self) -> str:
        """See `LastingUpload.token`; the file's name follows from the key."""
        return kept_name(self._key.rpartition("/")[2])

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """See `Upload.put_part`."""
        with told("put_part", self._url):
            await run(partial(self._parts.put, number, data))

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`."""
        with told("complete", self._url):
            return meta_of(self._key, await run(self._finish))

    async def abort(self) -> None:
        """See `Upload.abort`."""
        with told("abort", self._url):
            await run(self._parts.abort)

    async def leave(self) -> None:
        """See `LastingUpload.leave`."""
        with told("leave", self._url):
            await run(self._parts.leave)


@contextmanager
def told(op: str, url: str) -> Iterator[None]:
    """Raise what the system says as the library's errors, with the place."""
    try:
        yield
    except StoreError as error:
        error.at(op, url)
        raise
    except OSError as error:
        raise faults.translated(error).at(op, url) from None
    except UnicodeEncodeError:
        raise InvalidPathError("the key is no Unicode text").at(op, url) from None


def _unlink(folder: int, name: str) -> None:
    """Remove an object; what is none is left, and a folder is no object."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            return
        if not stat.S_ISREG(mode):
            raise faults.odd(mode)
        with locked(folder, exclusive=False):
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
