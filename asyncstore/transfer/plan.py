"""What a transfer does with each object: decided from both sides and a record, without I/O.

Theory of operation. Rows come in the order of their keys' bytes, each with what the source, the
target and the record say of one key, so that nothing grows with the number of objects. What
needs to know of other keys keeps what may still matter: a key waits until it is sure whether
others lie below it, which it is as soon as the order has passed that place. Those that wait are
each the beginning of the next, so that there are never more of them than a key is long.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from fnmatch import translate
from operator import lt
from re import compile as compiled
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncstore.columns import Columns
    from asyncstore.transfer.stretch import Fresh, Stretch
    from asyncstore.types import ObjectMeta

Verb = Literal["copy", "compare", "skip", "delete", "refuse", "pass"]


class Done(NamedTuple):
    """What is on record of an object that was transferred and verified.

    Attributes:
        source: the ETag of the version that was read.
        size: bytes.
        target: the ETag of what was written.
    """

    source: str | None
    size: int
    target: str | None


Noted = tuple[str, str | None, int, str | None]
"""A key on record, and what a `Done` says of it."""


class Row(NamedTuple):
    """What is known of one key.

    Attributes:
        source: there, or `None`.
        target: there, or `None`.
        done: what is on record of it, or `None`.
    """

    source: ObjectMeta | None
    target: ObjectMeta | None
    done: Done | None = None


class Step(NamedTuple):
    """One thing to do.

    Attributes:
        verb: `copy` it; `compare` both sides' content and copy what differs; `skip` it, as it is
            there and verified; `delete` it from the target; `refuse` it, as `reason` says; `pass`
            over what names a folder and has no bytes.
        key: relative to both stores.
        meta: of the source, or of the target for a deletion.
        reason: why, in a few words.
        there: what is at the target, or `None`.
    """

    verb: Verb
    key: str
    meta: ObjectMeta
    reason: str = ""
    there: ObjectMeta | None = None


def order(key: str) -> bytes:
    """Return the bytes by which keys are sorted; names that are no UTF-8 have theirs too."""
    return key.encode("utf-8", "surrogateescape")


def ascend(keys: Sequence[str], /) -> bool:
    """Whether keys follow each other in the order of their bytes, each once."""
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:
        return all(map(lt, map(order, keys), map(order, keys[1:])))
    return all(map(lt, keys, keys[1:]))  # as their bytes do


class Planner:
    """Decides, row by row.

    Nothing is skipped for being there: it is skipped if the record says that this version was
    written as what is there now. What is there unrecorded, with the same size, is compared.

    Args:
        delete: remove from the target what the source has not.
        absent: refuse what is there, whatever it holds.
        wanted: says whether a key takes part; what does not is not deleted either.
        first: where the target takes some different keys for one, returns which of the keys that
            it takes for this one came first; `None` where it tells all apart.
        refusal: says why a key cannot be at the target, or `None`.
        accepts: says of many keys at once whether `refusal` surely has nothing against any, and
            none names a folder.
        folders: at the target, a key cannot be a folder of other keys at once.
    """

    def __init__(
        self,
        *,
        delete: bool = False,
        absent: bool = False,
        wanted: Callable[[str], bool] | None = None,
        first: Callable[[str], str] | None = None,
        refusal: Callable[[str], str | None] = lambda _: None,
        accepts: Callable[[Sequence[str]], bool] = lambda _: False,
        folders: bool = False,
    ) -> None:
        self._delete = delete
        self._absent = absent
        self._wanted = wanted
        self._first = first
        self._refusal = refusal
        self._accepts = accepts
        self._folders = folders
        self._waiting: list[tuple[str, str, Row]] = []
        self._steps: list[Step] = []

    def feed(self, rows: Iterable[Row], /) -> list[Step]:
        """Take the next rows; return what is decided now, of these or of earlier ones."""
        for row in rows:
            meta = row.source
            if meta is None:
                self._stranger(row)
                continue
            if self._folders:
                self._enter(meta.key)
                self._waiting.append((meta.key, meta.key + "/", row))
            else:
                self._decide(row)
        return self._taken()

    def pass_over(self, stretch: Stretch, /) -> tuple[list[Step], Sequence[str]]:
        """Take the next rows, all of them proven, without a step for each.

        At a target where files are no folders, none of these is a folder of another: all are
        there.

        Returns:
            Steps, as from `feed`; and the keys of those that are skipped besides.
        """
        if self._first is not None or self._absent:
            return self.feed(stretch), ()
        skipped = list(stretch.keys)
        waiting = self._have_wait(skipped, stretch)
        if waiting is None:
            return self.feed(stretch), ()
        for at in reversed(waiting):
            del skipped[at]
        if self._wanted is not None:
            skipped = [*filter(self._wanted, skipped)]
        return self._taken(), skipped

    def take_over(self, fresh: Fresh, /) -> tuple[list[Step], Columns]:
        """Take the next rows, which the source alone has, without a step for each.

        Returns:
            Steps, as from `feed`; and what is copied besides, for it is `NEW` at the target.
        """
        copied = fresh.source
        keys = copied.keys
        waiting = None
        if self._first is None and self._accepts(keys) and not (self._folders and _nest(keys)):
            waiting = self._have_wait(keys, fresh)
        if waiting is None:
            return self.feed(fresh), copied[:0]
        chosen = [True] * len(keys) if self._wanted is None else [*map(self._wanted, keys)]
        for at in waiting:
            chosen[at] = False
        return self._taken(), copied.chosen(chosen)

    def _have_wait(self, keys: Sequence[str], rows: Sequence[Row]) -> Sequence[int] | None:
        """Let those of some rows wait that may have others below them further on.

        Args:
            keys: of the rows, of which none has another of them below it.
            rows: that follow.

        Returns:
            Which ones wait; `None` where others wait for these, perhaps.
        """
        if not self._folders:
            return ()
        self._enter(keys[0])
        if self._waiting:
            return None
        waiting = _open_beginnings(keys)
        self._waiting += [(keys[at], keys[at] + "/", rows[at]) for at in waiting]
        return waiting

    def end(self) -> list[Step]:
        """Return what is left to be decided; there are no more rows."""
        while self._waiting:
            self._decide(self._waiting.pop()[2])
        return self._taken()

    def _taken(self) -> list[Step]:
        steps, self._steps = self._steps, []
        return steps

    def _enter(self, key: str) -> None:
        """Decide about keys that wait and cannot have anything below them any more, or do."""
        waiting = self._waiting
        while waiting:
            name, folder, row = waiting[-1]
            if key.startswith(folder):
                why = "the target cannot hold it beside the keys below it"
            elif key.startswith(name) and key[len(name)] < "/":
                return
            else:
                why = None
            waiting.pop()
            self._decide(row, why)

    def _stranger(self, row: Row) -> None:
        there = row.target
        if there is not None and self._delete and self._takes_part(there.key):
            self._steps.append(Step("delete", there.key, there, "not at the source"))

    def _takes_part(self, key: str) -> bool:
        return self._wanted is None or self._wanted(key)

    def _decide(self, row: Row, why: str | None = None) -> None:
        meta, there = row.source, row.target
        assert meta is not None  # noqa: S101 - `feed` has looked
        key = meta.key
        if not self._takes_part(key):
            return
        plain = why is None and self._first is None and not self._absent
        if plain and _is_proven(row):
            self._steps.append(Step("skip", key, meta, "verified before", there))
            return
        if meta.size == 0 and key.endswith("/"):
            self._steps.append(Step("pass", key, meta, "folder marker"))
            return
        if why is None:
            why = self._refusal(key)
        if why is None and self._first is not None:
            first = self._first(key)
            if first != key:
                why = f"the target takes it and {first!r} for one"
        if why is not None:
            self._steps.append(Step("refuse", key, meta, why))
        elif there is not None and self._absent:
            self._steps.append(Step("refuse", key, meta, THERE, there))
        else:
            self._steps.append(_step(meta, there, row.done))


def _open_beginnings(keys: Sequence[str]) -> list[int]:
    """Return where, of ascending keys, those are that may have others below them further on.

    It is the last one, and what that begins with and goes on from before any slash would.
    """
    last = keys[-1]
    begun = [last[:end] for end in range(1, len(last)) if last[end] < "/"]
    places = [bisect_left(keys, order(name), key=order) for name in begun]
    found = [at for at, name in zip(places, begun, strict=True) if keys[at] == name]
    return [*found, len(keys) - 1]


def _nest(keys: Sequence[str]) -> bool:
    """Whether any of some keys is a folder of another."""
    folders = {key.rpartition("/")[0] for key in keys}
    for folder in [*folders]:
        above = folder
        while "/" in above:
            above = above.rpartition("/")[0]
            folders.add(above)
    return not folders.isdisjoint(keys)


NEW = "not at the target"
"""Why what the source alone has is copied."""

THERE = "there is an object"
"""Why what is there is refused, where only what is not there is to be written."""


def _is_proven(row: Row) -> bool:
    """Whether this version of the source is on record as written as what is there now."""
    meta, there, done = row
    return (
        done is not None
        and there is not None
        and meta is not None
        and meta.etag is not None
        and there.etag is not None
        and (meta.etag, meta.size, there.etag) == done
        and there.size == meta.size
    )


def _step(meta: ObjectMeta, there: ObjectMeta | None, done: Done | None) -> Step:
    key = meta.key
    if there is None:
        return Step("copy", key, meta, NEW)
    if there.size != meta.size:
        return Step("copy", key, meta, "another size at the target", there)
    if done is None:
        return Step("compare", key, meta, "at the target, unverified", there)
    if meta.etag is None or there.etag is None or done.target != there.etag:
        return Step("compare", key, meta, "changed at the target since", there)
    if done.source != meta.etag or done.size != meta.size:
        return Step("copy", key, meta, "changed at the source since", there)
    return Step("skip", key, meta, "verified before", there)


def filtered(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool] | None:
    """Return what says whether a key takes part; `None` where all do.

    Args:
        include: glob patterns; `*` matches slashes too. None given means everything.
        exclude: patterns of what is left out, whatever `include` says.
    """
    if not include and not exclude:
        return None
    wanted = [compiled(translate(pattern)) for pattern in include]
    unwanted = [compiled(translate(pattern)) for pattern in exclude]

    def takes_part(key: str) -> bool:
        if wanted and not any(pattern.match(key) for pattern in wanted):
            return False
        return not any(pattern.match(key) for pattern in unwanted)

    return takes_part


def folded(key: str) -> str:
    """Return what a file system that ignores case and Unicode forms takes a key for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())
