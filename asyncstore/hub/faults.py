"""Refusals: what the hub answers when it does not do what was asked.

Every refusal is a status, a sentence and a code. There is no text from inside: no trace, no
statement, no value that was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request is not granted.

    Attributes:
        status: of HTTP.
        code: what a program can tell it by: a word, or a number where old clients expect one.
        description: what a person is told.
        headers: to be sent with it.
        extra: other fields of the body.
    """

    def __init__(
        self,
        status: int,
        code: str | int,
        description: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def body(self) -> dict[str, Any]:
        """What is sent, as JSON."""
        return {"description": self.description, "code": self.code, **self.extra}


def not_signed_in(description: str = "Sign in first.") -> Refusal:
    """Nobody, or nobody any more: no token where one is needed, or one that is not valid."""
    return Refusal(401, "not_signed_in", description, headers={"WWW-Authenticate": "Bearer"})


def not_there(what: str) -> Refusal:
    """It does not exist, or the caller is not to know that it does."""
    return Refusal(404, "not_found", f"There is no such {what}.")


def not_allowed(description: str) -> Refusal:
    """The caller may see it and may not do this."""
    return Refusal(403, "not_allowed", description)


def conflict(description: str) -> Refusal:
    """It is in the way of something that is there."""
    return Refusal(409, "conflict", description)


def invalid(description: str) -> Refusal:
    """The request is well-formed, and asks for something that cannot be."""
    return Refusal(422, "invalid", description)


def bad_request(description: str) -> Refusal:
    """The request means nothing; old clients read this as "no permission" when they connect."""
    return Refusal(400, "bad_request", description)


def too_many(description: str, *, retry_after: float) -> Refusal:
    """Too often; `retry_after` is in seconds."""
    seconds = str(max(1, round(retry_after + 0.5)))
    return Refusal(429, "too_many", description, headers={"Retry-After": seconds})


def busy() -> Refusal:
    """More work is waiting than can be done in time."""
    return Refusal(
        503, "busy", "The hub is busy; try again in a moment.", headers={"Retry-After": "2"}
    )
