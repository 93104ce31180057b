"""The store: everything a user does with objects, on any service."""

from asyncstore.store._open import open_store
from asyncstore.store._store import Store

__all__ = ["Store", "open_store"]
