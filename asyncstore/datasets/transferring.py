"""A dataset's objects from one place to another: all of them, checked, or none."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from asyncstore.datasets.deleting import claimed, clear
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetExistsError,
    IntegrityError,
    InvalidPathError,
    NotSupportedError,
    ObjectChangedError,
    StoreError,
)
from asyncstore.format import FIRST_COMMIT
from asyncstore.format.keys import HISTORY, META
from asyncstore.store._together import each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from asyncstore.datasets.site import Site
    from asyncstore.types import ObjectMeta
    from asyncstore.url import StoreURL

WIDTH = 32
"""Objects that are copied at once."""

_TIDYING = 60.0  # seconds that clearing up after a failure may take


async def transfer(
    op: str, source: Site, target: Site, /, *, width: int = WIDTH, progressbar: bool = False
) -> None:
    """Copy a dataset to a place where nothing is, under that place's lock.

    Args:
        op: the call, for messages.
        source: where the dataset is.
        target: where to; not inside the source, nor around it.
        width: objects to copy at once.
        progressbar: show progress, on a terminal only.

    Raises:
        DatasetExistsError: something is there, or another process created a dataset there.
        DatasetLockedError: another process writes there.
        ObjectChangedError: the source was written to meanwhile.
        IntegrityError: the copy is not what was copied.
        StoreError: a service refused or failed. What was copied is deleted again.
    """
    await check_empty(op, target)
    async with claimed(target, [FIRST_COMMIT]) as claim:
        mine = claim.site
        await check_empty(op, mine)
        async with _all_or_nothing(op, mine):
            with _progress(op, shown=progressbar) as advance:
                copied = await _copy_parts(source, mine, width, advance)
            await _check(op, mine, copied)
            # These make it a dataset. The history comes first: without it, no commit but the
            # first would seem to exist.
            for key in (HISTORY, META):
                if key in copied.root_files:
                    await _copy_new(source, mine, copied.root_files[key])


def check_apart(op: str, source: StoreURL, target: StoreURL, /) -> None:
    """Refuse to write a dataset over itself, into itself or around itself.

    Raises:
        InvalidPathError: the places are one, or one is in the other.
    """
    if (source.scheme, source.bucket) != (target.scheme, target.bucket):
        return
    one, other = (f"{url.path}/" if url.path else "" for url in (source, target))
    if one.startswith(other) or other.startswith(one):
        raise InvalidPathError(f"{source} is in the same place, or inside, or around it").at(
            op, str(target)
        )


async def check_empty(op: str, site: Site, /) -> None:
    """Refuse a place where anything but a lock is.

    Raises:
        DatasetExistsError: says what is there.
    """
    key = await site.first_key()
    if key is None:
        return
    if await site.has_dataset():
        message = "a dataset is there; it is left as it is"
    else:
        message = (
            f"other files are there, such as {key!r}, and no dataset; they are left as they are. "
            "If they are what an interrupted call left, delete(path, force=True) clears them"
        )
    raise DatasetExistsError(message).at(op, str(site.url))


@dataclass(slots=True)
class _Copied:
    """What was copied, and the root files that are still to be."""

    count: int = 0
    size: int = 0
    root_files: dict[str, ObjectMeta] = field(default_factory=dict)


async def _copy_parts(
    source: Site, target: Site, width: int, advance: Callable[[int], object]
) -> _Copied:
    """Copy all but the root files, each in the version that was listed."""
    copied = _Copied()

    async def parts() -> AsyncIterator[ObjectMeta]:
        async with aclosing(source.objects()) as objects:
            async for meta in objects:
                if meta.key in (HISTORY, META):
                    copied.root_files[meta.key] = meta
                else:
                    yield meta

    async def one(meta: ObjectMeta) -> None:
        made = await _copy_one(source, target, meta)
        if made.size != meta.size:
            raise IntegrityError(f"{made.size} bytes were copied of {meta.size}").at(
                "copy", f"{target.url}/{meta.key}"
            )
        copied.count += 1
        copied.size += meta.size
        advance(1)

    await each(parts(), one, width=width)
    return copied


async def _check(op: str, target: Site, copied: _Copied) -> None:
    """Compare a complete listing of the target with what was copied."""
    count = size = 0
    async for meta in target.objects():
        count += 1
        size += meta.size
    if (count, size) != (copied.count, copied.size):
        raise IntegrityError(
            f"{copied.count} objects of {copied.size} bytes were copied, and {count} of {size} "
            "are there"
        ).at(op, str(target.url))


async def _copy_new(source: Site, target: Site, meta: ObjectMeta) -> None:
    """Copy a root file to where none is, if the service can promise that; the lock does too."""
    try:
        await _copy_one(source, target, meta, if_absent=True)
    except NotSupportedError:
        await _copy_one(source, target, meta)


async def _copy_one(
    source: Site, target: Site, meta: ObjectMeta, *, if_absent: bool = False
) -> ObjectMeta:
    """Copy an object in the version that was listed."""
    here, there, key = source.store, target.store, meta.key
    if not there.provider.limits.metadata:
        # A dataset is its objects' bytes: content types may stay behind, where Store.copy refuses.
        async with here.stream(key, if_match=meta.etag) as stream:
            return await there.put_stream(key, stream, size=meta.size, if_absent=if_absent)
    try:
        return await here.copy(key, key, to=there, if_match=meta.etag, if_absent=if_absent)
    except NotSupportedError:
        if if_absent:
            raise
    # The service copies without conditions only: look afterwards whether it was that version.
    made = await here.copy(key, key, to=there)
    if (await here.head(key)).etag != meta.etag:
        raise ObjectChangedError("written to while it was copied").at("copy", f"{here.url}/{key}")
    return made


@asynccontextmanager
async def _all_or_nothing(op: str, target: Site) -> AsyncIterator[None]:
    """Delete what was copied if the block fails, unless it is no longer ours alone."""
    try:
        yield
    except AlreadyExistsError as error:
        raise DatasetExistsError(
            "another process created a dataset there meanwhile; the copy's objects are in it"
        ).at(op, str(target.url)) from error
    except BaseException as error:
        try:
            with anyio.fail_after(_TIDYING, shield=True):
                await clear(target)
        except (StoreError, ExceptionGroup, TimeoutError) as failure:
            error.add_note(
                f"clearing up failed as well ({failure}); the source is as it was, and "
                f"delete({str(target.url)!r}, force=True) deletes what was copied"
            )
        raise


@contextmanager
def _progress(op: str, *, shown: bool) -> Iterator[Callable[[int], object]]:
    if not shown:
        yield int
        return
    from tqdm import tqdm  # noqa: PLC0415 - 20 ms

    with tqdm(desc=op, unit=" objects", disable=None) as bar:  # none where there is no terminal
        yield bar.update
