"""Many sockets of one loop, watched at once."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from contextlib import contextmanager
from functools import partial

import pytest

from asyncstore.http.watching import watcher_of

pytestmark = pytest.mark.skipif(not hasattr(__import__("select"), "epoll"), reason="no epoll here")


@contextmanager
def pairs(count):
    """Give sockets that have something to receive."""
    made = [socket.socketpair() for _ in range(count)]
    try:
        for _, theirs in made:
            theirs.send(b"x")
        yield [ours for ours, _ in made]
    finally:
        for ours, theirs in made:
            ours.close()
            theirs.close()


async def turns(count=4):
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_bug_in_one_callback_is_told_and_keeps_nothing_from_the_others():
    async def main():
        loop = asyncio.get_running_loop()
        told = []
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        came = []
        watcher = watcher_of(loop)

        def receive(sock):
            came.append(sock.recv(10))
            raise ValueError

        with pairs(3) as socks:
            for sock in socks:
                watcher.watch(sock.fileno(), partial(receive, sock))
            await turns()
            assert came == [b"x"] * 3
            assert [type(error) for error in told] == [ValueError] * 3
            for sock in socks:
                watcher.forget(sock.fileno())
        watcher.leave()

    asyncio.run(main())


def test_a_socket_that_another_ones_callback_forgets_is_not_called():
    async def main():
        loop = asyncio.get_running_loop()
        told = []
        loop.set_exception_handler(lambda *_: told.append(1))
        watcher = watcher_of(loop)
        called = []
        with pairs(2) as socks:

            def call(mine, other):
                called.append(mine)
                for sock in (mine, other):
                    watcher.forget(sock.fileno())

            watcher.watch(socks[0].fileno(), lambda: call(*socks))
            watcher.watch(socks[1].fileno(), lambda: call(*socks[::-1]))
            await turns()
        assert len(called) == 1
        assert not told
        watcher.leave()

    asyncio.run(main())


def test_more_sockets_than_are_looked_after_at_once_all_have_their_turn():
    async def main():
        watcher = watcher_of(asyncio.get_running_loop())
        came = []

        def take(sock):
            came.append(sock.recv(10))

        with pairs(300) as socks:
            for sock in socks:
                watcher.watch(sock.fileno(), partial(take, sock))
            await turns(6)
            for sock in socks:
                watcher.forget(sock.fileno())
        assert len(came) == 300
        watcher.leave()

    asyncio.run(main())


def test_users_of_a_loop_share_a_watcher_which_is_gone_with_the_last_of_them():
    async def main():
        loop = asyncio.get_running_loop()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            watchers = [watcher_of(loop) for _ in range(3)]
            assert len(set(map(id, watchers))) == 1
            assert len(os.listdir("/proc/self/fd")) == before + 1
            for watcher in watchers:
                watcher.leave()
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())


def test_a_loop_that_was_closed_before_its_users_left_is_forgotten():
    loop = asyncio.new_event_loop()
    watcher_of(loop)
    loop.close()
    known = weakref.ref(loop)
    del loop
    gc.collect()
    assert known() is None
