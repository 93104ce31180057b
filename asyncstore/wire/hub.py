"""A hub's answers as values and errors, and what its tokens say of themselves. No I/O, no clock.

The calls are those of Deep Lake's 3.x clients and our own below `/api/v1/`. A refusal is told by
its status, and for people by the `description` in its JSON. What is no JSON did not come from a
hub, so that it can say that a hub is unwell, but never that a data set is absent.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DatasetLockedError,
    IntegrityError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.wire.gcs_errors import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.types import Buffer

PROTOCOL = "3.9.52"
"""The version of the old client whose calls these are, which its hubs ask for."""

ANONYMOUS = "PUBLIC_TOKEN_" + "_" * 150
"""What the old client sends in place of a token by whoever has none."""

BODY_MAX = 8 << 20
"""Most bytes of an answer."""

_SAID_MAX = 300
_AGREEMENT, _AGREEMENT_LOGIN = 1, 2
_MADE_BEFORE, _UNDER_WAY = "made_before", "under_way"


@dataclass(frozen=True, slots=True)
class Granted:
    """What a hub hands out for a data set.

    Attributes:
        path: where the data is, as the hub writes it.
        mode: `"r"`, or `"w"` or `"a"` where it may be written to.
        creds: for the service there; empty where none are needed.
        expiration: when they end, in epoch seconds by the hub's clock; `None` without any.
        repository: what the hub wants to be told when the data set is registered, or `None`.
    """

    path: str
    mode: Literal["r", "w", "a"]
    creds: Mapping[str, Any] = field(repr=False)
    expiration: float | None
    repository: str | None


def target(*parts: str, query: Mapping[str, str | None] | None = None) -> str:
    """Return the path and query of a call; each part is encoded, and `None` is left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def grant_query(mode: str | None, *, again: bool) -> dict[str, str | None]:
    """Return the query of a call for credentials, in the old client's words.

    Args:
        mode: `"r"`, `"w"` or `None` for what there is.
        again: whether what the hub may have kept from last time will not do.
    """
    return {"mode": mode, "no_cache": str(again), "db_engine": '{"enabled": false}'}


def value(body: Buffer, /) -> Any:
    """Return an answer's JSON value; its text goes into no error.

    Raises:
        IntegrityError: it is not JSON.
    """
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise IntegrityError("the hub's answer is not JSON") from None


def fields(body: Buffer, /) -> dict[str, Any]:
    """Return an answer that must be a JSON object.

    Raises:
        IntegrityError: it is none.
    """
    found = value(body)
    if not isinstance(found, dict):
        raise IntegrityError("the hub's answer is not a JSON object")
    return found


def granted(body: Buffer, /) -> Granted:
    """Read the answer to a call for credentials.

    Raises:
        IntegrityError: a field is missing, or is not what it must be.
    """
    reply = fields(body)
    path, mode, creds = reply.get("path"), reply.get("mode"), reply.get("creds") or {}
    repository = reply.get("repository")
    if not isinstance(path, str) or not path:
        raise IntegrityError("the hub's answer has no path")
    if mode not in ("r", "w", "a"):
        raise IntegrityError("the hub's answer has no mode of r, w or a")
    if not isinstance(creds, dict):
        raise IntegrityError("the hub's answer has creds that are not a JSON object")
    if not isinstance(repository, str | None):
        raise IntegrityError("the hub's answer has a repository that is not a text")
    given = {name: text for name, text in creds.items() if text is not None}
    end = given.pop("expiration", None)
    return Granted(path, mode, given, _end(end) if given else None, repository)


def managed(body: Buffer, /, *, now: float) -> tuple[Mapping[str, Any], float | None]:
    """Read the answer to a call for an organisation's stored credentials.

    Args:
        body: of the answer.
        now: epoch seconds by the hub's clock.

    Returns:
        The credentials in the form of `Granted.creds`, and when they end, if they do.

    Raises:
        IntegrityError: it is none.
    """
    creds = fields(body).get("creds")
    if not isinstance(creds, dict) or not creds:
        raise IntegrityError("the hub's answer has no creds")
    given = {
        _MANAGED.get(str(name), str(name)): text for name, text in creds.items() if text is not None
    }
    life, end = given.pop("expires_in", None), given.pop("expiration", None)
    if end is None and life is not None:
        end = now + _end(life)
    return given, None if end is None else _end(end)


_MANAGED = {
    "access_key": "aws_access_key_id",
    "secret_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
    "token": "aws_session_token",
    "access_token": "gcs_oauth_token",
}


def _end(given: Any) -> float:
    try:
        end = float(given)
    except (TypeError, ValueError):
        end = math.nan
    if isinstance(given, bool) or not math.isfinite(end):
        raise IntegrityError("the hub's answer does not say when its credentials end")
    return end


def clock(headers: Mapping[str, str], /) -> float | None:
    """Return the epoch seconds that the hub's clock showed, or `None` where it does not say."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None


def subject(token: str, /) -> str | None:
    """Return the user's name that a token says of itself, unproven; `None` where it says none."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - a JWT's form
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    name = claims.get("id") if isinstance(claims, dict) else None
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 64 else None  # noqa: PLR2004


def failure(
    status: int,
    headers: Mapping[str, str],
    body: Buffer,
    /,
    *,
    method: str,
    identity: str,
    secret: str = "",
) -> StoreError:
    """Return the error for a refusal, with its status and outcome.

    Args:
        status: of the answer.
        headers: of the answer.
        body: of the answer.
        method: of the request.
        identity: who asked, in words; `"nobody"` is nobody.
        secret: what the request carried, and the answer might repeat.
    """
    reply = _reply(body)
    said = _said(status, reply, secret)
    error = _error(status, headers, reply, said, identity=identity, method=method)
    error.status = status
    error.request_id = headers.get("x-request-id")
    if method != "GET" and isinstance(error, UnavailableError):
        error.outcome = "unknown"
    return error


def _reply(body: Buffer) -> dict[str, Any] | None:
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _said(status: int, reply: dict[str, Any] | None, secret: str) -> str:
    text = (reply or {}).get("description")
    if not isinstance(text, str) or not text:
        return f"status {status}"
    if secret:
        text = text.replace(secret, "…")
    return text if len(text) <= _SAID_MAX else f"{text[:_SAID_MAX]}…"


def _error(  # noqa: C901, PLR0911 - one decision, in one place
    status: int,
    headers: Mapping[str, str],
    reply: dict[str, Any] | None,
    said: str,
    *,
    identity: str,
    method: str,
) -> StoreError:
    if 300 <= status < 400:  # noqa: PLR2004
        return ConfigurationError(
            "the hub says that it is elsewhere, and redirects are not followed; check hub_url"
        )
    if status == 401:  # noqa: PLR2004
        return UnauthenticatedError(f"the hub does not accept {identity}: {said}; {_SIGN_IN}")
    if status == 403:  # noqa: PLR2004
        return _forbidden(reply or {}, said, identity)
    if status == 404:  # noqa: PLR2004
        if reply is None:
            return ConfigurationError("what answers there is no hub; check hub_url")
        return NotFoundError(f"the hub shows {identity} no such thing: {said}")
    if status == 409:  # noqa: PLR2004
        return (PreconditionError if method == "DELETE" else AlreadyExistsError)(said)
    if status in (400, 422):
        return ConfigurationError(f"the hub does not take this: {said}")
    if status == 423:  # noqa: PLR2004
        return DatasetLockedError(f"the hub has locked it: {said}")
    if status == 429:  # noqa: PLR2004
        return ThrottledError(
            f"the hub asks to slow down: {said}", retry_after=retry_after(headers)
        )
    if status in (405, 501):
        return NotSupportedError(f"this hub cannot do that: {said}")
    if status >= 500 or status == 408:  # noqa: PLR2004
        return UnavailableError(f"the hub failed: {said}", retry_after=retry_after(headers))
    return StoreError(f"the hub answered {said}")


def agreements(status: int, body: Buffer, /) -> list[str]:
    """Return the terms that an answer asks to be agreed to; none where it asks for nothing."""
    reply = (_reply(body) if status == 403 else None) or {}  # noqa: PLR2004
    rows = reply.get("agreements") if reply.get("code") == _AGREEMENT else None
    found = [row.get("text") for row in rows or () if isinstance(row, dict)]
    return [text for text in found if isinstance(text, str)]


def made_before(status: int, body: Buffer, /) -> str | None:
    """Return the id of what a call made whose answer, and with it a secret, was lost."""
    reply = (_reply(body) if status == 409 else None) or {}  # noqa: PLR2004
    made = reply.get("id") if reply.get("code") == _MADE_BEFORE else None
    return made if isinstance(made, str) else None


def is_undecided(status: int, body: Buffer, /) -> bool:
    """Whether an answer leaves it open what becomes of a call: the hub failed, or is at it."""
    under_way = status == 409 and (_reply(body) or {}).get("code") == _UNDER_WAY  # noqa: PLR2004
    return under_way or status >= 500 or status == 408  # noqa: PLR2004


_SIGN_IN = "run `asyncstore login`, or pass token="


def _forbidden(reply: dict[str, Any], said: str, identity: str) -> StoreError:
    code = reply.get("code")
    if code == _AGREEMENT_LOGIN:
        return UnauthenticatedError(
            f"the data set has terms, which only who is signed in can agree to; {_SIGN_IN}"
        )
    if code == _AGREEMENT and reply.get("agreements"):
        return PermissionDeniedError(
            f"the data set has terms that {identity} has not agreed to; read them and agree by "
            "`asyncstore hub agree`"
        )
    if identity == "nobody":
        return UnauthenticatedError(f"the hub lets nobody unknown do that: {said}; {_SIGN_IN}")
    return PermissionDeniedError(f"the hub does not let {identity} do that: {said}")
