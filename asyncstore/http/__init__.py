"""The HTTP engine: one transport beneath everything that speaks HTTP."""

from asyncstore.http.connection import Stale
from asyncstore.http.engine import Counters, Engine, Reply
from asyncstore.http.message import Origin, Request, Response, TooLongError
from asyncstore.http.options import DEADLINE, EngineOptions

__all__ = [
    "DEADLINE",
    "Counters",
    "Engine",
    "EngineOptions",
    "Origin",
    "Reply",
    "Request",
    "Response",
    "Stale",
    "TooLongError",
]
