"""A server as a child process: started on free ports, awaited, stopped by its id.

Nothing is expected to be running already, and nothing is left behind: a child dies with the
process that started it, also when that process is killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STARTS = 3
_PR_SET_PDEATHSIG = 1
_LOG_TAIL = 4_000

Command = tuple["Sequence[str]", "Mapping[str, str]"]


def free_ports(count: int, /) -> list[int]:
    """Return ports of the loopback that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def program(name: str, /) -> str:
    """Return the path of a program that a package of this environment brought.

    Raises:
        FileNotFoundError: names the program.
    """
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; install asyncstore[test]")
    return found


def answers(url: str, /) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


class Process:
    """A child process that serves on the loopback, as a context manager.

    Args:
        command: given the server's folder, chooses ports and returns arguments and extra
            environment; called again for each attempt to start, since a free port may be taken
            in between.
        ready: whether it serves now.
        patience: seconds to wait for that.
        stop: the signal that ends it.
    """

    def __init__(
        self,
        command: Callable[[str], Command],
        ready: Callable[[], bool],
        *,
        patience: float = 60.0,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._ready = ready
        self._patience = patience
        self._stop = stop
        self._child: subprocess.Popen[bytes] | None = None
        self.folder = ""

    def __enter__(self) -> Self:
        self.folder = tempfile.mkdtemp(prefix="asyncstore-server-")
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._child is not None
        return self._child.pid

    def close(self) -> None:
        """End the process and remove its folder; twice is as once."""
        child, self._child = self._child, None
        if child is not None:
            _end(child, self._stop)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        for _ in range(_STARTS):
            if self._attempt():
                return
        raise RuntimeError(f"the server did not start {_STARTS} times:\n{self._log()}")

    def _attempt(self) -> bool:
        arguments, environment = self._command(self.folder)
        with open(self._log_path, "ab") as log:
            child = subprocess.Popen(  # noqa: S603 - the arguments are ours
                arguments,
                cwd=self.folder,
                env=_clean_environment() | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl, nothing that locks
            )
        self._child = child
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            if child.poll() is not None:
                return False  # most likely a port was taken in between
            if self._ready():
                return True
            time.sleep(0.05)
        _end(child, signal.SIGKILL)
        return False

    @property
    def _log_path(self) -> str:
        return os.path.join(self.folder, "server.log")

    def _log(self) -> str:
        with open(self._log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-_LOG_TAIL:]


def _end(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    for kind in (how, signal.SIGKILL):
        if child.poll() is None:
            # The group, of which the child is the leader: it may have children of its own.
            os.killpg(child.pid, kind)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        return


def _clean_environment() -> dict[str, str]:
    """The environment without what would make a server talk to anybody else."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AWS_", "GOOGLE_", "RCLONE_", "HTTP_", "HTTPS_"))
    }


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
