"""`/api/v1/`: users, logins and tokens."""

from __future__ import annotations

from fastapi import APIRouter

from asyncstore.hub import accounts, bootstrap, ending, organizations
from asyncstore.hub.routes.models import (
    BootstrapSaid,
    FirstUser,
    LoginAsked,
    LoginSaid,
    MembershipSaid,
    MeSaid,
    NewUser,
    OwnToken,
    PasswordAsked,
    RemovalAsked,
    TokenAsked,
    TokenMade,
    TokenSaid,
    TokensSaid,
    UserSaid,
)
from asyncstore.hub.routes.request import AnyName, TheCaller, TheHub, TheRequest

router = APIRouter(prefix="/api/v1", tags=["accounts"])


@router.post("/bootstrap", status_code=201)
async def make_first_administrator(
    body: FirstUser, hub: TheHub, caller: TheCaller, request: TheRequest
) -> BootstrapSaid:
    """Make the first administrator, once, with the code that the hub printed."""
    hashed = await bootstrap.admit(hub, caller, body.password)
    async with request.making(with_password=True) as session:
        user = await bootstrap.use(
            hub,
            session,
            caller,
            body.code,
            username=body.username,
            email=body.email,
            hashed=hashed,
        )
        said = request.told(BootstrapSaid(username=user.name))
    hub.bootstrap_code = None
    return said


@router.post("/users", status_code=201)
async def register(body: NewUser, hub: TheHub, caller: TheCaller, request: TheRequest) -> UserSaid:
    """Register a user, and an organisation of the same name."""
    hashed = await accounts.admit(hub, caller, username=body.username, password=body.password)
    async with request.making(with_password=True) as session:
        user = await accounts.add(
            hub, session, caller, username=body.username, email=body.email, hashed=hashed
        )
        return request.told(UserSaid(username=user.name, email=user.email))


@router.delete("/users/{username}", status_code=204)
async def remove_user(
    username: AnyName, hub: TheHub, caller: TheCaller, body: RemovalAsked | None = None
) -> None:
    """Remove oneself, with one's password, or as an administrator of the hub somebody else.

    Their own organisation goes with them, and has no data sets any more.
    """
    password = None if body is None else body.password
    await ending.remove_user(hub, caller, username, password=password)


@router.post("/login")
async def login(body: LoginAsked, hub: TheHub, caller: TheCaller, request: TheRequest) -> LoginSaid:
    """Sign in, for 1000 hours unless less is asked for."""
    user = await accounts.recognize(hub, caller, username=body.username, password=body.password)
    async with request.making(with_password=True) as session:
        row, text = await accounts.sign_in(hub, session, caller, user, body.expires_in)
        request.told_once(row.id)
    return LoginSaid(token=text, id=row.id, username=user.name, expires_at=row.expires_at)


@router.post("/logout", status_code=204)
async def logout(hub: TheHub, caller: TheCaller) -> None:
    """Revoke the token presented."""
    await accounts.revoke(hub, caller.signed_in(), caller.token_id)


@router.get("/me")
async def me(hub: TheHub, caller: TheCaller) -> MeSaid:
    """Tell who calls."""
    mine = await organizations.mine(hub, caller)
    return MeSaid(
        username=caller.username,
        email=caller.email,
        administrator=caller.administrator,
        organizations=[MembershipSaid.model_validate({"name": n, "role": r}) for n, r in mine],
        token=OwnToken(
            id=caller.token_id,
            kind=caller.kind,
            name=caller.token_name,
            expires_at=caller.expires_at,
        ),
    )


@router.put("/me/password", status_code=204)
async def change_password(body: PasswordAsked, hub: TheHub, caller: TheCaller) -> None:
    """Change one's password; all other tokens of one's own are revoked."""
    await accounts.change_password(hub, caller, current=body.current, new=body.new)


@router.post("/tokens", status_code=201)
async def make_token(
    body: TokenAsked, hub: TheHub, caller: TheCaller, request: TheRequest
) -> TokenMade:
    """Make an API token, which is told this once."""
    caller.may_write()
    async with request.making() as session:
        row, text = await accounts.make_token(
            hub,
            session,
            caller,
            name=body.name,
            expires_in=body.expires_in,
            access=body.access,
        )
        request.told_once(row.id)
    return TokenMade(
        id=row.id, name=row.name, token=text, access=body.access, expires_at=row.expires_at
    )


@router.get("/tokens")
async def list_tokens(hub: TheHub, caller: TheCaller) -> TokensSaid:
    """List one's own valid tokens, without their texts."""
    rows = await accounts.list_tokens(hub, caller)
    return TokensSaid(tokens=[TokenSaid.model_validate(row, from_attributes=True) for row in rows])


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: AnyName, hub: TheHub, caller: TheCaller) -> None:
    """Revoke a token of one's own; what it was used for ends within a second."""
    await accounts.revoke(hub, caller, token_id)
