"""What a transfer does with each object: decided from two listings and a record, without I/O."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from fnmatch import translate
from re import compile as compiled
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asyncstore.types import ObjectMeta

Verb = Literal["copy", "compare", "skip", "delete", "refuse"]


@dataclass(frozen=True, slots=True)
class Done:
    """What is on record of an object that was transferred and verified.

    Attributes:
        source: the ETag of the version that was read.
        size: bytes.
        target: the ETag of what was written.
    """

    source: str | None
    size: int
    target: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        verb: `copy` it; `compare` both sides' content and copy what differs; `skip` it, as it is
            there and verified; `delete` it from the target; `refuse` it, as `reason` says.
        key: relative to both stores.
        meta: of the source, or of the target for a deletion.
        reason: why, in a few words.
    """

    verb: Verb
    key: str
    meta: ObjectMeta
    reason: str = ""


def plan(
    sources: Iterable[ObjectMeta],
    targets: Mapping[str, ObjectMeta],
    done: Mapping[str, Done],
    *,
    delete: bool = False,
    wanted: Callable[[str], bool] = lambda _: True,
    fold: Callable[[str], str] | None = None,
    refusal: Callable[[str], str | None] = lambda _: None,
    folders: bool = False,
) -> Iterator[Step]:
    """Decide what to do, for every source object in turn, then for what is only at the target.

    Nothing is skipped for being there: it is skipped if the record says that this version was
    written as what is there now. What is there unrecorded, with the same size, is compared.

    Args:
        sources: complete; each key once. Those that name a folder alone are passed over.
        targets: what is at the target, by key; complete if `delete`.
        done: the record of earlier runs, by key.
        delete: remove from the target what the source has not.
        wanted: says whether a key takes part; what does not is not deleted either.
        fold: where the target takes some different keys for one, what they become.
        refusal: says why a key cannot be at the target, or `None`.
        folders: at the target, a key cannot be a folder of other keys at once.
    """
    sources = list(sources)
    above = _folders(meta.key for meta in sources) if folders else set()
    seen: set[str] = set()
    taken: dict[str, str] = {}
    for meta in sources:
        key = meta.key
        if not wanted(key) or (meta.size == 0 and key.endswith("/")):
            continue
        seen.add(key)
        why = refusal(key)
        if why is None and key in above:
            why = "the target cannot hold it beside the keys below it"
        if why is None and fold is not None:
            first = taken.setdefault(fold(key), key)
            if first != key:
                why = f"the target takes it and {first!r} for one"
        if why is None:
            yield _step(meta, targets.get(key), done.get(key))
        else:
            yield Step("refuse", key, meta, why)
    if delete:
        for key, meta in targets.items():
            if key not in seen and wanted(key):
                yield Step("delete", key, meta, "not at the source")


def _folders(keys: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for key in keys:
        folder = key.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _step(meta: ObjectMeta, there: ObjectMeta | None, done: Done | None) -> Step:
    if there is None:
        return Step("copy", meta.key, meta, "not at the target")
    if there.size != meta.size:
        return Step("copy", meta.key, meta, "another size at the target")
    if done is None:
        return Step("compare", meta.key, meta, "at the target, unverified")
    if None in (meta.etag, there.etag) or done.target != there.etag:
        return Step("compare", meta.key, meta, "changed at the target since")
    if done.source != meta.etag or done.size != meta.size:
        return Step("copy", meta.key, meta, "changed at the source since")
    return Step("skip", meta.key, meta, "verified before")


def filtered(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    """Return what says whether a key takes part.

    Args:
        include: glob patterns; `*` matches slashes too. None given means everything.
        exclude: patterns of what is left out, whatever `include` says.
    """
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
