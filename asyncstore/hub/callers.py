"""Who calls: the token of a request, looked up at every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from asyncstore.hub import tokens
from asyncstore.hub.faults import not_allowed, not_signed_in
from asyncstore.hub.models import Token, User

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class Caller:
    """Somebody, or nobody.

    Attributes:
        address: where the request came from.
        user_id: `""` is nobody.
        username: `"public"` is nobody.
        administrator: of the whole hub.
        token_id: of the token presented.
        kind: of the token, `login` or `api`.
        access: what the token allows, `read` or `write`.
        expires_at: when the token ends, in epoch seconds.
    """

    address: str
    user_id: str = ""
    username: str = tokens.ANONYMOUS
    email: str = ""
    administrator: bool = False
    token_id: str = ""
    token_name: str = ""
    kind: str = ""
    access: str = "read"
    expires_at: float = 0.0

    @property
    def is_anonymous(self) -> bool:
        """Whether this is nobody."""
        return not self.user_id

    def signed_in(self) -> Caller:
        """Return the caller.

        Raises:
            Refusal: 401, this is nobody.
        """
        if self.is_anonymous:
            raise not_signed_in()
        return self

    def may_write(self) -> Caller:
        """Return the caller.

        Raises:
            Refusal: 401, this is nobody; 403, the token is read-only.
        """
        self.signed_in()
        if self.access != "write":
            raise not_allowed("This token is read-only.")
        return self


async def identify(
    session: AsyncSession, authorization: str | None, *, address: str, now: float
) -> Caller:
    """Return who presents this `Authorization` header.

    Raises:
        Refusal: 401, the token is none, is unknown, revoked or ended; which of these is not told.
    """
    if authorization is None:
        return Caller(address)
    kind, _, text = authorization.partition(" ")
    named = tokens.read(text.strip()) if kind.lower() == "bearer" else None
    if named == tokens.ANONYMOUS:
        return Caller(address)
    wrong = not_signed_in("The token is not valid; sign in again.")
    if named is None:
        raise wrong
    found = (
        await session.execute(
            select(Token, User).join(User, User.id == Token.user_id).where(Token.id == named)
        )
    ).one_or_none()
    # Without a row the same work is done, on a hash that nothing has.
    stored = found[0].hash if found else bytes(32)
    if not tokens.matches(text.strip(), stored) or found is None or found[0].expires_at <= now:
        raise wrong
    token, user = found
    return Caller(
        address=address,
        user_id=user.id,
        username=user.name,
        email=user.email,
        administrator=user.administrator,
        token_id=token.id,
        token_name=token.name,
        kind=token.kind,
        access=token.access,
        expires_at=token.expires_at,
    )
