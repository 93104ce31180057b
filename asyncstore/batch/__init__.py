"""Many calls at once: drawn from an iterable, run as wide as pays, handed out as they end."""

from asyncstore.batch.budget import Budget, Slot
from asyncstore.batch.chunked import Chunked
from asyncstore.batch.outcome import Outcome
from asyncstore.batch.reads import Reads
from asyncstore.batch.run import Batch

__all__ = ["Batch", "Budget", "Chunked", "Outcome", "Reads", "Slot"]
