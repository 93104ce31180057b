"""Many small objects written in one call, where the provider can and its layers agree."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asyncstore.layers import Layer
from asyncstore.provider import PutsGroup, passes_on
from asyncstore.types import Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.store._store import Store
    from asyncstore.types import Buffer, ObjectMeta


def putter(
    store: Store,
) -> Callable[[Sequence[tuple[str, Buffer]]], Awaitable[Sequence[ObjectMeta | None]]] | None:
    """Return what writes small objects as `PutsGroup.put_group` does; `None` where nothing does.

    Layers see one write, of the first key and with the bytes of all. Whether a key may be one is
    for whoever calls to have checked.
    """
    if not passes_on(store.provider, PutsGroup):
        return None

    async def put(items: Sequence[tuple[str, Buffer]]) -> Sequence[ObjectMeta | None]:
        prefix = store.prefix
        whole = [(prefix + key, data) for key, data in items] if prefix else items
        size = sum([len(data) for _, data in items])
        op = Op("put", whole[0][0], write=True, size=size)
        provider: Any = store.provider
        layers = []
        while isinstance(provider, Layer):
            layers.append(provider)
            provider = provider.inner
        call = partial(provider.put_group, whole)
        for layer in reversed(layers):
            call = partial(layer.around, op, call)
        found: Sequence[ObjectMeta | None] = await call()
        if not (prefix or provider.limits.metadata):
            return found  # as it is: there are neither keys to cut nor marks to hide
        mine = store._mine  # noqa: SLF001 - a Store
        return [meta and mine(meta) for meta in found]

    return put
