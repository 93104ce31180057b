"""The bodies of `/api/v1/`, strict: an unknown field is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from asyncstore.hub import names, passwords

Role = Literal["read", "write", "admin"]
Access = Literal["read", "write"]

Moment = Annotated[
    float,
    PlainSerializer(
        lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"), return_type=str
    ),
]
"""Epoch seconds inside, ISO 8601 outside."""

Username = Annotated[str, Field(pattern=names.ACCOUNT)]
Email = Annotated[str, Field(pattern=names.EMAIL, max_length=320)]
NewPassword = Annotated[str, Field(min_length=passwords.SHORTEST, max_length=passwords.LONGEST)]
Password = Annotated[str, Field(min_length=1, max_length=passwords.LONGEST)]
AnyUsername = Annotated[str, Field(max_length=128, pattern=names.PLAIN)]
Seconds = Annotated[float, Field(gt=0, le=10**10, allow_inf_nan=False)]


class Body(BaseModel):
    """A body of ours."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Fault(Body):
    """What every refusal looks like."""

    description: str
    code: str | int


class NewUser(Body):
    """Somebody who registers."""

    username: Username
    email: Email
    password: NewPassword


class FirstUser(NewUser):
    """The first administrator, with the code that the hub printed."""

    code: Annotated[str, Field(max_length=100)]


class UserSaid(Body):
    """A user."""

    username: str
    email: str


class BootstrapSaid(Body):
    """The first administrator."""

    username: str


class LoginAsked(Body):
    """Somebody who signs in; `expires_in` in seconds."""

    username: AnyUsername
    password: Password
    expires_in: Seconds | None = None


class LoginSaid(Body):
    """A login's token."""

    token: str
    id: str
    username: str
    expires_at: Moment


class PasswordAsked(Body):
    """A change of password."""

    current: Password
    new: NewPassword


class RemovalAsked(Body):
    """A removal of oneself."""

    password: Password


class MembershipSaid(Body):
    """An organisation and the caller's role in it."""

    name: str
    role: Role


class OwnToken(Body):
    """The token presented."""

    id: str
    kind: str
    name: str
    expires_at: Moment


class MeSaid(Body):
    """Who calls."""

    username: str
    email: str
    administrator: bool
    organizations: list[MembershipSaid]
    token: OwnToken


class TokenAsked(Body):
    """A new API token; `expires_in` in seconds."""

    name: Annotated[str, Field(pattern=names.TITLE)]
    expires_in: Seconds
    access: Access = "write"


class TokenMade(Body):
    """A new API token, whose text is told this once."""

    id: str
    name: str
    token: str
    access: Access
    expires_at: Moment


class TokenSaid(Body):
    """A token that is valid."""

    id: str
    name: str
    kind: str
    access: Access
    created_at: Moment
    expires_at: Moment
    last_used_at: Moment | None


class TokensSaid(Body):
    """The caller's tokens."""

    tokens: list[TokenSaid]


class OrganizationAsked(Body):
    """A new organisation."""

    name: Annotated[str, Field(pattern=names.ACCOUNT)]


class OrganizationsSaid(Body):
    """The caller's organisations."""

    organizations: list[MembershipSaid]


class MemberSaid(Body):
    """A member."""

    username: str
    role: Role


class MembersSaid(Body):
    """An organisation's members."""

    members: list[MemberSaid]


class RoleAsked(Body):
    """A role to be given."""

    role: Role


class CredentialSaid(Body):
    """Managed credentials, without what they consist of."""

    name: str
    kind: Literal["aws", "gcs"]
    identity: str
    created_at: Moment
    allow_static: bool


class CredentialsSaid(Body):
    """An organisation's managed credentials."""

    credentials: list[CredentialSaid]


class DatasetSaid(Body):
    """A data set; `location` is the hub's own storage or a bucket of the organisation."""

    name: str
    public: bool
    location: Literal["hub", "s3", "gcs"]
    created_at: Moment


class DatasetsSaid(Body):
    """A page of data sets; `cursor` asks for the next, `null` is the last."""

    datasets: list[DatasetSaid]
    cursor: str | None


class AgreementAsked(Body):
    """Terms to be agreed to before reading."""

    text: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]+$")]


class EventSaid(Body):
    """A line of the audit log."""

    id: int
    at: Moment
    action: str
    actor: str
    token_id: str
    address: str
    subject: str


class EventsSaid(Body):
    """A page of the audit log, newest first; `cursor` asks for older ones."""

    events: list[EventSaid]
    cursor: str | None


class HealthSaid(Body):
    """The hub is up."""

    status: Literal["ok"] = "ok"
