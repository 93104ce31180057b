"""What tests need: the contract suite, real servers, stand-ins and faults.

    from asyncstore.testing import ProviderContract

Names are loaded on first use: the contract needs pytest, the servers do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncstore.testing.cancelling import cancelled_everywhere as cancelled_everywhere
    from asyncstore.testing.contract import ProviderContract as ProviderContract

_SUITES = ("cancelling", "contract", "keys", "listings", "reads", "uploads", "writes")
_HOMES = {"ProviderContract": "contract", "cancelled_everywhere": "cancelling"}

__all__ = ["ProviderContract", "cancelled_everywhere"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asyncstore.testing' has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - as said above

    pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in _SUITES))
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
