"""What Google Cloud Storage's refusals mean, as the library's errors. Pure.

Source: https://cloud.google.com/storage/docs/json_api/v1/status-codes. 412 alone does not say
which condition failed: the caller's question does.
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncstore.types import Buffer

Question: TypeAlias = Literal["absent", "match", "version"] | None
"""What a request's condition asked: create only, replace this version, read this version."""

_RATES = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "tooManyRequests"}
_DETAIL = 300
_KINDS: dict[int, tuple[type[StoreError], str]] = {
    401: (UnauthenticatedError, "the service does not accept the credentials"),
    403: (PermissionDeniedError, "access denied"),
    404: (NotFoundError, "no such object or bucket"),
    410: (NotFoundError, "no such object or bucket"),
}


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: Buffer,
    /,
    *,
    write: bool = False,
    question: Question = None,
    hide: Iterable[str] = (),
) -> StoreError:
    """Return the error that a reply means.

    Args:
        status: any but the expected ones.
        headers: names in lower case.
        body: JSON, XML, HTML or nothing.
        write: whether the request would have changed something.
        question: what its condition asked.
        hide: secrets that the request carried, in case the reply repeats them.
    """
    reason, detail = _read(body)
    for secret in hide:
        detail = detail.replace(secret, "***")
    where: dict[str, Any] = {"status": status, "request_id": headers.get("x-guploader-uploadid")}
    if status == 412:  # noqa: PLR2004
        return _unmet(question, where)
    if status == 429 or (status == 403 and reason in _RATES):  # noqa: PLR2004
        return ThrottledError(
            f"the service asks for fewer requests{detail}",
            retry_after=retry_after(headers),
            **where,
        )
    if status >= 500 or status in (408, 409):  # noqa: PLR2004
        return UnavailableError(
            f"the service answered {status}{detail}",
            retry_after=retry_after(headers),
            outcome="unknown" if write and status != 409 else "not_applied",  # noqa: PLR2004
            **where,
        )
    return _permanent(status, reason, detail, where)


def _permanent(status: int, reason: str, detail: str, where: dict[str, Any]) -> StoreError:
    if status in _KINDS:
        kind, text = _KINDS[status]
        return kind(f"{text}{detail}", **where)
    if 300 <= status < 400:  # noqa: PLR2004
        return ConfigurationError(
            "the endpoint redirects elsewhere, which is not followed; write the right endpoint_url",
            **where,
        )
    if status < 300:  # noqa: PLR2004
        return IntegrityError(f"the service answered {status}, which is no answer to this", **where)
    return _bad_request(reason, detail, where)


def _bad_request(reason: str, detail: str, where: dict[str, Any]) -> StoreError:
    words = detail.lower()
    if reason in ("required", "userProjectMissing") and "project" in words:
        return ConfigurationError(
            f"the bucket's requesters pay: give project_id in creds={detail}", **where
        )
    if "calculated" in words and ("crc32c" in words or "md5" in words):
        return IntegrityError(f"the bytes were altered on their way{detail}", **where)
    return StoreError(f"the service refused the request ({where['status']}){detail}", **where)


def _unmet(question: Question, where: dict[str, Any]) -> StoreError:
    if question == "absent":
        return AlreadyExistsError("there is an object already", **where)
    if question == "version":
        return ObjectChangedError("the object is not the version that was asked for", **where)
    return PreconditionError("the object is not the version of if_match", **where)


def retry_after(headers: Mapping[str, str], /) -> float | None:
    """Return the reply's hint in seconds, or `None` where there is none that makes sense."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004
        return float(text)
    try:
        then, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _read(body: Buffer) -> tuple[str, str]:
    """Return the machine's reason and the words, either maybe empty."""
    try:
        error = json.loads(bytes(body[:65536]))["error"]
        reason = str((error.get("errors") or [{}])[0].get("reason") or "")
        words = str(error.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    return reason, f": {words[:_DETAIL]}" if words else ""


__all__ = ["Question", "refusal", "retry_after"]
