"""The index: which objects there are, what is known of them, and where their bytes are.

One SQLite database. An object's bytes are in its row where they are few, and in spans of files
where they are more; a file is counted, so that a copy, or a part of another object, names the
same file. Keys are their UTF-8 bytes, so that they sort as S3 sorts them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncstore.hub.storage.batching import Batching

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asyncstore.hub.storage.batching import Job
    from asyncstore.hub.storage.committing import Change
    from asyncstore.hub.storage.files import Files

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified INTEGER NOT NULL, about TEXT NOT NULL, spans TEXT, data BLOB,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, begun INTEGER NOT NULL,
    about TEXT NOT NULL, kind TEXT NOT NULL, chosen INTEGER NOT NULL, whole INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_key ON uploads (bucket, key, id);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified INTEGER NOT NULL, sum TEXT NOT NULL, spans TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finished (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL,
    chosen TEXT NOT NULL, outcome TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS finished_by_time ON finished (at);
"""
_VERSION = 1


class Extent(NamedTuple):
    """Bytes in a file.

    Attributes:
        name: the file's.
        start: the first, in bytes.
        size: how many.
    """

    name: str
    start: int
    size: int


@dataclass(slots=True)
class About:
    """What is kept of an object besides its bytes, and given back with it.

    Attributes:
        headers: such as `content-type`, names in lower case.
        metadata: the user's own, names in lower case and without `x-amz-meta-`.
        sums: checksums, by kind, as base64 text.
        whole: whether they are of all bytes, and not of the parts' checksums.
        parts: the sizes of the parts that it was joined from; none where it was put whole.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True
    parts: Sequence[int] = ()

    def dump(self) -> str:
        """Return it as the index keeps it."""
        values = [self.headers, self.metadata, self.sums, self.whole, list(self.parts)]
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> About:
        """Read what the index keeps."""
        return cls(*json.loads(text))


@dataclass(slots=True)
class Entry:
    """An object.

    Attributes:
        size: in bytes.
        etag: without quotes.
        modified: epoch milliseconds.
        about: the rest that is known.
        extents: where its bytes are, in order; empty where `data` has them.
        data: its bytes, where they are few.
    """

    size: int
    etag: str
    modified: int
    about: About
    extents: Sequence[Extent] = ()
    data: bytes | None = None

    @property
    def names(self) -> list[str]:
        """The files that its bytes are in."""
        return [extent.name for extent in self.extents]


class Listed(NamedTuple):
    """What a listing says of an object."""

    key: bytes
    size: int
    etag: str
    modified: int


def connect(path: str) -> sqlite3.Connection:
    """Open the database; commits are flushed to the disk."""
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=30, cached_statements=256
    )
    # Pages wide enough that the longest key stays in its own page.
    for pragma in (
        "page_size=8192",
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=4096",
        "temp_store=MEMORY",
    ):
        db.execute(f"PRAGMA {pragma}").fetchall()
    return db


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables.

    Raises:
        RuntimeError: the database was made by a later version of this program.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise RuntimeError(f"the storage's index has form {version}; this program knows {_VERSION}")
    db.executescript(_SCHEMA)
    db.execute(f"PRAGMA user_version={_VERSION}")


class Finder(Batching):
    """The thread that looks objects up, one after another, many for each hop.

    Args:
        index: where to look.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        super().__init__("hub-storage-find")

    async def find(self, bucket: str, key: bytes) -> Entry | None:
        """Return an object, without holding its files."""
        found: Entry | None = await self.submit(partial(self._index.find, bucket, key))
        return found

    async def hold(self, bucket: str, key: bytes) -> Entry | None:
        """Return an object whose files stay until they are released.

        The files of a caller that is cancelled are held no longer.
        """
        future = self.submit(partial(self._index.hold, bucket, key))
        try:
            found: Entry | None = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._index.let_go)
            raise
        return found

    def carry_out(self, jobs: list[Job]) -> None:
        """Look up."""
        for job in jobs:
            try:
                job.result = job.call()
            except (sqlite3.Error, ValueError) as error:
                job.error = error


class Index:
    """Reads the index, from any thread.

    Args:
        path: of the database.
        files: those that its rows name.
    """

    def __init__(self, path: str, files: Files) -> None:
        self.path = path
        self._files = files
        self._here = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection."""
        db: sqlite3.Connection | None = getattr(self._here, "db", None)
        if db is None:
            db = self._here.db = connect(self.path)
            with self._lock:
                self._all.append(db)
        return db

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            while self._all:
                self._all.pop().close()
            self._here = threading.local()

    def find(self, bucket: str, key: bytes) -> Entry | None:
        """Return an object, without holding its files."""
        return find(self.db, bucket, key)

    def hold(self, bucket: str, key: bytes) -> Entry | None:
        """Return an object whose files stay until they are released."""
        db = self.db
        with self._files.lock:
            entry = find(db, bucket, key)
            if entry is not None and entry.extents:
                self._files.hold(entry.names)
        return entry

    def let_go(self, future: asyncio.Future[Entry | None]) -> None:
        """Release what was held for somebody who is not there any more."""
        if not future.cancelled() and future.exception() is None:
            entry = future.result()
            if entry is not None:
                self._files.release(entry.names)

    def scan(self, bucket: str, first: bytes, end: bytes | None) -> Iterator[Listed]:
        """Yield objects in the order of their keys, from one on and up to another, exclusive."""
        rows = self.db.execute(
            "SELECT key, size, etag, modified FROM objects"
            " WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
            (bucket, first, b"\xff" if end is None else end),
        )
        return map(Listed._make, rows)

    def size_of(self, bucket: str, prefix: bytes) -> int:
        """Return how many bytes all objects below a prefix have."""
        row = self.db.execute(
            "SELECT COALESCE(SUM(size), 0) FROM objects WHERE bucket = ? AND key >= ? AND key < ?",
            (bucket, prefix, after_prefix(prefix)),
        ).fetchone()
        return int(row[0])


def after_prefix(prefix: bytes) -> bytes:
    """Return the least string above all that begin so; UTF-8 never has the byte 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"


def find(db: sqlite3.Connection, bucket: str, key: bytes) -> Entry | None:
    """Return an object."""
    row = db.execute(
        "SELECT size, etag, modified, about, spans, data FROM objects WHERE bucket = ? AND key = ?",
        (bucket, key),
    ).fetchone()
    if row is None:
        return None
    size, etag, modified, about, spans, data = row
    return Entry(size, etag, modified, About.load(about), load_extents(spans), data)


def load_extents(text: str | None) -> list[Extent]:
    """Read where bytes are."""
    return [Extent(*one) for one in json.loads(text)] if text else []


def dump_extents(extents: Iterable[Extent]) -> str | None:
    """Write where bytes are."""
    rows = [list(extent) for extent in extents]
    return json.dumps(rows, separators=(",", ":")) if rows else None


def store(change: Change, bucket: str, key: bytes, entry: Entry) -> None:
    """Write an object's row, in place of another; the files that it names are counted already."""
    drop(change, bucket, key)
    change.db.execute(
        "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            bucket,
            key,
            entry.size,
            entry.etag,
            entry.modified,
            entry.about.dump(),
            dump_extents(entry.extents),
            entry.data,
        ),
    )


def drop(change: Change, bucket: str, key: bytes) -> bool:
    """Remove an object's row, and its uses of files; return whether there was one."""
    rows = change.db.execute(
        "DELETE FROM objects WHERE bucket = ? AND key = ? RETURNING spans", (bucket, key)
    ).fetchall()
    for (spans,) in rows:
        unuse(change, [extent.name for extent in load_extents(spans)])
    return bool(rows)


def use(db: sqlite3.Connection, names: Iterable[str]) -> None:
    """Count uses of files, one for each time that a name comes."""
    db.executemany(
        "INSERT INTO files VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET uses = uses + 1",
        [(name,) for name in names],
    )


def unuse(change: Change, names: Sequence[str]) -> None:
    """End uses of files; one that has none is dropped."""
    for name in names:
        [(left,)] = change.db.execute(
            "UPDATE files SET uses = uses - 1 WHERE name = ? RETURNING uses", (name,)
        ).fetchall()
        if not left:
            change.db.execute("DELETE FROM files WHERE name = ?", (name,))
            change.dropped.append(name)


def is_used(db: sqlite3.Connection, name: str) -> bool:
    """Whether a row names a file."""
    found: Any = db.execute("SELECT 1 FROM files WHERE name = ?", (name,)).fetchone()
    return found is not None
