"""What S3 says when it refuses, as errors of ours; pure.

The same status means different things for different questions: 412 is `AlreadyExistsError` for
who asked for "create only" and `PreconditionError` for who asked for "this version". Forbidden
is never absent, and no answer that leaves doubt about a write is told as "not applied".
"""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    IntegrityError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    StoreError,
    ThrottledError,
    TransientError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.errors import Outcome
    from asyncstore.wire.s3 import Fault

Condition: TypeAlias = Literal["absent", "match", "source"] | None
"""What a request asked for: a key that is free, a version there, or a version of the source."""

CREDENTIALS_ENDED = frozenset({"ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"})
CREDENTIALS_WRONG = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "InvalidSecurity",
        "NotSignedUp",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)
CLOCK = "RequestTimeTooSkewed"
REGION_WRONG = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"})
_THROTTLED = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "BandwidthLimitExceeded",
    }
)
_CONFLICTS = frozenset(
    {"ConditionalRequestConflict", "OperationAborted", "ConcurrentModification", "Conflict"}
)
_ALTERED = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "InvalidPart",
        "InvalidPartOrder",
    }
)
_TOO_LARGE = frozenset({"EntityTooLarge", "EntityTooSmall", "MaxMessageLengthExceeded"})
_BAD_PATH = frozenset({"KeyTooLongError", "InvalidBucketName", "InvalidURI", "InvalidObjectName"})
_INTERRUPTED = frozenset({"RequestTimeout", "IncompleteBody"})
_BY_STATUS_RETRIED = frozenset({408, 425})


def failure(
    status: int,
    headers: Mapping[str, str],
    fault: Fault,
    *,
    bucket: str,
    identity: str,
    write: bool,
    condition: Condition = None,
) -> StoreError:
    """Return the error for a refusal, with status, request id and outcome.

    Args:
        status: of the answer; 200 where an `<Error>` came under it.
        headers: of the answer.
        fault: what its body says.
        bucket: the bucket's name.
        identity: who asked, masked.
        write: whether the request would have changed something.
        condition: what it made the change depend on.
    """
    error = _error(status, headers, fault, bucket=bucket, identity=identity, condition=condition)
    error.status = status
    error.request_id = headers.get("x-amz-request-id") or fault.request_id or None
    error.outcome = _outcome(error, status) if write else "not_applied"
    if isinstance(error, NotFoundError) and fault.code == "NoSuchBucket":
        error.url = f"s3://{bucket}"
    return error


def _outcome(error: StoreError, status: int) -> Outcome:
    # A 5xx may come after the commit, and so may an <Error> under 200; a 4xx is a refusal.
    refused = 300 <= status < 500 or isinstance(error, ThrottledError | NotSupportedError)  # noqa: PLR2004
    return "not_applied" if refused else "unknown"


def _error(  # noqa: C901, PLR0911, PLR0912 - one decision, in one place
    status: int,
    headers: Mapping[str, str],
    fault: Fault,
    *,
    bucket: str,
    identity: str,
    condition: Condition,
) -> StoreError:
    code = fault.code
    said = f"{fault.message or 'no reason given'} ({code})" if code else f"status {status}"
    if code in CREDENTIALS_ENDED:
        return UnauthenticatedError(f"the credentials {identity} have ended ({code})")
    if code in CREDENTIALS_WRONG or status == 401:  # noqa: PLR2004
        return UnauthenticatedError(f"the service does not accept {identity}: {said}")
    if code == CLOCK:
        return UnauthenticatedError(
            f"this machine's clock and the service's differ too much to sign requests: {said}"
        )
    if code in REGION_WRONG or 300 <= status < 400:  # noqa: PLR2004
        return _redirected(headers, fault, bucket)
    if code in _THROTTLED or status == 429:  # noqa: PLR2004
        return ThrottledError(f"asked to slow down: {said}", retry_after=retry_after(headers))
    if code in _CONFLICTS:
        return TransientError(f"another write was under way: {said}")
    if status == 412 or code == "PreconditionFailed":  # noqa: PLR2004
        return _unmet(condition, said)
    if code == "NoSuchBucket":
        return NotFoundError(f"there is no bucket {bucket!r}")
    if status == 404 or code in ("NoSuchKey", "NoSuchUpload"):  # noqa: PLR2004
        if condition == "match":
            return PreconditionError("there is no object, so not this version of it")
        what = "upload" if code == "NoSuchUpload" else "object"
        return NotFoundError(f"there is no such {what}")
    if code in _INTERRUPTED or status in _BY_STATUS_RETRIED:
        return UnavailableError(f"the request did not arrive whole: {said}")
    if code in _ALTERED:
        return IntegrityError(f"the service refused the bytes: {said}")
    if code == "InvalidObjectState":
        return NotSupportedError(f"the object is archived; restore it first: {said}")
    if code in _BAD_PATH:
        return InvalidPathError(said)
    if code in _TOO_LARGE:
        return NotSupportedError(f"of a size that the service does not take: {said}")
    if status == 403:  # noqa: PLR2004
        if identity == "anonymous":
            return UnauthenticatedError(f"access denied as anonymous; pass creds=: {said}")
        return PermissionDeniedError(f"access denied as {identity}: {said}")
    if status in (405, 501) or code == "NotImplemented":
        return NotSupportedError(f"the service cannot do this: {said}")
    if status >= 500 or status == 200:  # noqa: PLR2004
        return UnavailableError(f"the service failed: {said}", retry_after=retry_after(headers))
    return StoreError(said)


def _redirected(headers: Mapping[str, str], fault: Fault, bucket: str) -> StoreError:
    region = headers.get("x-amz-bucket-region") or fault.region
    hint = f"the bucket is in {region!r}; set region= to it" if region else "check endpoint_url"
    return ConfigurationError(
        f"the service says that bucket {bucket!r} is elsewhere, and redirects are not followed; "
        f"{hint}"
    )


def _unmet(condition: Condition, said: str) -> StoreError:
    if condition == "absent":
        return AlreadyExistsError("there is an object already")
    if condition == "match":
        return PreconditionError("the object is another version")
    if condition == "source":
        return ObjectChangedError("the object is not the version that was asked for")
    return StoreError(f"a condition that was not asked for is not met: {said}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After`: seconds or an HTTP date; `None` where there is none that makes sense."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def clock_offset(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the service's clock is ahead of ours, from its `Date`."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - time.time()
    except ValueError:
        return None
