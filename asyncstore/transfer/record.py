"""The record of a transfer: what is done and verified, in a file that a kill cannot spoil.

Theory of operation. A record belongs to one pair of places, and lives in the user's state folder,
so that no data folder is littered. It is a file of lines, one JSON array each, appended to; a
line that a kill cut short is the last one, and is ignored. When it holds much that is outdated it
is written anew beside and renamed.

What is on record was written, but a power cut may have taken it from the disk: entries that no
`flushed` line follows count only while the machine has not been started again since.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asyncstore.transfer.plan import Done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore.types import ObjectMeta

_FORMAT = 1
_FLUSH_EVERY = 256


@dataclass(slots=True)
class Begun:
    """A large object on its way.

    Attributes:
        source: the ETag of the version that is read.
        size: bytes.
        part: bytes of a part, but for the last.
        token: names the upload; `""` where a kill came before its name was known.
        kind: which checksum `sums` are of.
        sums: of the parts that were sent, by number.
        since: when it was begun, in seconds since 1970.
    """

    source: str | None
    size: int
    part: int
    token: str = ""
    kind: str = ""
    sums: dict[int, int] = field(default_factory=dict)
    since: float = 0.0

    def is_of(self, meta: ObjectMeta) -> bool:
        """Whether it is provably of this version of the source."""
        return meta.etag is not None and (meta.etag, meta.size) == (self.source, self.size)


class Record:
    """What is known of earlier runs between two places.

    Args:
        path: the file, made when something is first recorded; `None` keeps nothing.
        boot: names the machine's present run; for tests.

    Attributes:
        done: what was transferred and verified, by key.
        begun: large objects on their way, by key.
    """

    def __init__(self, path: Path | None, /, *, boot: str | None = None) -> None:
        self._path = path
        self._boot = boot if boot is not None else boot_id()
        self.done: dict[str, Done] = {}
        self.begun: dict[str, Begun] = {}
        self._lines = 0
        self._pending: list[str] = []
        self._fd = -1
        self._lock = threading.Lock()

    def load(self) -> Self:
        """Read the file, if there is one; blocks."""
        boot = ""
        fresh: dict[str, Done] = {}
        for line in self._read():
            self._lines += 1
            match line:
                case ["run", int(), str(name)]:
                    self._trust(fresh, boot=boot)
                    boot = name
                case ["done", str(key), source, int(size), target]:
                    fresh[key] = Done(source, size, target)
                    self.begun.pop(key, None)
                case ["begun", str(key), source, int(size), int(part), str(kind), int(since)]:
                    self.begun[key] = Begun(source, size, part, "", kind, {}, since)
                case ["token", str(key), str(token)] if key in self.begun:
                    self.begun[key].token = token
                case ["part", str(key), int(number), int(value)] if key in self.begun:
                    self.begun[key].sums[number] = value
                case ["ended", str(key)]:
                    self.begun.pop(key, None)
                case ["gone", str(key)]:
                    fresh.pop(key, None)
                    self.done.pop(key, None)
                case ["flushed"]:
                    self._trust(fresh, boot=self._boot)
        self._trust(fresh, boot=boot)
        return self

    def _trust(self, fresh: dict[str, Done], *, boot: str) -> None:
        if boot == self._boot:
            self.done.update(fresh)
        fresh.clear()

    def _read(self) -> Iterator[Any]:
        if self._path is None:
            return
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole, _, _ = text.rpartition(b"\n")
        for line in whole.split(b"\n"):
            # A cut line may be followed by a later run's.
            with suppress(ValueError):
                yield json.loads(line)

    def add(self, key: str, done: Done) -> None:
        """Record that an object was transferred and verified; `save` when `due`."""
        self.done[key] = done
        self.begun.pop(key, None)
        self._append(["done", key, done.source, done.size, done.target])

    def begin(self, key: str, begun: Begun) -> None:
        """Record that an upload is about to begin; safe from a kill when this returns; blocks."""
        self.begun[key] = begun
        for line in _lines(key, begun):
            self._append(line)
        self.save()

    def name(self, key: str, token: str) -> None:
        """Record what an upload that was begun is called; blocks."""
        self.begun[key].token = token
        self._append(["token", key, token])
        self.save()

    def part(self, key: str, number: int, value: int) -> None:
        """Record a part that was sent, and its checksum; blocks."""
        self.begun[key].sums[number] = value
        self._append(["part", key, number, value])
        self.save()

    def end(self, key: str) -> None:
        """Record that an upload was given up; blocks."""
        if self.begun.pop(key, None) is not None:
            self._append(["ended", key])
            self.save()

    def remove(self, key: str) -> None:
        """Record that an object was deleted from the target; `save` when `due`."""
        if self.done.pop(key, None) is not None:
            self._append(["gone", key])

    def flushed(self) -> None:
        """Record that everything so far is on the target's disk; blocks."""
        self._append(["flushed"])
        self.save()
        sent = sum(len(begun.sums) for begun in self.begun.values())
        if self._path is not None and self._lines > 1000 + 3 * (len(self.done) + sent):
            self._compact(self._path)

    def save(self) -> None:
        """Hand what was recorded to the system, where a kill cannot take it; blocks."""
        with self._lock:
            pending, self._pending = self._pending, []
            if pending and self._path is not None:
                if self._fd < 0:
                    self._open(self._path)
                os.write(self._fd, "".join(pending).encode())

    @property
    def due(self) -> bool:
        """Whether enough is waiting to be saved."""
        return len(self._pending) >= _FLUSH_EVERY

    def close(self) -> None:
        """Save, and close the file; blocks."""
        self.save()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, line: list[Any]) -> None:
        with self._lock:
            self._pending.append(_text(line))
            self._lines += 1

    def _open(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        # Begins a line, whatever the last run left unfinished.
        os.write(self._fd, b"\n" + _text(["run", _FORMAT, self._boot]).encode())

    def _compact(self, path: Path) -> None:
        self.close()
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        lines: list[list[Any]] = [
            ["done", key, done.source, done.size, done.target] for key, done in self.done.items()
        ]
        begun = [line for key, one in self.begun.items() for line in _lines(key, one)]
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            for line in [["run", _FORMAT, self._boot], *lines, ["flushed"], *begun]:
                file.write(_text(line))
        os.replace(beside, path)
        self._lines = len(lines) + len(begun) + 2


def _lines(key: str, begun: Begun) -> Iterator[list[Any]]:
    kind, since = begun.kind, int(begun.since)
    yield ["begun", key, begun.source, begun.size, begun.part, kind, since]
    if begun.token:
        yield ["token", key, begun.token]
    for number, value in begun.sums.items():
        yield ["part", key, number, value]


def _text(line: list[Any]) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"


def record_path(source: str, target: str) -> Path:
    """Return where the record of a pair of places is: below the user's state folder."""
    names = hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()[:32]
    return _state_home() / "asyncstore" / "transfers" / f"{names}.jsonl"


def _state_home() -> Path:
    told = os.environ.get("XDG_STATE_HOME")
    if told and os.path.isabs(told):
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".local" / "state"


def boot_id() -> str:
    """Name this run of the machine; where it has no name, one that is never met again."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return os.urandom(16).hex()
