"""Behaviour around any provider: retry, limits, read-only, tracing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncstore.layers.base import Layer
from asyncstore.layers.guarded import Guard, Guarded
from asyncstore.layers.readonly import ReadOnly
from asyncstore.layers.retry import RetryPolicy
from asyncstore.layers.trace import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a store behaves, whatever the service.

    Attributes:
        read_only: refuse every write before anything is sent.
        retry: how failed requests are tried again.
        concurrency: most requests under way at once.
        deadline: seconds for one request with all its tries and waits, or `None`.
        trace: called after every request.
    """

    read_only: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 64
    deadline: float | None = 300.0
    trace: Callable[[Event], None] | None = None


def layered(provider: Provider, options: Options, /) -> Provider:
    """Wrap a provider in the layers that the options ask for."""
    if options.read_only:
        provider = ReadOnly(provider)
    return provider


__all__ = ["Event", "Guard", "Guarded", "Layer", "Options", "ReadOnly", "RetryPolicy", "layered"]
