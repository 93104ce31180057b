"""What the hub remembers: the tables.

Identifiers are random, so that none tells how many there are. A data set keeps its identifier,
and with it its place in a storage, whatever it is called.
"""

from __future__ import annotations

import secrets

from sqlalchemy import BigInteger, Float, ForeignKey, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_ID = 24
_NAME = 128

_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself in INTEGER alone


def new_id() -> str:
    """Return a fresh identifier: 24 letters and digits, fit for a bucket's name."""
    return secrets.token_hex(_ID // 2)


class Base(DeclarativeBase):
    """All tables."""


class User(Base):
    """A person; `folded` is the name in lower case, of which there is one."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(_ID), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(_NAME), unique=True)
    folded: Mapped[str] = mapped_column(String(_NAME), unique=True)
    email: Mapped[str] = mapped_column(String(320))
    password: Mapped[str] = mapped_column(String(512))
    administrator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float] = mapped_column(Float)


class Organization(Base):
    """Those who share data sets."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(String(_ID), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(_NAME), unique=True)
    folded: Mapped[str] = mapped_column(String(_NAME), unique=True)
    created_at: Mapped[float] = mapped_column(Float)


class Member(Base):
    """Who may do what in an organisation: `role` is admin, write or read."""

    __tablename__ = "members"

    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(8))


class Token(Base):
    """A bearer token that is valid; `hash` is the SHA-256 of the whole of it."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(_NAME))
    access: Mapped[str] = mapped_column(String(8))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[float] = mapped_column(Float)
    expires_at: Mapped[float] = mapped_column(Float, index=True)
    last_used_at: Mapped[float | None] = mapped_column(Float)


class Bootstrap(Base):
    """The one code that makes the first administrator; `id` is 1."""

    __tablename__ = "bootstrap"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    expires_at: Mapped[float] = mapped_column(Float)


class Credential(Base):
    """An organisation's managed credentials; `sealed` opens with this row's id alone."""

    __tablename__ = "credentials"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: Mapped[str] = mapped_column(String(_ID), primary_key=True, default=new_id)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(_NAME))
    kind: Mapped[str] = mapped_column(String(8))
    identity: Mapped[str] = mapped_column(String(320))
    allow_static: Mapped[bool] = mapped_column(default=False)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float] = mapped_column(Float)


class Dataset(Base):
    """A data set: in the embedded storage below its id, or at `url` in somebody's bucket.

    `registered` is false between the moment a client asks where to write and the one it says
    that there is something; it is not listed until then.
    """

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: Mapped[str] = mapped_column(String(_ID), primary_key=True, default=new_id)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(_NAME))
    public: Mapped[bool] = mapped_column(default=False, index=True)
    registered: Mapped[bool] = mapped_column(default=False)
    location: Mapped[str] = mapped_column(String(8), default="hub")
    url: Mapped[str | None] = mapped_column(String(2048))
    credential_id: Mapped[str | None] = mapped_column(ForeignKey("credentials.id"), index=True)
    agreement: Mapped[str | None] = mapped_column(String(20_000))
    created_at: Mapped[float] = mapped_column(Float)


class Acceptance(Base):
    """Somebody has agreed to a data set's terms."""

    __tablename__ = "acceptances"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    accepted_at: Mapped[float] = mapped_column(Float)


class Doomed(Base):
    """Bytes of a deleted data set that are still to be removed from the embedded storage."""

    __tablename__ = "doomed"

    dataset_id: Mapped[str] = mapped_column(String(_ID), primary_key=True)
    bucket: Mapped[str] = mapped_column(String(64))


class Done(Base):
    """A request that was done: what a repeat of it is answered, which holds no secret.

    `owner` is the user's id, or nobody's address; `digest` is of all that was asked.
    """

    __tablename__ = "requests"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(_NAME), primary_key=True)
    digest: Mapped[str] = mapped_column(String(512))
    status: Mapped[int] = mapped_column(Integer)
    answer: Mapped[str] = mapped_column(String(2048))
    expires_at: Mapped[float] = mapped_column(Float, index=True)


class Tries(Base):
    """How often somebody tried, of late: `full_at` is when they have all their tries again."""

    __tablename__ = "tries"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    key: Mapped[str] = mapped_column(String(_NAME), primary_key=True)
    full_at: Mapped[float] = mapped_column(Float, index=True)


class Event(Base):
    """A line of the audit log. The database refuses to change or remove one."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(Float)
    action: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(_NAME))
    token_id: Mapped[str] = mapped_column(String(_ID))
    address: Mapped[str] = mapped_column(String(64))
    organization_id: Mapped[str] = mapped_column(String(_ID), index=True)
    subject: Mapped[str] = mapped_column(String(400))
