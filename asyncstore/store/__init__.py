"""The store: everything a user does with objects, on any service."""

from asyncstore.store._many import BUDGET
from asyncstore.store._open import open_store
from asyncstore.store._store import GAP, Item, Store

__all__ = ["BUDGET", "GAP", "Item", "Store", "open_store"]
