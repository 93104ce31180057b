"""Behaviour around any provider: retry, limits, read-only, tracing."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError
from asyncstore.layers.base import Layer
from asyncstore.layers.bridged import Bridged
from asyncstore.layers.guarded import Guard, Guarded
from asyncstore.layers.hedge import Hedged
from asyncstore.layers.lane import Lane, lane_of
from asyncstore.layers.limit import Limited
from asyncstore.layers.readonly import ReadOnly
from asyncstore.layers.retry import Retried, RetryPolicy
from asyncstore.layers.trace import Event, Traced, log

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a store behaves, whatever the service.

    Attributes:
        read_only: refuse every write before anything is sent.
        retry: how failed requests are tried again.
        concurrency: most reads, and most writes, under way at once.
        deadline: seconds for one request with all its tries and waits, or `None`.
        trace: called after every request.
        hedge: ask for slow reads once more.
    """

    read_only: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 512
    deadline: float | None = 300.0
    trace: Callable[[Event], None] | None = None
    hedge: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(f"retry={self.retry!r}: write RetryPolicy(attempts=…)")
        if self.concurrency < 1:
            raise ConfigurationError(f"concurrency={self.concurrency}: at least 1")
        if self.deadline is not None and not self.deadline > 0:
            raise ConfigurationError(f"deadline={self.deadline}: more than 0 seconds, or None")


def layered(provider: Provider, options: Options, /) -> Provider:
    """Wrap a provider in the layers that the options ask for.

    A place under the limit is taken for a request and not while waiting to repeat it; a trace
    tells of a call once, however often it was tried; read-only comes before everything.
    """
    provider = Limited(provider, options.concurrency)
    if options.hedge:
        provider = Hedged(provider)
    provider = Retried(provider, options.retry, deadline=options.deadline)
    if options.trace is not None or log.isEnabledFor(logging.DEBUG):
        provider = Traced(provider, options.trace)
    if options.read_only:
        provider = ReadOnly(provider)
    return provider


__all__ = [
    "Bridged",
    "Event",
    "Guard",
    "Guarded",
    "Hedged",
    "Lane",
    "Layer",
    "Limited",
    "Options",
    "ReadOnly",
    "Retried",
    "RetryPolicy",
    "Traced",
    "lane_of",
    "layered",
]
