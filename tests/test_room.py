"""Memory for large reads is flat, writable and of the size that was asked for."""

from __future__ import annotations

import mmap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from asyncstore.room import Spare, room


@pytest.mark.parametrize("size", [0, 1, 4095, (4 << 20) - 1, 4 << 20, (8 << 20) + 13])
def test_it_is_flat_and_writable(size):
    view = room(size)
    assert (view.nbytes, view.format, view.contiguous, view.readonly) == (size, "B", True, False)
    if size:
        view[-1:] = b"x"
        assert bytes(view[-1:]) == b"x"


def test_each_is_ones_own():
    one, other = room(4 << 20), room(4 << 20)
    one[0] = 1
    assert other[0] == 0


def test_a_kernel_without_huge_pages_will_do(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert len(room(4 << 20)) == 4 << 20


def test_memory_is_lent_again_once_its_last_view_is_gone():
    spare = Spare(16 << 20)
    view = spare.lend(5 << 20)
    view[:4] = b"mine"
    part = view[1:4]
    del view
    other = spare.lend(5 << 20)
    other[:4] = b"your"
    assert bytes(part) == b"ine"
    assert spare.kept == 0
    del part
    assert spare.kept == 5 << 20
    again = spare.lend((5 << 20) - 7)
    assert (spare.kept, len(again)) == (0, (5 << 20) - 7)


def test_a_view_of_a_view_keeps_the_memory_too():
    spare = Spare(16 << 20)
    array = np.frombuffer(spare.lend(4 << 20), np.uint8)[5:9]
    assert spare.kept == 0
    del array
    assert spare.kept == 4 << 20


def test_no_more_is_kept_than_was_said():
    spare = Spare(10 << 20)
    views = [spare.lend(4 << 20) for _ in range(5)]
    views.clear()
    assert spare.kept == 8 << 20


def test_threads_never_share_memory():
    spare = Spare(64 << 20)

    def use(number: int) -> bool:
        for _ in range(50):
            view = spare.lend(4 << 20)
            view[:8] = number.to_bytes(8)
            if int.from_bytes(view[:8]) != number:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    assert spare.kept <= 64 << 20
