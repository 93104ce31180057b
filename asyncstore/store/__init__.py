"""The store: everything a user does with objects, on any service."""

from asyncstore.store._open import open_store
from asyncstore.store._store import GAP, Store

__all__ = ["GAP", "Store", "open_store"]
