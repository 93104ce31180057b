"""The record of a transfer: what is done and verified, in a file that a kill cannot spoil.

Theory of operation. A record belongs to one pair of places, and lives in the user's state folder,
so that no data folder is littered. It is an SQLite database, read in the order of its keys beside
the two listings, so that a million objects are no matter of memory. Losing it costs time and never
bytes: one that is damaged is begun anew.

What is on record was written, but a power cut may have taken it from the disk. Each run's entries
count while the machine has not been started again since, and for good once the target was
flushed after them. Entries of earlier runs that nobody flushed are taken over by the run that does.

The name of an upload may be a secret (a session's address at Google): the file is its owner's
alone, and nothing tells what is in it.

All calls but `add` and `remove` block.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asyncstore.errors import StoreError
from asyncstore.transfer.plan import Done

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from asyncstore.transfer.plan import Noted
    from asyncstore.types import ObjectMeta

_SAVE_EVERY = 256
_BUSY = 30.0  # seconds to wait for another run of the same pair
_SCHEMA = """
    create table if not exists runs (
        run integer primary key, boot text not null, flushed integer not null default 0
    );
    create table if not exists done (
        key text primary key, source text, size integer not null, target text,
        run integer not null
    ) without rowid;
    create table if not exists begun (
        key text primary key, source text, size integer not null, part integer not null,
        token text not null, kind text not null, since real not null
    ) without rowid;
    create table if not exists parts (
        key text not null, number integer not null, sum text not null, primary key (key, number)
    ) without rowid;
"""
_TRUSTED = (
    "select key, source, size, target from done"
    " where run in (select run from runs where flushed or boot = ?) and "
)

_log = logging.getLogger("asyncstore")


@dataclass(slots=True)
class Begun:
    """A large object on its way.

    Attributes:
        source: the ETag of the version that is read.
        size: bytes.
        part: bytes of a part, but for the last.
        token: names the upload; `""` where a kill came before its name was known. It may be as
            good as a credential.
        kind: which checksum `sums` are of.
        sums: of the parts that were sent, by number.
        since: when it was begun, in seconds since 1970.
    """

    source: str | None
    size: int
    part: int
    token: str = field(default="", repr=False)
    kind: str = ""
    sums: dict[int, int] = field(default_factory=dict)
    since: float = 0.0

    def is_of(self, meta: ObjectMeta) -> bool:
        """Whether it is provably of this version of the source."""
        return meta.etag is not None and (meta.etag, meta.size) == (self.source, self.size)


class Record:
    """What is known of earlier runs between two places.

    Args:
        path: the file, made by `load`; `None` keeps nothing.
        boot: names the machine's present run; for tests.

    Attributes:
        begun: large objects on their way, by key.
    """

    def __init__(self, path: Path | None, /, *, boot: str | None = None) -> None:
        self._path = path
        self._boot = boot if boot is not None else boot_id()
        self.begun: dict[str, Begun] = {}
        self._run: int | None = None
        self._flushing: int | None = None
        self._added: list[Noted] = []
        self._removed: list[tuple[str]] = []
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def load(self) -> Self:
        """Open the file and read what is on its way; make it where there is none.

        Raises:
            StoreError: it cannot be opened.
        """
        if self._path is not None:
            with self._told():
                self._db = _opened(self._path)
                self._read_begun(self._db)
        return self

    # ---- what there is

    def after(self, key: str, limit: int, /) -> list[Noted]:
        """Return the next objects behind a key that count as done, in the order of their bytes."""
        sql = f"{_TRUSTED} key > ? order by key limit ?"
        return self._query(sql, self._boot, key, limit)

    def find(self, keys: Iterable[str], /) -> dict[str, Done]:
        """Return what is done of some keys."""
        found: dict[str, Done] = {}
        for key in keys:
            if _is_text(key):
                for row in self._query(f"{_TRUSTED} key = ?", self._boot, key):
                    found[key] = Done(*row[1:])
        return found

    # ---- what is done

    def add(self, done: Sequence[Noted]) -> None:
        """Record that objects were transferred and verified; `save` when `due`."""
        self._added += (
            done
            if _is_text("".join([row[0] for row in done]))
            else [row for row in done if _is_text(row[0])]
        )

    def remove(self, key: str) -> None:
        """Record that an object is at the target no more; `save` when `due`."""
        if _is_text(key):
            self._removed.append((key,))

    @property
    def due(self) -> bool:
        """Whether enough is waiting to be saved."""
        return len(self._added) + len(self._removed) >= _SAVE_EVERY

    def save(self) -> None:
        """Hand what was recorded to the system, where a kill cannot take it."""
        added, self._added = self._added, []
        removed, self._removed = self._removed, []
        if not (added or removed):
            return
        ended = [(key,) for key, *_ in added if key in self.begun] if self.begun else []
        for (key,) in ended:
            del self.begun[key]
        with self._changing() as db:
            if db is None:
                return
            run = self._mine(db)
            db.executemany(
                "insert or replace into done values (?, ?, ?, ?, ?)",
                [(*row, run) for row in added],
            )
            db.executemany("delete from begun where key = ?", ended)
            db.executemany("delete from parts where key = ?", ended)
            db.executemany("delete from done where key = ?", removed)

    def flushing(self) -> None:
        """Save, and take over what nobody flushed; what is on record now is about to be flushed."""
        self.save()
        with self._changing() as db:
            if db is None:
                return
            # What is added from now on is of another run.
            others = db.execute(
                "select run from runs where boot = ? and not flushed and run is not ?",
                (self._boot, self._run),
            ).fetchall()
            if others:
                run = self._mine(db)
                for (other,) in others:
                    db.execute("update done set run = ? where run = ?", (run, other))
            self._flushing, self._run = self._run, None

    def flushed(self) -> None:
        """Record that everything up to `flushing` is on the target's disk."""
        run, self._flushing = self._flushing, None
        if run is not None:
            with self._changing() as db:
                if db is not None:
                    db.execute("update runs set flushed = 1 where run = ?", (run,))

    # ---- what is on its way

    def begin(self, key: str, begun: Begun) -> None:
        """Record that an upload is about to begin; safe from a kill when this returns."""
        self.begun[key] = begun
        with self._changing() as db:
            if db is None or not _is_text(key):
                return
            row = (begun.source, begun.size, begun.part, begun.token, begun.kind, begun.since)
            db.execute("insert or replace into begun values (?, ?, ?, ?, ?, ?, ?)", (key, *row))
            db.execute("delete from parts where key = ?", (key,))
            parts = [(key, number, str(value)) for number, value in begun.sums.items()]
            db.executemany("insert into parts values (?, ?, ?)", parts)

    def name(self, key: str, token: str) -> None:
        """Record what an upload that was begun is called: a new one, with no part yet."""
        begun = self.begun[key]
        begun.token = token
        begun.sums.clear()
        with self._changing() as db:
            if db is not None:
                db.execute("delete from parts where key = ?", (key,))
                db.execute("update begun set token = ? where key = ?", (token, key))

    def part(self, key: str, number: int, value: int, token: str) -> None:
        """Record a part that was sent, its checksum, and what the upload is called since."""
        begun = self.begun[key]
        begun.sums[number] = value
        renamed, begun.token = begun.token != token, token
        with self._changing() as db:
            if db is not None:
                sql = "insert or replace into parts values (?, ?, ?)"
                db.execute(sql, (key, number, str(value)))
                if renamed:
                    db.execute("update begun set token = ? where key = ?", (token, key))

    def end(self, key: str) -> None:
        """Record that an upload was given up."""
        if self.begun.pop(key, None) is not None:
            with self._changing() as db:
                if db is not None:
                    db.execute("delete from begun where key = ?", (key,))
                    db.execute("delete from parts where key = ?", (key,))

    def close(self) -> None:
        """Save, and close the file."""
        try:
            self.save()
        finally:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    # ---- the database

    def _read_begun(self, db: sqlite3.Connection) -> None:
        for key, source, size, part, token, kind, since in db.execute("select * from begun"):
            self.begun[key] = Begun(source, size, part, token, kind, {}, since)
        for key, number, value in db.execute("select * from parts"):
            if key in self.begun:
                self.begun[key].sums[number] = int(value)

    def _mine(self, db: sqlite3.Connection) -> int:
        if self._run is None:
            made = db.execute("insert into runs (boot) values (?)", (self._boot,))
            self._run = made.lastrowid
        assert self._run is not None  # noqa: S101 - a row was just made
        return self._run

    def _query(self, sql: str, *values: Any) -> list[Any]:
        if self._db is None:
            return []
        with self._lock, self._told():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection | None]:
        """Give the database within a transaction, and nobody else meanwhile."""
        if self._db is None:
            yield None
            return
        with self._lock, self._told():
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    @contextmanager
    def _told(self) -> Iterator[None]:
        import sqlite3  # noqa: PLC0415 - only transfers need it

        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the record of the transfer cannot be used ({error}); delete it to begin anew",
                op="record",
                url=str(self._path),
            ) from None


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database; a file that is none, or is damaged, is replaced."""
    import sqlite3  # noqa: PLC0415 - only transfers need it

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, 0o600)  # a link that was planted there is not followed
    try:
        os.chmod(fd if os.chmod in os.supports_fd else path, 0o600)  # whatever it was before
    finally:
        os.close(fd)
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        raise  # it is locked, or the disk is full: nothing is wrong with what is in it
    except sqlite3.DatabaseError as error:
        _log.warning("%s is damaged and is begun anew: %s", path, error)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    import sqlite3  # noqa: PLC0415 - only transfers need it

    db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        # A kill or a power cut leaves it whole; the last entries may be missing after the latter.
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = normal")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _is_text(key: str) -> bool:
    """Whether a key is Unicode: files may have names that are not."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def record_path(source: str, target: str) -> Path:
    """Return where the record of a pair of places is: below the user's state folder."""
    names = hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()[:32]
    return _state_home() / "asyncstore" / "transfers" / f"{names}.sqlite"


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
