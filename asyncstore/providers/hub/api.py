"""What is ours of a hub's calls, below `/api/v1/`: accounts, tokens, organisations, credentials.

Each answer is read into a value whose fields are checked; what a newer hub adds is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from asyncstore.credentials import Secret
from asyncstore.errors import IntegrityError
from asyncstore.providers.hub import making
from asyncstore.wire import hub as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.providers.hub.client import HubClient
    from asyncstore.providers.hub.login import Hub

T = TypeVar("T")

Role: TypeAlias = Literal["admin", "write", "read"]

_at = partial(wire.target, "api", "v1")
_PAGE = "500"


@dataclass(frozen=True, slots=True)
class Session:
    """A login: its token, who signed in, and until when (ISO 8601)."""

    token: Secret
    id: str
    username: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret: `access` is `"read"` or `"write"`, times are ISO 8601."""

    id: str
    name: str | None = None
    kind: str | None = None
    access: str | None = None
    created_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made; its secret is told this once."""

    id: str
    token: Secret
    name: str | None = None
    access: str | None = None
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """An organisation, and one's role in it."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an organisation, and the role."""

    username: str
    role: str


@dataclass(frozen=True, slots=True)
class Account:
    """Who a token stands for."""

    username: str
    email: str | None = None
    administrator: bool = False
    organizations: tuple[Membership, ...] = ()
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class Managed:
    """Credentials that an organisation stored, without their secret; `identity` is masked."""

    name: str
    kind: str
    identity: str | None = None
    created_at: str | None = None
    allow_static: bool | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set as a hub lists it: `location` is `"hub"`, `"s3"` or `"gcs"`."""

    name: str
    public: bool = False
    location: str | None = None
    created_at: str | None = None


class HubAPI:
    """Calls of our own to one hub.

    What makes something is asked for again where no answer came, and is done once. Every call
    raises `UnauthenticatedError`, `PermissionDeniedError`, `NotFoundError`, `AlreadyExistsError`
    or `ConfigurationError` as the hub says, and a `TransientError` where it does not answer.

    Args:
        client: makes them.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client

    @property
    def hub(self) -> Hub:
        """The hub, and who asks it."""
        return self._client.hub

    async def bootstrap(self, code: str, username: str, email: str, password: Secret) -> str:
        """Make the first administrator, with the code that the server printed; return the name."""
        document = {"code": code, "username": username, "email": email}
        reply = await self._make(_at("bootstrap"), document, password=password)
        return _text(reply, "username")

    async def register(self, username: str, email: str, password: Secret) -> str:
        """Make an account, and an organisation of the same name; return the name."""
        document = {"username": username, "email": email}
        reply = await self._make(_at("users"), document, password=password)
        return _text(reply, "username")

    async def delete_user(self, username: str, *, password: Secret | None = None) -> None:
        """Remove oneself, with one's password, or as an administrator of the hub somebody else.

        Raises:
            PreconditionError: data sets are in their own organisation, or nobody else is
                administrator of another one or of the hub.
        """
        document = None if password is None else {"password": password.reveal()}
        await self._client.send("DELETE", _at("users", username), document)

    async def login(self, username: str, password: Secret, *, expires_in: float | None) -> Session:
        """Sign in for a time in seconds; `None` is as long as the hub has it, 1000 hours."""
        document: dict[str, Any] = {"username": username}
        if expires_in is not None:
            document["expires_in"] = int(expires_in)
        return _read(Session, await self._make(_at("login"), document, password=password))

    async def logout(self) -> None:
        """Revoke the token that the call is made with."""
        await self._client.send("POST", _at("logout"))

    async def me(self) -> Account:
        """Return who the token stands for."""
        reply = await self._ask("GET", _at("me"))
        token = reply.get("token")
        rows = _rows(Membership, reply, "organizations")
        found = _read(Account, reply | {"organizations": tuple(rows)}, but=("token",))
        return found if token is None else replace(found, token=_read(Token, token))

    async def create_token(
        self, name: str, *, expires_in: float, access: Literal["read", "write"]
    ) -> NewToken:
        """Make a token that ends in so many seconds."""
        document = {"name": name, "expires_in": int(expires_in), "access": access}
        reply = await making.make(self._client, _at("tokens"), document, end=self.revoke_token)
        return _read(NewToken, reply)

    async def tokens(self) -> list[Token]:
        """Return one's tokens, logins included."""
        return _rows(Token, await self._ask("GET", _at("tokens")), "tokens")

    async def revoke_token(self, id: str, /) -> None:  # noqa: A002 - its name on the wire
        """End a token at once."""
        await self._client.send("DELETE", _at("tokens", id))

    async def create_organization(self, name: str) -> Membership:
        """Make an organisation, whose administrator one is."""
        return _read(Membership, await self._make(_at("organizations"), {"name": name}))

    async def organizations(self) -> list[Membership]:
        """Return the organisations that one is a member of."""
        reply = await self._ask("GET", _at("organizations"))
        return _rows(Membership, reply, "organizations")

    async def delete_organization(self, name: str) -> None:
        """Delete an organisation without data sets."""
        await self._client.send("DELETE", _at("organizations", name))

    async def members(self, organization: str) -> list[Member]:
        """Return an organisation's members."""
        target = _at("organizations", organization, "members")
        return _rows(Member, await self._ask("GET", target), "members")

    async def set_member(self, organization: str, username: str, role: Role) -> Member:
        """Make somebody a member, or give a member another role."""
        target = _at("organizations", organization, "members", username)
        return _read(Member, await self._ask("PUT", target, {"role": role}))

    async def remove_member(self, organization: str, username: str) -> None:
        """End a membership."""
        await self._client.send("DELETE", _at("organizations", organization, "members", username))

    async def credentials(self, organization: str) -> list[Managed]:
        """Return what credentials an organisation stored."""
        target = _at("organizations", organization, "credentials")
        return _rows(Managed, await self._ask("GET", target), "credentials")

    async def set_credentials(
        self, organization: str, name: str, managed: Mapping[str, Any]
    ) -> Managed:
        """Store credentials under a name, in place of what was stored under it."""
        target = _at("organizations", organization, "credentials", name)
        return _read(Managed, await self._ask("PUT", target, managed))

    async def remove_credentials(self, organization: str, name: str) -> None:
        """Delete stored credentials that no data set is connected through."""
        await self._client.send("DELETE", _at("organizations", organization, "credentials", name))

    async def set_terms(self, organization: str, name: str, text: str | None) -> None:
        """Say what has to be agreed to before a data set opens; `None` is nothing."""
        target = _at("organizations", organization, "datasets", name, "agreement")
        if text is None:
            await self._client.send("DELETE", target)
        else:
            await self._client.send("PUT", target, {"text": text})

    async def datasets(
        self, organization: str, *, cursor: str | None = None
    ) -> tuple[list[Entry], str | None]:
        """Return a page of an organisation's data sets, and what continues it."""
        query = {"cursor": cursor, "limit": _PAGE}
        reply = await self._ask("GET", _at("organizations", organization, "datasets", query=query))
        after = reply.get("cursor")
        if not isinstance(after, str | None) or (after is not None and after == cursor):
            raise IntegrityError("the hub's listing does not go on")
        return _rows(Entry, reply, "datasets"), after

    async def _ask(
        self, method: str, target: str, document: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        reply = await self._client.send(method, target, document)
        return wire.fields(reply.body)

    async def _make(
        self, target: str, document: Mapping[str, Any], *, password: Secret | None = None
    ) -> dict[str, Any]:
        if password is not None:
            document = {**document, "password": password.reveal()}
        return await making.make(self._client, target, document)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "bool": (bool,),
    "bool | None": (bool, type(None)),
    "tuple[Membership, ...]": (tuple,),
    "Secret": (str,),
}


def _read(cls: type[T], reply: Any, *, but: tuple[str, ...] = ()) -> T:
    """Make a value of an answer's fields, whose types are those that the class says."""
    if not isinstance(reply, dict):
        raise IntegrityError("the hub's answer is not a JSON object")
    given: dict[str, Any] = {}
    for one in fields(cls):  # type: ignore[arg-type]
        if one.name in but or one.name not in reply:
            continue
        found = reply[one.name]
        if not isinstance(found, _KINDS[str(one.type)]):
            raise IntegrityError(f"the hub's answer has a wrong {one.name}")
        given[one.name] = Secret(str(found)) if one.type == "Secret" else found
    try:
        return cls(**given)
    except TypeError:
        raise IntegrityError(f"the hub's answer is no {cls.__name__.lower()}") from None


def _rows(cls: type[T], reply: Mapping[str, Any], name: str) -> list[T]:
    rows = reply.get(name)
    if not isinstance(rows, list):
        raise IntegrityError(f"the hub's answer has no {name}")
    return [_read(cls, row) for row in rows]


def _text(reply: Mapping[str, Any], name: str) -> str:
    found = reply.get(name)
    if not isinstance(found, str):
        raise IntegrityError(f"the hub's answer has no {name}")
    return found
