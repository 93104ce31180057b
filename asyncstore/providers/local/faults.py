"""What the operating system says, as the library's errors."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from asyncstore.errors import (
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
    UnavailableError,
)

if TYPE_CHECKING:
    from asyncstore.errors import Outcome

_KINDS: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOENT: (NotFoundError, "no such object"),
    errno.ENOTDIR: (NotFoundError, "no such object"),
    errno.EISDIR: (NotSupportedError, "a folder is in this place"),
    errno.ELOOP: (InvalidPathError, "a symbolic link, which is not followed below the root"),
    errno.ENXIO: (InvalidPathError, "neither a file nor a folder, and so not an object"),
    errno.ENAMETOOLONG: (InvalidPathError, "a part of the key is too long for the file system"),
    errno.EILSEQ: (InvalidPathError, "the file system does not take such a name"),
    errno.EACCES: (PermissionDeniedError, "the file system denies access"),
    errno.EPERM: (PermissionDeniedError, "the file system denies the operation"),
    errno.EROFS: (PermissionDeniedError, "the file system is mounted read-only"),
    errno.ENOSPC: (StoreError, "no space, or no inode, is left on the file system; free some"),
    errno.EDQUOT: (StoreError, "the disk quota is used up"),
    errno.EFBIG: (StoreError, "larger than the file system, or `ulimit -f`, allows"),
    errno.EMFILE: (UnavailableError, "too many open files; raise `ulimit -n`"),
    errno.ENFILE: (UnavailableError, "too many open files on this machine"),
    errno.ENOLCK: (UnavailableError, "no locks are left on this machine"),
    errno.EAGAIN: (UnavailableError, "the file system is busy"),
    errno.EBUSY: (UnavailableError, "the file system is busy"),
    errno.EINTR: (UnavailableError, "interrupted"),
    errno.ESTALE: (UnavailableError, "the network file system lost the file"),
    errno.ETIMEDOUT: (UnavailableError, "the network file system does not answer"),
    errno.EIO: (StoreError, "the disk failed"),
}


def translated(error: OSError, outcome: Outcome = "not_applied") -> StoreError:
    """Return the `StoreError` that says the same; files' names stay out of its text."""
    known = _KINDS.get(error.errno or 0)
    if known is None:
        return StoreError(f"{error.strerror or error} (errno {error.errno})", outcome=outcome)
    kind, text = known
    return kind(f"{text} ({errno.errorcode[error.errno or 0]})", outcome=outcome)


def no_object(mode: int) -> StoreError:
    """Return the error for reading what is no regular file, by its `st_mode`."""
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return NotFoundError("no such object")  # a folder, or a file where a folder would be
    return odd(mode)


def odd(mode: int) -> InvalidPathError:
    """Return the error for what asyncstore neither follows, opens nor replaces."""
    if stat.S_ISLNK(mode):
        return InvalidPathError("a symbolic link is in the way; none is followed below the root")
    return InvalidPathError("a pipe, socket or device is in this place, which is not an object")


def beside() -> NotSupportedError:
    """Return the error for a key that begins with another's name and a slash, or the reverse."""
    return NotSupportedError(
        "a file system cannot hold both `k` and `k/sub`, and the other one is there; "
        "choose another key"
    )
