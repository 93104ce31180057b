"""Whether two objects hold the same bytes: by checksums where there are any, else by reading."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from asyncstore.transfer import sums

if TYPE_CHECKING:
    from asyncstore.store import Store
    from asyncstore.sums import Running
    from asyncstore.types import ObjectMeta


async def same(
    source: Store, here: ObjectMeta, target: Store, there: ObjectMeta
) -> tuple[bool, ObjectMeta, ObjectMeta]:
    """Compare an object's content at both sides.

    Checksums that both services tell are compared; else one side is read and held against what
    the other tells; else both are read.

    Returns:
        Whether they are the same, and both sides' metadata, of the versions that were compared.

    Raises:
        ObjectChangedError: either was replaced meanwhile.
        StoreError: as reading does.
    """
    if here.size != there.size:
        return False, here, there
    here, there = await _known(source, here), await _known(target, there)
    if here.size != there.size:
        return False, here, there
    common = here.checksums.keys() & there.checksums.keys()
    if common:
        equal = all(here.checksums[kind] == there.checksums[kind] for kind in common)
        return equal, here, there
    for told, store, other in (
        (_all(here), target, there),
        (_all(there), source, here),
    ):
        found = sums.hashers(told)
        if found is not None:
            name, made = found
            got = await _read(store, other, made)
            if got == b64decode(told[name]):
                return True, here, there
            if name in here.checksums or name in there.checksums:
                return False, here, there
            break  # an ETag that was no MD5 says nothing
    one = await _read(source, here, hashlib.sha256())
    return one == await _read(target, there, hashlib.sha256()), here, there


async def _known(store: Store, meta: ObjectMeta) -> ObjectMeta:
    """Ask for what a listing leaves out; files have no checksums to ask for."""
    if meta.checksums or store.url.scheme == "file":
        return meta
    found = await store.head(meta.key)
    return found if found.etag == meta.etag and found.size == meta.size else meta


def _all(meta: ObjectMeta) -> dict[str, str]:
    """Return its checksums, and, where there are none, the MD5 that its ETag may be."""
    if meta.checksums:
        return dict(meta.checksums)
    md5 = sums.md5_of(meta)
    return {} if md5 is None else {"md5": b64encode(bytes.fromhex(md5)).decode()}


async def _read(store: Store, meta: ObjectMeta, made: Running) -> bytes:
    async with store.stream(meta.key, if_match=meta.etag) as stream:
        return await sums.digest(stream, made)
