"""Users: who registers, signs in and holds tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from asyncstore.hub import names, tokens
from asyncstore.hub.callers import Caller
from asyncstore.hub.faults import (
    conflict,
    invalid,
    not_allowed,
    not_signed_in,
    not_there,
)
from asyncstore.hub.models import Member, Organization, Token, User
from asyncstore.hub.throttle import ACCOUNT, ADDRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.core import Hub

MOST_TOKENS = 1_000
_WRONG = "The name or the password is wrong."


async def admit(hub: Hub, caller: Caller, *, username: str, password: str) -> str:
    """Return what is stored of a new user's password, where the caller may register one.

    Raises:
        Refusal: 403, only administrators register people here; 422, the name is none; 429, too
            many tries.
    """
    if not hub.settings.open_registration and not caller.may_write().administrator:
        raise not_allowed("Here, an administrator registers people.")
    names.check("account", username)
    await hub.throttle.take((ADDRESS, caller.address))
    return await hub.passwords.hash(password)


async def add(
    hub: Hub,
    session: AsyncSession,
    caller: Caller,
    *,
    username: str,
    email: str,
    hashed: str,
    administrator: bool = False,
) -> User:
    """Add a user and an organisation of the same name.

    Raises:
        Refusal: 409, the name is taken; 422, it is none.
    """
    names.check("account", username)
    now, folded = hub.clock(), username.lower()
    user = User(
        name=username,
        folded=folded,
        email=email,
        password=hashed,
        administrator=administrator,
        created_at=now,
    )
    own = Organization(name=username, folded=folded, created_at=now)
    try:
        session.add_all([user, own])
        await session.flush()
    except IntegrityError:
        raise conflict("The name is taken.") from None
    session.add(Member(organization_id=own.id, user_id=user.id, role="admin"))
    hub.note(session, caller, "user.registered", username, within=own)
    return user


async def recognize(hub: Hub, caller: Caller, *, username: str, password: str) -> User:
    """Return the user of that name and password.

    Raises:
        Refusal: 401, the name or the password is wrong; 429, too many tries, of this account or
            from this address; the right password does not help then.
    """
    account = username.lower()
    await hub.throttle.take((ADDRESS, caller.address), (ACCOUNT, account))
    async with hub.database.reading() as session:
        user = await session.scalar(select(User).where(User.folded == account))
    if not await hub.passwords.verify(user.password if user else None, password) or user is None:
        await hub.log.write(caller, "login.failed", username)
        raise not_signed_in(_WRONG)
    if hub.passwords.is_outdated(user.password):
        await _rehash(hub, user, password)
    return user


async def sign_in(
    hub: Hub, session: AsyncSession, caller: Caller, user: User, expires_in: float | None = None
) -> tuple[Token, str]:
    """Return a login's token for who was recognised: its row and its text."""
    await hub.throttle.give_back(session, (ADDRESS, caller.address), (ACCOUNT, user.folded))
    lifetime = min(expires_in or hub.settings.login_lifetime, hub.settings.login_lifetime)
    someone = Caller(caller.address, user_id=user.id, username=user.name, access="write")
    return _add_token(
        hub, session, someone, kind="login", name="", access="write", lifetime=lifetime
    )


async def _rehash(hub: Hub, user: User, password: str) -> None:
    hashed = await hub.passwords.hash(password)
    async with hub.database.writing() as session:
        kept = await session.get(User, user.id, with_for_update=True)
        if kept is not None and kept.password == user.password:
            kept.password = hashed


async def prove(hub: Hub, caller: Caller, password: str) -> None:
    """Make sure that a password is the caller's.

    Raises:
        Refusal: 401, it is not; 429, too many tries.
    """
    account = (ACCOUNT, caller.username.lower())
    await hub.throttle.take(account)
    async with hub.database.reading() as session:
        user = await session.get_one(User, caller.user_id)
    if not await hub.passwords.verify(user.password, password):
        raise not_signed_in(_WRONG)
    async with hub.database.writing() as session:
        await hub.throttle.give_back(session, account)


async def change_password(hub: Hub, caller: Caller, *, current: str, new: str) -> None:
    """Set the caller's password; every other token of theirs is revoked.

    Raises:
        Refusal: 401, the current password is wrong; 429, too many tries.
    """
    await prove(hub, caller.may_write(), current)
    hashed = await hub.passwords.hash(new)
    async with hub.database.writing() as session:
        kept = await session.get_one(User, caller.user_id, with_for_update=True)
        kept.password = hashed
        await session.execute(
            delete(Token).where(Token.user_id == caller.user_id, Token.id != caller.token_id)
        )
        hub.note(session, caller, "password.changed", caller.username)
    hub.watch.forget()


async def make_token(
    hub: Hub, session: AsyncSession, caller: Caller, *, name: str, expires_in: float, access: str
) -> tuple[Token, str]:
    """Return an API token, its row and its text; it can do no more than the one presented.

    Raises:
        Refusal: 403, the token presented may not; 409, there are too many; 422, it would last
            longer than the one presented, or than any may.
    """
    caller.may_write()
    if expires_in > hub.settings.longest_token:
        raise invalid(f"A token lasts {hub.settings.longest_token:.0f} seconds at most.")
    if caller.kind != "login" and hub.clock() + expires_in > caller.expires_at:
        raise invalid("A token made with an API token does not outlive it.")
    await session.execute(
        delete(Token).where(Token.expires_at <= hub.clock(), Token.user_id == caller.user_id)
    )
    count = await session.scalar(
        select(func.count()).select_from(Token).where(Token.user_id == caller.user_id)
    )
    if (count or 0) >= MOST_TOKENS:
        raise conflict(f"You have {MOST_TOKENS} tokens; revoke some.")
    return _add_token(
        hub, session, caller, kind="api", name=name, access=access, lifetime=expires_in
    )


def _add_token(
    hub: Hub,
    session: AsyncSession,
    caller: Caller,
    *,
    kind: str,
    name: str,
    access: str,
    lifetime: float,
) -> tuple[Token, str]:
    now = hub.clock()
    made = tokens.make(caller.username, now + lifetime)
    row = Token(
        id=made.id,
        user_id=caller.user_id,
        kind=kind,
        name=name,
        access=access,
        hash=made.hash,
        created_at=now,
        expires_at=now + lifetime,
    )
    session.add(row)
    action = "login.done" if kind == "login" else "token.made"
    hub.note(session, caller, action, made.id)
    return row, made.text


async def list_tokens(hub: Hub, caller: Caller) -> Sequence[Token]:
    """Return the caller's valid tokens, oldest first."""
    caller.signed_in()
    async with hub.database.reading() as session:
        found = await session.scalars(
            select(Token)
            .where(Token.user_id == caller.user_id, Token.expires_at > hub.clock())
            .order_by(Token.created_at, Token.id)
        )
        return found.all()


async def revoke(hub: Hub, caller: Caller, token_id: str) -> None:
    """End a token of the caller's, and within a second what was handed out for it.

    Raises:
        Refusal: 403, the token presented is read-only and another than the one to end; 404, the
            caller has none such.
    """
    caller.signed_in()
    if token_id != caller.token_id:
        caller.may_write()
    async with hub.database.writing() as session:
        found = await session.get(Token, token_id)
        if found is None or found.user_id != caller.user_id:
            raise not_there("token")
        await session.delete(found)
        hub.note(session, caller, "token.revoked", token_id)
    hub.watch.forget()


async def named(session: AsyncSession, username: str) -> User:
    """Return a user.

    Raises:
        Refusal: 404, there is none of that name.
    """
    user = await session.scalar(select(User).where(User.name == username))
    if user is None:
        raise not_there("user")
    return user
