"""Bytes from file to file without a detour through this process, where the system can.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows
    _CAN_CLONE = False
else:
    _CAN_CLONE = True

from asyncstore.errors import ObjectChangedError
from asyncstore.providers.local.threads import check_cancelled

_FICLONE = 0x40049409
_STEP = 64 << 20
_BY_HAND = 1 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def clone(source: int, target: int, size: int) -> None:
    """Make `target`, an empty file, hold the same `size` bytes; shared blocks where possible.

    Raises:
        ObjectChangedError: the source became shorter.
    """
    if _CAN_CLONE:
        with suppress(OSError):
            fcntl.ioctl(target, _FICLONE, source)
            return
    copy_range(source, 0, target, 0, size)


def copy_range(source: int, offset: int, target: int, to: int, size: int) -> None:
    """Copy `size` bytes at `offset` of one file to position `to` of another.

    Raises:
        ObjectChangedError: the source became shorter.
    """
    step = _in_kernel if hasattr(os, "copy_file_range") else _by_hand
    end = offset + size
    while offset < end:
        check_cancelled()
        try:
            done = step(source, offset, target, to, end - offset)
        except OSError as error:
            if step is _by_hand or error.errno not in _CANNOT:
                raise
            step = _by_hand
            continue
        if done == 0:
            raise ObjectChangedError("the file became shorter while it was copied")
        offset += done
        to += done


def _in_kernel(source: int, offset: int, target: int, to: int, size: int) -> int:
    return os.copy_file_range(source, target, min(size, _STEP), offset, to)


def _by_hand(source: int, offset: int, target: int, to: int, size: int) -> int:
    return os.pwrite(target, os.pread(source, min(size, _BY_HAND), offset), to)
