"""What the operating system knows of a socket, where it tells; all of it is optional."""

from __future__ import annotations

import os
import struct
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # Windows
    _OUTQ = None
else:
    _OUTQ = getattr(termios, "TIOCOUTQ", None)


def unsent_by_system(sock: Any) -> int:
    """Count the bytes written to a socket that the other side has not acknowledged; else 0."""
    if _OUTQ is None or sock is None:
        return 0
    try:
        raw = fcntl.ioctl(sock.fileno(), _OUTQ, bytes(4))
    except OSError:
        return 0  # closed meanwhile
    count: int = struct.unpack("i", raw)[0]
    return count


def unread(sock: Any, most: int) -> bytes:
    """Read what has come before a connection broke, without waiting; else nothing."""
    if sock is None or os.name == "nt":
        return b""
    try:
        return os.read(sock.fileno(), most)
    except OSError:
        return b""
