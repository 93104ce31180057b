"""AWS's Security Token Service: a role's keys, asked for and read. Pure.

Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from asyncstore.types import Buffer

BODY_MAX = 64 << 10
"""Most bytes of an answer."""

_VERSION = "2011-06-15"
_CODE = re.compile(r"[A-Za-z.]{1,60}")
_WRONG_KEYS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "RegionDisabledException"})


class SessionTooLongError(ConfigurationError):
    """The role's own sessions are shorter than what was asked for; an hour is always allowed."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """The keys of a role's session.

    Attributes:
        access_key: the keys' public name.
        secret_key, session_token: secrets.
        ends: epoch seconds.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    ends: float


def assume_role(
    role_arn: str, /, *, session: str, policy: str, seconds: int, external_id: str | None = None
) -> bytes:
    """Return the body of a request, a form.

    Args:
        role_arn: the role.
        session: what the service's log calls the session: 2 to 64 letters, digits and `=,.@-`.
        policy: what the session may do, of what the role may do.
        seconds: how long, from 900.
        external_id: what the role's trust asks for besides.
    """
    fields = {
        "Action": "AssumeRole",
        "Version": _VERSION,
        "RoleArn": role_arn,
        "RoleSessionName": session,
        "Policy": policy,
        "DurationSeconds": str(seconds),
    }
    if external_id is not None:
        fields["ExternalId"] = external_id
    return urlencode(fields).encode()


def assumed(body: Buffer, /) -> Assumed:
    """Read the answer to `assume_role`.

    Raises:
        IntegrityError: it has no keys with an end.
    """
    found = _texts(body)
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    if found is None or not all(found.get(name) for name in names):
        raise IntegrityError("the token service's answer has no keys", op="assume role")
    try:
        end = datetime.fromisoformat(found.get("Expiration", ""))
    except ValueError:
        end = None
    if end is None or end.tzinfo is None:
        raise IntegrityError(
            "the token service's answer does not say when its keys end", op="assume role"
        )
    access_key, secret_key, session_token = (found[name] for name in names)
    return Assumed(access_key, secret_key, session_token, end.timestamp())


def refusal(status: int, body: Buffer, /) -> StoreError:
    """Return the error for an answer that is no success; of its text it has the code alone."""
    found = _texts(body) or {}
    code = found.get("Code", "")
    code = code if _CODE.fullmatch(code) else ""
    text = f"the role could not be assumed ({status}{f', {code}' if code else ''})"
    error = _error(status, code, text, found.get("Message", ""))
    error.op, error.status = "assume role", status
    return error


def _error(status: int, code: str, text: str, said: str) -> StoreError:  # noqa: PLR0911 - one decision
    if status == 429 or "Throttl" in code or code == "SlowDown":  # noqa: PLR2004
        return ThrottledError(text)
    if status >= 500:  # noqa: PLR2004
        return UnavailableError(text)
    if 300 <= status < 400:  # noqa: PLR2004
        return ConfigurationError(f"{text}: a redirect, which is not followed")
    if code in _WRONG_KEYS:
        return UnauthenticatedError(f"{text}: the stored keys are wrong or were revoked")
    if code in _FORBIDDEN or status == 403:  # noqa: PLR2004
        return PermissionDeniedError(
            f"{text}: the role's trust must name the stored keys' user, and the external id"
        )
    if code == "ValidationError" and ("MaxSessionDuration" in said or "1 hour" in said):
        return SessionTooLongError(f"{text}: its sessions are shorter")
    if code == "PackedPolicyTooLarge":
        return ConfigurationError(f"{text}: the path is too long for a session policy")
    return ConfigurationError(f"{text}: check role_arn, region and sts_endpoint_url")


def _texts(body: Buffer) -> dict[str, str] | None:
    """Return the texts of a small XML document by their elements' names, or `None`."""
    text = bytes(body[:BODY_MAX])
    if b"<!" in text:
        return None  # a document type: STS has none, and no entity is ever expanded
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above
    except ET.ParseError:
        return None
    return {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter()}
