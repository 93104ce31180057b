"""The background event loop: threads, forks, interrupts, exit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import pytest
import uvloop

from asyncstore import background


def python(code: str, *, timeout: float = 100) -> str:
    """Run a program; its output, which must be free of noise."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


async def double(n):
    await asyncio.sleep(0)
    return 2 * n


def test_a_coroutine_runs_on_the_one_loop_and_its_result_comes_back():
    async def where():
        return threading.get_ident(), asyncio.get_running_loop()

    first, second = background.run(where), background.run(where)
    assert first == second
    assert first[0] != threading.get_ident()
    assert first[1] is background.loop()


def test_the_loop_is_uvloops_where_that_is_installed():
    assert isinstance(background.loop(), uvloop.Loop)


def test_without_uvloop_it_is_asyncios_own():
    said = python("""
        import sys
        sys.modules["uvloop"] = None  # as if it were not there
        import asyncio
        from asyncstore import background
        async def where():
            return asyncio.get_running_loop()
        print(type(background.run(where)).__module__.partition(".")[0])
    """)
    assert said == "asyncio\n"


def test_an_error_comes_back_as_it_is():
    async def fail():
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        background.run(fail)


def test_context_variables_of_the_caller_are_seen():
    var = ContextVar("var", default=0)
    var.set(7)

    async def see():
        return var.get()

    assert background.run(see) == 7


def test_it_works_under_a_running_loop_as_in_a_notebook():
    async def cell():
        return background.run(lambda: double(4))

    assert asyncio.run(cell()) == 8


def test_a_sync_call_on_the_loop_itself_is_refused_instead_of_waiting_for_ever():
    async def inside():
        return background.run(lambda: double(4))

    with pytest.raises(RuntimeError, match="await it instead"):
        background.run(inside)


def test_many_threads_may_call_at_once():
    results: list[int] = []

    def work(n):
        results.extend(background.run(lambda: double(n)) for _ in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(2 * n for n in range(16) for _ in range(20))


@pytest.mark.anyio
async def test_another_event_loop_awaits_it():
    assert await background.call(lambda: double(5)) == 10


@pytest.mark.anyio
async def test_a_cancelled_caller_cancels_the_task_and_sees_it_end():
    begun, ended = threading.Event(), []

    async def slow():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(background.call, slow)
        await anyio.to_thread.run_sync(begun.wait, 5)
        group.cancel_scope.cancel()
    assert ended == [True]


@pytest.mark.anyio
async def test_a_context_manager_is_entered_and_left_by_one_task():
    tasks = []

    @asynccontextmanager
    async def manager():
        tasks.append(asyncio.current_task())
        with anyio.CancelScope():  # which insists on it
            yield "inside"
        tasks.append(asyncio.current_task())

    held = background.Held(manager)
    assert await held.aenter() == "inside"

    async def current():
        return asyncio.current_task()

    tasks.append(await held.call(current))
    await held.aleave()
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


@pytest.mark.anyio
async def test_a_context_manager_whose_entry_is_cancelled_is_left():
    left = threading.Event()
    begun = threading.Event()

    @asynccontextmanager
    async def manager():
        try:
            begun.set()
            await asyncio.sleep(60)
            yield
        finally:
            left.set()

    async with anyio.create_task_group() as group:
        group.start_soon(background.Held(manager).aenter)
        await anyio.to_thread.run_sync(begun.wait, 5)
        group.cancel_scope.cancel()
    assert left.is_set()


def test_a_cancelled_step_leaves_the_seat_usable():
    seat = background.Seat()

    async def cancelled():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(Exception, match="ended meanwhile"):
        seat.run(cancelled)
    assert seat.run(lambda: double(3)) == 6
    seat.leave()


def test_an_iterator_crosses_in_batches():
    hops = []

    async def numbers():
        for n in range(1000):
            if n % 100 == 0:
                hops.append(n)
            yield n

    made = background.Iterating(numbers, most=256)
    assert next(made) == 0
    assert hops == [0, 100, 200]
    assert list(made) == list(range(1, 1000))


def test_items_before_an_error_are_given_first():
    async def numbers():
        yield 1
        raise LookupError("end")

    made = background.Iterating(numbers)
    assert next(made) == 1
    with pytest.raises(LookupError):
        next(made)
    assert list(made) == []


def test_a_forked_child_makes_a_loop_of_its_own():
    out = python(
        """
        import os, asyncio
        from asyncstore import background
        async def who():
            return os.getpid()
        assert background.run(who) == os.getpid()
        child = os.fork()
        if child == 0:
            os._exit(0 if background.run(who) == os.getpid() else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, background.run(who) == os.getpid())
        """
    )
    assert out == "0 True\n"


def test_a_child_forked_while_a_thread_is_in_a_call_is_well():
    out = python(
        """
        import os, asyncio, threading
        from asyncstore import background
        async def who():
            return os.getpid()
        async def slow():
            begun.set()
            await asyncio.sleep(1)
        begun = threading.Event()
        thread = threading.Thread(target=background.run, args=(slow,))
        thread.start()
        begun.wait()
        child = os.fork()
        if child == 0:
            assert background.run(who) == os.getpid()
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        thread.join()
        """
    )
    assert out == "0\n"


def test_ctrl_c_cancels_the_call_and_the_loop_goes_on():
    out = python(
        """
        import asyncio, os, signal, threading, time
        from asyncstore import background
        ended = []
        async def slow():
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        began = time.monotonic()
        try:
            background.run(slow)
        except KeyboardInterrupt:
            print(ended, time.monotonic() - began < 1.5)
        async def one():
            return 1
        print(background.run(one))
        """
    )
    assert out == "['cancelled'] True\n1\n"


def test_the_interpreter_exits_quietly_with_calls_pending():
    out = python(
        """
        import asyncio, threading, time, atexit
        from asyncstore import background
        begun = threading.Event()
        async def stubborn():
            begun.set()
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        threading.Thread(target=background.run, args=(stubborn,), daemon=True).start()
        begun.wait()
        print("end")
        """,
    )
    assert out == "end\n"


@pytest.mark.anyio
async def test_a_call_cancelled_before_it_has_begun_wakes_its_caller():
    busy = threading.Event()
    # The loop is held up, so that the call and its cancellation reach it together.
    background.loop().call_soon_threadsafe(busy.wait, 60)

    async def never():
        raise AssertionError("begun")

    async with anyio.create_task_group() as group:
        group.start_soon(background.call, never)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            busy.set()
