"""Deep Lake 3.9 itself, in an environment of its own: it writes what must be read here, and
reads what is written here.

The old client pins packages that asyncstore's own do not go with, so it runs as a child process
from a virtual environment that pip fills on first use, in a cache folder that later runs share.
It calls home at import and at every call; here it reaches loopback only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIREMENTS = ("deeplake==3.9.52", "numpy<2", "setuptools<81")
"""The last release of the v3 line, and what it needs but does not say."""

INSTALL_SECONDS = 540.0
RUN_SECONDS = 100.0

# Loaded by the interpreter itself, before any line of the old client's.
_LOOPBACK_ONLY = """
import ipaddress
import socket

_connect, _lookup = socket.socket.connect, socket.getaddrinfo


def _is_loopback(host):
    try:
        return host in ("localhost", None) or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guarded_connect(self, address):
    if isinstance(address, tuple) and not _is_loopback(address[0]):
        raise OSError(f"{address[0]!r} is not loopback")
    return _connect(self, address)


def _guarded_lookup(host, *args, **kwargs):
    if not _is_loopback(host):
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not loopback")
    return _lookup(host, *args, **kwargs)


socket.socket.connect = socket.socket.connect_ex = _guarded_connect
socket.getaddrinfo = _guarded_lookup
"""

_PRELUDE = """
import json, sys, warnings
args = json.loads(sys.argv[1])
import deeplake
"""


@dataclass(frozen=True)
class Oracle:
    """An installed Deep Lake 3.9.

    Attributes:
        python: its interpreter.
        home: what it takes for the user's home directory.
    """

    python: str
    home: str

    def run(self, code: str, /, *args: Any, timeout: float = RUN_SECONDS) -> Any:
        """Run code that finds `deeplake`, `json` and `args`, and return its `result` as JSON.

        Raises:
            AssertionError: it failed, with all that it printed.
        """
        tail = "\nprint('\\n=result=' + json.dumps(globals().get('result')))\n"
        done = subprocess.run(  # noqa: S603 - a fixed command of the tests' own
            [*self._command(code, tail), json.dumps(args)],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"Deep Lake 3.9 failed ({done.returncode}):\n{output[-6000:]}"
        return json.loads(done.stdout.rpartition("\n=result=")[2])

    @contextlib.contextmanager
    def running(self, code: str, /, *args: Any, timeout: float = RUN_SECONDS) -> Iterator[None]:
        """Run code, and keep the process, with what it holds, alive inside the `with` block.

        Raises:
            AssertionError: it ended, before or inside the block, as it should not.
        """
        tail = "\nprint('\\n=ready=', flush=True)\nsys.stdin.read()\n"
        with subprocess.Popen(  # noqa: S603 - as above
            [*self._command(code, tail), json.dumps(args)],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                seen = ""
                assert process.stdout is not None
                for line in process.stdout:
                    seen += line
                    if line.startswith("=ready="):
                        break
                else:
                    raise AssertionError(f"Deep Lake 3.9 ended:\n{seen[-6000:]}")
                yield
                rest, _ = process.communicate(timeout=timeout)
                assert process.returncode == 0, rest[-6000:]
            finally:
                process.kill()

    def _command(self, code: str, tail: str) -> list[str]:
        return [self.python, "-c", _PRELUDE + textwrap.dedent(code) + tail]

    def _environment(self) -> dict[str, str]:
        """Nothing of the tests' own environment: neither credentials nor proxies."""
        return {
            "HOME": self.home,
            "PATH": os.environ.get("PATH", ""),
            "BUGGER_OFF": "yes",  # its crash reporter's own switch
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONWARNINGS": "ignore",
        }


def install(
    cache: str | os.PathLike[str] | None = None, *, requirements: tuple[str, ...] = REQUIREMENTS
) -> Oracle:
    """Install Deep Lake 3.9 into a cache folder, unless it is there.

    Args:
        cache: the folder; by default the user's cache directory.
        requirements: another release, and what it needs; each set has an environment of its own.

    Raises:
        AssertionError: pip failed, with what it said.
    """
    name = hashlib.sha256(repr((requirements, sys.version, _LOOPBACK_ONLY)).encode()).hexdigest()
    root = pathlib.Path(cache or _user_cache()) / f"deeplake-{name[:12]}"
    root.mkdir(parents=True, exist_ok=True)
    oracle = Oracle(str(root / "env" / "bin" / "python"), str(root / "home"))
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests may run in several processes
        if not (root / "complete").exists():
            _fill(root, requirements)
            (root / "complete").touch()
    return oracle


def _user_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "asyncstore-tests")


def _fill(root: pathlib.Path, requirements: tuple[str, ...]) -> None:
    venv.create(root / "env", clear=True, with_pip=True)
    python = str(root / "env" / "bin" / "python")
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(  # noqa: S603 - a fixed command of the tests' own
            [python, "-m", "pip", "install", "--disable-pip-version-check", *requirements],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        log.seek(0)
        assert done.returncode == 0, f"pip could not install Deep Lake 3.9:\n{log.read()[-6000:]}"
    packages = next((root / "env" / "lib").glob("python*/site-packages"))
    (packages / "sitecustomize.py").write_text(_LOOPBACK_ONLY)
    settings = root / "home" / ".activeloop"
    settings.mkdir(parents=True, exist_ok=True)
    settings.joinpath("reporting_config.json").write_text('{"consent": false, "client_id": "x"}')
