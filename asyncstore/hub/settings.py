"""What whoever starts a hub can choose."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class PasswordCost:
    """What one verification of a password costs.

    Attributes:
        memory: in KiB.
        passes: over that memory.
        lanes: of one computation.
    """

    memory: int = 65_536
    passes: int = 2
    lanes: int = 1


@dataclass(frozen=True)
class Limits:
    """What a client may take up.

    Attributes:
        body: bytes of a request to the API; the storage has limits of its own.
        depth: of nested JSON.
        head: bytes of a request's line and headers.
        head_patience: seconds that the head of a request may take.
        body_patience: seconds that the body of a request to the API may take; of one to the
            storage, seconds without a byte.
        answer_patience: seconds that the API may take to answer.
        connections: at once; more are answered 503.
    """

    body: int = 262_144
    depth: int = 32
    head: int = 32_768
    head_patience: float = 15.0
    body_patience: float = 30.0
    answer_patience: float = 60.0
    connections: int = 4_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a hub behaves.

    Attributes:
        data: the folder with the key, the embedded storage and, unless `database` names another,
            the database.
        database: a URL as SQLAlchemy takes it, `sqlite+aiosqlite:///…` or
            `postgresql+asyncpg://…`.
        public_url: what clients are told to call, without a slash at its end.
        credential_lifetime: seconds that credentials for a storage last.
        presign_lifetime: most seconds that a signed address lasts.
        login_lifetime: seconds that a login lasts, unless it asks for less.
        longest_token: most seconds that any token lasts.
        bootstrap_lifetime: seconds in which the first administrator must be made.
        static_credentials: whether an organisation may have its own key pair handed to members,
            where its bucket's service issues no short-lived ones.
        private_endpoints: whether stored credentials may lead to this machine and into private
            networks.
        open_registration: whether anybody may register; else administrators register people.
        password_cost: of Argon2id.
        limits: what a client may take up.
    """

    data: str
    database: str | None = None
    public_url: str = ""
    credential_lifetime: float = HOUR
    presign_lifetime: float = HOUR
    login_lifetime: float = 1000 * HOUR
    longest_token: float = 366 * DAY
    bootstrap_lifetime: float = HOUR
    static_credentials: bool = False
    private_endpoints: bool = False
    open_registration: bool = True
    password_cost: PasswordCost = field(default_factory=PasswordCost)
    limits: Limits = field(default_factory=Limits)

    @property
    def database_url(self) -> str:
        """Where the database is, as an URL."""
        path = os.path.join(os.path.abspath(self.data), "hub.sqlite3")
        return self.database or f"sqlite+aiosqlite:///{path}"

    @property
    def storage_folder(self) -> str:
        """Where the embedded storage keeps its bytes."""
        return os.path.join(self.data, "storage")
