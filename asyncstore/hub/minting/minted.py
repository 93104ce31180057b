"""What was minted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping


class Minted:
    """Credentials for one data set, until they end; no repr or pickle shows them.

    Attributes:
        creds: in the hub's wire form, as clients take it, with `expiration`.
        expires: epoch seconds; when a client is to ask for others.
    """

    __slots__ = ("creds", "expires")

    def __init__(self, creds: Mapping[str, Any], *, expires: float) -> None:
        self.creds: dict[str, Any] = {**creds, "expiration": expires}
        self.expires = expires

    def __repr__(self) -> str:
        return f"Minted({self.expires:.0f})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("what was minted does not pickle")
