"""`Dataset`: an open version of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

from asyncstore.errors import ReadOnlyError, StoreError
from asyncstore.format.keys import folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import TaskGroup

    from asyncstore.datasets.lock import WriteLock
    from asyncstore.format import Commit, DatasetMeta, History
    from asyncstore.store import Store
    from asyncstore.url import StoreURL


class Dataset:
    """An open version of a dataset. Made by `load`, `empty`, `dataset`, `copy` and `rename`.

    Use it with `async with`, which keeps its lock renewed and gives it back at the end, or on
    its own and `await ds.aclose()`; the lock is then renewed when a write needs it. It pickles
    as a read-only dataset without secrets.

    Attributes:
        url: where it is.
        meta: the metadata of the version that is open.
        history: its commits and branches, as they were when it was opened.
        store: everything in it, for any number of reads and writes at once. A write is refused
            where the dataset is read-only or its lock is lost.
    """

    def __init__(
        self,
        store: Store,
        commit: str,
        meta: DatasetMeta,
        history: History,
        *,
        lock: WriteLock | None = None,
        read_only: str | None = None,
    ) -> None:
        self.url: StoreURL = store.url
        self.meta = meta
        self.history = history
        self._owned = store
        self._commit = commit
        self._gate = Gate(lock, read_only)
        self.store: Store = store.guarded(self._gate)
        self._tasks: TaskGroup | None = None

    @property
    def path(self) -> str:
        """Where it is, as text, without a version."""
        return str(self.url)

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._gate.read_only

    @property
    def mode(self) -> Literal["r", "a"]:
        """`"r"` where writes are refused, else `"a"`."""
        return "r" if self.read_only else "a"

    @property
    def branch(self) -> str:
        """The branch of the version that is open."""
        return self._node.branch

    @property
    def branches(self) -> list[str]:
        """The names of all branches."""
        return list(self.history.branches)

    @property
    def commit_id(self) -> str | None:
        """The last commit of the version that is open, or `None` where none was made yet."""
        return self._node.parent if self._node.time is None else self._commit

    @property
    def pending_commit_id(self) -> str:
        """The commit whose files are open: the branch's next one, or a past one."""
        return self._commit

    @property
    def prefix(self) -> str:
        """What precedes the open version's keys in `store`: `""`, or `"versions/<commit>/"`."""
        return folder(self._commit)

    @property
    def allow_delete(self) -> bool:
        """Whether `delete` and `overwrite` are allowed."""
        return self.meta.allow_delete

    @property
    def _node(self) -> Commit:
        return self.history.commits[self._commit]

    async def aclose(self) -> None:
        """Give the lock back and close the store; twice is as once.

        Raises:
            StoreError: the lock could not be deleted, and ends by itself.
        """
        try:
            await self._gate.close()
        finally:
            await self._owned.aclose()

    async def __aenter__(self) -> Self:
        lock = self._gate.lock
        if lock is not None:
            tasks = anyio.create_task_group()
            await tasks.__aenter__()
            tasks.start_soon(lock.keep)
            self._tasks = tasks
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        try:
            if tasks is not None:
                tasks.cancel_scope.cancel()
                # The body's own error is not the group's: it must come out as it is.
                await tasks.__aexit__(None, None, None)
        finally:
            await self._closed_after(error)

    async def _closed_after(self, error: BaseException | None) -> None:
        """Close; where the body failed, its error is the one to tell."""
        if error is None:
            await self.aclose()
            return
        with anyio.move_on_after(_CLOSING, shield=True):
            try:
                await self.aclose()
            except StoreError as failure:
                error.add_note(f"closing the dataset failed as well: {failure}")

    def __repr__(self) -> str:
        mode = ", read_only=True" if self.read_only else ""
        return f"Dataset(path={self.path!r}, branch={self.branch!r}{mode})"

    def __reduce__(self) -> tuple[Callable[..., Dataset], tuple[Any, ...]]:
        return _reopened, (self._owned, self._commit, self.meta, self.history)


class Gate:
    """What a dataset's store asks before a write.

    Args:
        lock: must be held; `None` where no lock is used.
        reason: why the dataset is read-only, or `None`.
    """

    __slots__ = ("_reason", "lock")

    def __init__(self, lock: WriteLock | None, reason: str | None) -> None:
        self.lock = lock
        self._reason = reason

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        return self._reason is not None

    async def before_write(self) -> None:
        """Return if a write may begin now.

        Raises:
            ReadOnlyError: the dataset is read-only, or closed.
            DatasetLockedError: its lock is lost.
        """
        if self._reason is not None:
            raise ReadOnlyError(self._reason)
        if self.lock is not None:
            await self.lock.ensure()

    async def close(self) -> None:
        """Refuse writes from now on, and give the lock back."""
        lock, self.lock = self.lock, None
        self._reason = self._reason or "the dataset is closed"
        if lock is not None:
            await lock.release()


_CLOSING = 30.0  # seconds that closing may take while an error is on its way out


def _reopened(store: Store, commit: str, meta: DatasetMeta, history: History) -> Dataset:
    """Make a dataset from its pickle: it reads, and what locks it had are its maker's."""
    return Dataset(store, commit, meta, history, read_only="a pickled dataset is read-only")
