"""Memory for large reads is flat, writable and of the size that was asked for."""

from __future__ import annotations

import mmap

import pytest

from asyncstore.room import room


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
