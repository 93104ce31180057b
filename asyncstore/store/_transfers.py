"""`Store.download`, `upload`, `sync`: what they share, and how the engine is told of it."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError, InvalidPathError
from asyncstore.provider import Flushes, ability
from asyncstore.store import _many
from asyncstore.store._grouped import putter
from asyncstore.transfer.blocking import in_thread
from asyncstore.transfer.keys import check_writable, read_keys, write_failures
from asyncstore.transfer.names import folds
from asyncstore.transfer.record import Record, record_path
from asyncstore.transfer.run import How, Transfer
from asyncstore.transfer.show import ended, shown
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from asyncstore.errors import StoreError
    from asyncstore.store._store import Store
    from asyncstore.transfer import Progress, Report
    from asyncstore.transfer.plan import Step
    from asyncstore.types import Durability, ObjectMeta
    from asyncstore.url import PathLike

_log = logging.getLogger("asyncstore")


async def transfer(
    source: Store,
    target: Store,
    title: str,
    *,
    keys: Iterable[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    delete: bool = False,
    keys_from: str | os.PathLike[str] | None = None,
    failures_to: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    verify: bool = False,
    if_absent: bool = False,
    move: bool = False,
    progress: bool | Callable[[Progress], None] = False,
    settled: Callable[[Step, ObjectMeta | None, StoreError | None], None] | None = None,
    width: int | None = None,
    budget: int = _many.BUDGET,
) -> Report:
    """Run the engine between two stores; see `Store.sync`, and `How` for the rest."""
    with ended(progress):
        _check_patterns(include, exclude)
        if width is not None and width < 1:
            raise ConfigurationError(f"width={width}: at least 1")
        if not (isinstance(progress, bool) or callable(progress)):
            raise ConfigurationError(f"progress is True or a function, not {progress!r}")
        _check_apart(source, target, delete=delete)
        if keys is not None and keys_from is not None:
            raise ConfigurationError("keys and keys_from exclude each other")
        if delete and (keys is not None or keys_from is not None):
            raise ConfigurationError("delete needs everything that is at the source, not some keys")
        if keys is not None:
            keys = _texts(keys)
        elif keys_from is not None:
            keys = await in_thread(read_keys, keys_from)
        if failures_to is not None:
            await in_thread(check_writable, failures_to)
        is_folder = target.url.scheme == "file" and not (dry_run or verify)
        record = await in_thread(_record, source, target)
        with shown(progress, title) as tell:
            how = How(
                include=include,
                exclude=exclude,
                keys=keys,
                delete=delete,
                dry_run=dry_run,
                verify=verify,
                if_absent=if_absent,
                move=move,
                inside=_inside(source, target),
                width=width,
                budget=budget,
                same_service=source._same_service(target),  # noqa: SLF001 - a Store
                fold=is_folder and await in_thread(folds, Path(str(target.url))),
                tell=tell,
                settled=settled,
            )
            flushes = ability(target.provider, Flushes)  # type: ignore[type-abstract]
            flush = None if flushes is None else flushes.flush
            run = Transfer(source, target, record, how, flush=flush, group=putter(target))
            report = await run.run()
        if failures_to is not None:
            await in_thread(write_failures, failures_to, report.failures)
        return report


def check_store(target: Store, /) -> None:
    """Make sure that a target is a store.

    Raises:
        ConfigurationError: it is something else, such as a path.
    """
    from asyncstore.store._store import Store  # noqa: PLC0415 - the two need each other

    if not isinstance(target, Store):
        raise ConfigurationError(
            f"sync goes to a store, not to {type(target).__name__}: write open_store(…)"
        )


@asynccontextmanager
async def beside(
    path: PathLike,
    progress: bool | Callable[[Progress], None],  # noqa: FBT001 - the user's own argument
    durability: Durability = "full",
) -> AsyncIterator[Store]:
    """Open a local folder, of which the user's word may hold links."""
    from asyncstore.store._open import open_store  # noqa: PLC0415 - the two need each other

    with ended(progress):
        url = StoreURL.parse(path)
        if url.scheme != "file":
            raise InvalidPathError(f"{url} is no local folder; store.sync takes any other store")
        url = replace(url, path=await in_thread(os.path.realpath, url.path))
        async with open_store(url, durability=durability) as store:
            yield store


def _check_patterns(include: Sequence[str], exclude: Sequence[str]) -> None:
    for patterns in (include, exclude):
        if isinstance(patterns, str) or not all(isinstance(one, str) for one in patterns):
            raise ConfigurationError('include and exclude are lists of patterns: write ["*.txt"]')


def _texts(keys: Iterable[str]) -> list[str]:
    """Return keys, once they are known to be texts."""
    try:
        found = list(keys)
    except TypeError:
        raise ConfigurationError(
            f"what to transfer is a folder's name or some keys, not {type(keys).__name__}"
        ) from None
    for key in found:
        if not isinstance(key, str):
            raise ConfigurationError(f"keys are texts: {key!r} is none")
    return found


def _check_apart(source: Store, target: Store, *, delete: bool) -> None:
    """Refuse a target in the source; and a source in the target, where it would be deleted."""
    one, other = _place(source), _place(target)
    inside = other[2].startswith(one[2]) or (delete and one[2].startswith(other[2]))
    if one[:2] == other[:2] and inside:
        raise InvalidPathError(f"{source.url} and {target.url}: one lies in the other")


def _inside(source: Store, target: Store) -> str:
    """Return where in the target the source lies: `""`, or what ends in `/`."""
    one, other = _place(source), _place(target)
    lies = one[:2] == other[:2] and one[2].startswith(other[2])
    return one[2].removeprefix(other[2]) if lies else ""


def _place(store: Store) -> tuple[str, str, str]:
    url = store.url
    path = os.path.realpath(url.path) if url.scheme == "file" else url.path
    service = f"{url.scheme}://{url.bucket}"
    return service, _endpoint(store), f"{path.strip('/')}/".lstrip("/")


def _endpoint(store: Store) -> str:
    return store._live.recipe.settings.endpoint_url or ""  # noqa: SLF001 - a Store


def _record(source: Store, target: Store) -> Record:
    """Return the record of two places; what is in memory is another in every process."""
    if "mem" in (source.url.scheme, target.url.scheme):
        return Record(None)
    names = ["\n".join(_place(store)) for store in (source, target)]
    path = record_path(*names)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(path.parent, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        _log.warning("%s cannot be written: the next run compares content", path.parent)
        return Record(None)
    return Record(path)
