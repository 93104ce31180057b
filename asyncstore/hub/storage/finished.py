"""Uploads that were joined: remembered for a while, so that who asks again hears the same.

The answer to CompleteMultipartUpload may be lost on its way. The client then asks again, and the
upload is not there any more; without this it would take its success for a failure.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from asyncstore.hub.storage.committing import Change
    from asyncstore.hub.storage.documents import Chosen
    from asyncstore.hub.storage.request import Request

LIFE = 3600.0
"""Seconds for which it is remembered."""


class Outcome(NamedTuple):
    """What is answered.

    Attributes:
        etag: the object's, without quotes.
        sums: its checksums, by kind, as base64 text.
        whole: whether they are of all bytes.
    """

    etag: str
    sums: Mapping[str, str]
    whole: bool


def remember(
    change: Change, request: Request, chosen: Sequence[Chosen], outcome: Outcome, at: int
) -> None:
    """Keep what a request is answered; `at` is in epoch milliseconds."""
    change.db.execute(
        "INSERT INTO finished VALUES (?,?,?,?,?,?)",
        (
            request.query["uploadId"],
            request.bucket,
            request.key.encode(),
            at,
            _digest(chosen),
            json.dumps(outcome, separators=(",", ":")),
        ),
    )


def recall(db: sqlite3.Connection, request: Request, chosen: Sequence[Chosen]) -> Outcome | None:
    """Return what the same request was answered, of the same key and the same parts."""
    row = db.execute(
        "SELECT outcome FROM finished WHERE id = ? AND bucket = ? AND key = ? AND chosen = ?",
        (request.query["uploadId"], request.bucket, request.key.encode(), _digest(chosen)),
    ).fetchone()
    return None if row is None else Outcome(*json.loads(row[0]))


def forget_old(change: Change, before: int) -> None:
    """Forget what was finished before a time, in epoch milliseconds."""
    change.db.execute("DELETE FROM finished WHERE at < ?", (before,))


def forget_keys(change: Change, bucket: str, first: bytes, end: bytes) -> None:
    """Forget what was finished of keys from one on and below another."""
    change.db.execute(
        "DELETE FROM finished WHERE bucket = ? AND key >= ? AND key < ?", (bucket, first, end)
    )


def _digest(chosen: Sequence[Chosen]) -> str:
    rows = [[one.number, one.etag, sorted(one.sums.items())] for one in chosen]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
