"""The dataset functions and `Dataset` without `await`, run on the background loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from asyncstore import datasets as _async
from asyncstore.background import Held, run
from asyncstore.store._open import ORIGIN, origin
from asyncstore.sync._store import Store

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from asyncstore.datasets.options import Keywords, Old, Reach
    from asyncstore.format import DatasetMeta, History
    from asyncstore.url import PathLike, StoreURL


class Dataset:
    """An open version of a dataset. Made by `load`, `empty`, `dataset`, `copy` and `rename`.

    As `asyncstore.Dataset`, without `await`; use it with `with`, or `close()` it at the end.

    Attributes:
        url: where it is.
        meta: the metadata of the version that is open.
        history: its commits and branches, as they were when it was opened.
        store: everything in it.
    """

    def __init__(self, dataset: _async.Dataset, /) -> None:
        self.url: StoreURL = dataset.url
        self.meta: DatasetMeta = dataset.meta
        self.history: History = dataset.history
        self.store = Store(dataset.store)
        self._dataset = dataset
        self._held: Held[_async.Dataset] | None = None

    @property
    def path(self) -> str:
        """Where it is, as text, without a version."""
        return self._dataset.path

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._dataset.read_only

    @property
    def mode(self) -> Literal["r", "a"]:
        """`"r"` where writes are refused, else `"a"`."""
        return self._dataset.mode

    @property
    def branch(self) -> str:
        """The branch of the version that is open."""
        return self._dataset.branch

    @property
    def branches(self) -> builtins.list[str]:
        """The names of all branches."""
        return self._dataset.branches

    @property
    def commit_id(self) -> str | None:
        """The last commit of the version that is open, or `None` where none was made yet."""
        return self._dataset.commit_id

    @property
    def pending_commit_id(self) -> str:
        """The commit whose files are open: the branch's next one, or a past one."""
        return self._dataset.pending_commit_id

    @property
    def prefix(self) -> str:
        """What precedes the open version's keys in `store`."""
        return self._dataset.prefix

    @property
    def allow_delete(self) -> bool:
        """Whether `delete` and `overwrite` are allowed."""
        return self._dataset.allow_delete

    def close(self) -> None:
        """Give the lock back and close the store. See `asyncstore.Dataset.aclose`."""
        run(self._dataset.aclose)

    def __enter__(self) -> Self:
        held = Held(lambda: self._dataset)
        held.enter()
        self._held = held
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.leave(error)

    def __repr__(self) -> str:
        return repr(self._dataset)

    def __reduce__(self) -> tuple[Callable[..., Dataset], tuple[_async.Dataset]]:
        return Dataset, (self._dataset,)


def _opened(call: Callable[[], Coroutine[Any, Any, _async.Dataset]]) -> Dataset:
    before = ORIGIN.set(origin())
    try:
        return Dataset(run(call))
    finally:
        ORIGIN.reset(before)


def load(
    path: PathLike,
    *,
    read_only: bool | None = None,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Open a dataset that exists. See `asyncstore.load`."""
    call = partial(
        _async.load,
        path,
        read_only=read_only,
        verbose=verbose,
        lock_enabled=lock_enabled,
        lock_timeout=lock_timeout,
        creds=creds,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        **more,
    )
    return _opened(call)


def dataset(
    path: PathLike,
    *,
    read_only: bool | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Open a dataset, or create it where there is none. See `asyncstore.dataset`."""
    call = partial(
        _async.dataset,
        path,
        read_only=read_only,
        overwrite=overwrite,
        verbose=verbose,
        lock_enabled=lock_enabled,
        lock_timeout=lock_timeout,
        creds=creds,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        **more,
    )
    return _opened(call)


def empty(
    path: PathLike,
    *,
    overwrite: bool = False,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Create an empty dataset. See `asyncstore.empty`."""
    call = partial(
        _async.empty,
        path,
        overwrite=overwrite,
        verbose=verbose,
        lock_enabled=lock_enabled,
        lock_timeout=lock_timeout,
        creds=creds,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        **more,
    )
    return _opened(call)


def exists(
    path: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> bool:
    """Say whether a dataset is at a path. See `asyncstore.exists`."""
    call = partial(
        _async.exists, path, creds=creds, token=token, org_id=org_id, hub_url=hub_url, **reach
    )
    return run(call)


def delete(
    path: PathLike,
    *,
    force: bool = False,
    large_ok: bool = False,
    verbose: bool = False,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Delete a dataset, or with `force` whatever is at the path. See `asyncstore.delete`."""
    call = partial(
        _async.delete,
        path,
        force=force,
        large_ok=large_ok,
        verbose=verbose,
        creds=creds,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        **reach,
    )
    run(call)


def rename(
    path: PathLike,
    new_name: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> Dataset:
    """Give a dataset another name. See `asyncstore.rename`."""
    call = partial(
        _async.rename,
        path,
        new_name,
        creds=creds,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        **reach,
    )
    return _opened(call)


def copy(
    src: PathLike | Dataset,
    dest: PathLike,
    *,
    overwrite: bool = False,
    src_creds: object = None,
    dest_creds: object = None,
    src_options: Reach | None = None,
    dest_options: Reach | None = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    num_workers: int = 0,
    progressbar: bool = True,
    **old: Unpack[Old],
) -> Dataset:
    """Copy a dataset with all its branches and commits. See `asyncstore.copy`."""
    call = partial(
        _async.copy,
        src._dataset if isinstance(src, Dataset) else src,  # noqa: SLF001 - a Dataset of ours
        dest,
        overwrite=overwrite,
        src_creds=src_creds,
        dest_creds=dest_creds,
        src_options=src_options,
        dest_options=dest_options,
        token=token,
        org_id=org_id,
        hub_url=hub_url,
        num_workers=num_workers,
        progressbar=progressbar,
        **old,
    )
    return _opened(call)


def list(  # noqa: A001 - the old client's name
    path: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> builtins.list[str]:
    """Find the datasets at and below a path. See `asyncstore.list`."""
    call = partial(
        _async.list, path, creds=creds, token=token, org_id=org_id, hub_url=hub_url, **reach
    )
    return run(call)


def connect(
    src_path: PathLike,
    dest_path: PathLike | None = None,
    *,
    creds_key: str,
    org_id: str | None = None,
    ds_name: str | None = None,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> Dataset:
    """Give a dataset in a bucket a hub's name. See `asyncstore.connect`."""
    call = partial(
        _async.connect,
        src_path,
        dest_path,
        creds_key=creds_key,
        org_id=org_id,
        ds_name=ds_name,
        token=token,
        hub_url=hub_url,
        **reach,
    )
    return _opened(call)


def make_public(
    path: PathLike,
    *,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Let everybody read a hub's dataset, without signing in. See `asyncstore.make_public`."""
    run(partial(_async.make_public, path, token=token, hub_url=hub_url, **reach))


def make_private(
    path: PathLike,
    *,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Let members of its organisation alone read it. See `asyncstore.make_private`."""
    run(partial(_async.make_private, path, token=token, hub_url=hub_url, **reach))
