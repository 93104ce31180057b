"""Watching many sockets of one asyncio loop at once.

A loop that watches a socket makes a handle of each thing that happens to it, and runs that in a
context: some 2 µs, a tenth of what a small read costs. Here the loop watches one descriptor, an
epoll's, and that watches the sockets; those that have something are looked after in one callback.
Where the system has no epoll, the loop watches each.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, ref

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_AT_ONCE = 256
"""Sockets that are looked after before the loop has its turn."""


class Watcher(Protocol):
    """Tells of sockets that can be received from."""

    def watch(self, fd: int, call: Callable[[], None], /) -> None:
        """Call whenever there is something to receive, or an end to be seen."""
        ...

    def forget(self, fd: int, /) -> None:
        """Watch a socket no more; before it is closed."""
        ...

    def leave(self) -> None:
        """Do without this from now on; once for each `watcher_of`."""
        ...


def watcher_of(loop: asyncio.AbstractEventLoop) -> Watcher:
    """Return what watches for one more user of a loop."""
    if not hasattr(select, "epoll"):
        return _Each(loop)
    found = _shared.get(loop)
    if found is None:
        found = _shared[loop] = _Shared(loop)
    found.users += 1
    return found


class _Each:
    """Has the loop watch each socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def watch(self, fd: int, call: Callable[[], None], /) -> None:
        """See `Watcher`."""
        self._loop.add_reader(fd, call)

    def forget(self, fd: int, /) -> None:
        """See `Watcher`."""
        self._loop.remove_reader(fd)

    def leave(self) -> None:
        """See `Watcher`."""


class _Shared:
    """Watches all sockets of a loop, which watches this.

    Attributes:
        users: who have not left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users = 0
        self._calls: dict[int, Callable[[], None]] = {}
        self._epoll: Any = select.epoll()
        self._loop = ref(loop)  # which may be closed, and forgotten, before its users leave
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    def watch(self, fd: int, call: Callable[[], None], /) -> None:
        """See `Watcher`."""
        self._epoll.register(fd, select.EPOLLIN)
        self._calls[fd] = call

    def forget(self, fd: int, /) -> None:
        """See `Watcher`."""
        del self._calls[fd]
        self._epoll.unregister(fd)

    def leave(self) -> None:
        """See `Watcher`."""
        self.users -= 1
        loop = self._loop()
        if not self.users and loop is not None:
            del _shared[loop]
            loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _on_ready(self) -> None:
        # A bug in one callback is the loop's to tell; those behind it have their turn next.
        calls = self._calls
        for fd, _ in self._epoll.poll(0, _AT_ONCE):
            call = calls.get(fd)
            if call is not None:  # else it was forgotten a moment ago
                call()


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()
