"""Signature Version 4 from the other side: read what a request claims, and verify it.

The source is AWS's "Authenticating Requests (AWS Signature Version 4)" for S3: the header form,
the presigned form and the seed of the chunked forms. A request's path and query are decoded and
encoded again in the one canonical way, so that what is verified is what is acted upon. Every
`x-amz-` header must be signed.
"""

from __future__ import annotations

import hmac
import re
from calendar import timegm
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.hub.storage.faults import Refused
from asyncstore.wire.sigv4 import EXPIRES_MAX, UNSIGNED_PAYLOAD, encode_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SKEW_MAX = 15 * 60
"""Most seconds between the client's clock and ours."""
ALGORITHM = "AWS4-HMAC-SHA256"
_HEX = "[0-9a-f]{64}"
_SCOPE = r"([^/,\s]+)/(\d{8})/([A-Za-z0-9-]{1,64})/s3/aws4_request"
_NAMES = r"([!#$%&'*+.^_`|~0-9a-z;-]+)"
_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential={_SCOPE},\s*SignedHeaders={_NAMES},\s*Signature=({_HEX})"
)
_CREDENTIAL = re.compile(_SCOPE)
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_FOLD = re.compile(" {2,}")


class Claim(NamedTuple):
    """What a request says of its own signature.

    Attributes:
        access_key: the name of the key that it was signed with.
        token: the session token that goes with it.
        day, region: the scope.
        stamp: when it was signed, such as `"20261126T010203Z"`.
        names: the signed headers, in order.
        signature: in hexadecimal.
        expires: seconds that a presigned URL holds; `None` in the header form.
        payload: the SHA-256 of the body in hexadecimal, or one of the words in its place.
    """

    access_key: str
    token: str
    day: str
    region: str
    stamp: str
    names: tuple[str, ...]
    signature: str
    expires: int | None
    payload: str

    def __repr__(self) -> str:
        return f"Claim({self.access_key}, {self.stamp})"

    @property
    def scope(self) -> str:
        """The credential's scope."""
        return f"{self.day}/{self.region}/s3/aws4_request"


def read(headers: Mapping[str, str], query: Iterable[tuple[str, str]]) -> Claim:
    """Read what a request says of its signature.

    Args:
        headers: names in lower case.
        query: decoded.

    Raises:
        Refused: it is not signed, or not in a form of Signature Version 4.
    """
    signed = {name.lower(): value for name, value in query if name.lower().startswith("x-amz-")}
    authorization = headers.get("authorization")
    if "x-amz-algorithm" in signed:
        if authorization is not None:
            raise Refused("InvalidArgument", "Only one way of authentication is allowed")
        return _read_query(headers, signed)
    if authorization is None:
        raise Refused("AccessDenied", "Access Denied")
    found = _HEADER.fullmatch(authorization.strip())
    if found is None:
        raise Refused("AuthorizationHeaderMalformed", "The authorization header is malformed")
    access_key, day, region, names, signature = found.groups()
    payload = headers.get("x-amz-content-sha256")
    if payload is None:
        raise Refused("InvalidRequest", "Missing required header: x-amz-content-sha256")
    return Claim(
        access_key,
        headers.get("x-amz-security-token", ""),
        day,
        region,
        _stamp(headers.get("x-amz-date", "")),
        tuple(names.split(";")),
        signature,
        None,
        payload,
    )


def _read_query(headers: Mapping[str, str], signed: Mapping[str, str]) -> Claim:
    def wrong(what: str) -> Refused:
        return Refused("AuthorizationQueryParametersError", f"Not a valid {what}")

    if signed["x-amz-algorithm"] != ALGORITHM:
        raise wrong("X-Amz-Algorithm")
    credential = _CREDENTIAL.fullmatch(signed.get("x-amz-credential", ""))
    if credential is None:
        raise wrong("X-Amz-Credential")
    expires = signed.get("x-amz-expires", "")
    if not (expires.isascii() and expires.isdigit() and 1 <= int(expires[:9]) <= EXPIRES_MAX):
        raise wrong("X-Amz-Expires: between 1 second and 7 days")
    names, signature = signed.get("x-amz-signedheaders", ""), signed.get("x-amz-signature", "")
    if not re.fullmatch(_NAMES, names) or not re.fullmatch(_HEX, signature):
        raise wrong("X-Amz-SignedHeaders or X-Amz-Signature")
    payload = signed.get("x-amz-content-sha256") or headers.get("x-amz-content-sha256")
    access_key, day, region = credential.groups()
    return Claim(
        access_key,
        signed.get("x-amz-security-token", ""),
        day,
        region,
        _stamp(signed.get("x-amz-date", "")),
        tuple(names.split(";")),
        signature,
        int(expires),
        payload or UNSIGNED_PAYLOAD,
    )


def _stamp(text: str) -> str:
    if not _STAMP.fullmatch(text):
        raise Refused("AccessDenied", "AWS authentication requires a valid x-amz-date")
    return text


def check_time(claim: Claim, now: float) -> None:
    """See that a request was signed for now.

    Raises:
        Refused: it was signed at another time, or its URL has ended.
    """
    stamp = claim.stamp
    if stamp[:8] != claim.day:
        raise Refused("AuthorizationHeaderMalformed", "The credential's day is not x-amz-date's")
    fields = (stamp[:4], *(stamp[at : at + 2] for at in (4, 6, 9, 11, 13)))
    try:
        signed = timegm((*map(int, fields), 0, 0, 0))
    except ValueError:
        raise Refused("AccessDenied", "AWS authentication requires a valid x-amz-date") from None
    late = now - signed
    if -late > SKEW_MAX or (claim.expires is None and late > SKEW_MAX):
        raise Refused(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
    if claim.expires is not None and late >= claim.expires:
        raise Refused("AccessDenied", "Request has expired")


def check_names(claim: Claim, headers: Mapping[str, str]) -> None:
    """See that all is signed that must be.

    Raises:
        Refused: `host`, an `x-amz-` header or a signed one that is not there.
    """
    names = frozenset(claim.names)
    if "host" not in names or not names <= headers.keys() or len(names) != len(claim.names):
        raise Refused("SignatureDoesNotMatch", "The signed headers must be there, and name host")
    loose = [name for name in headers if name.startswith("x-amz-") and name not in names]
    # A hash in place of none binds nothing else, and some clients add it to what was presigned.
    if claim.expires is not None and loose == ["x-amz-content-sha256"]:
        return
    if loose:
        raise Refused("AccessDenied", "There were headers present which were not signed")


def canonical(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    claim: Claim,
) -> bytes:
    """Return the canonical request.

    Args:
        method: upper case.
        path: encoded in the canonical way.
        query: decoded, all of it.
        headers: names in lower case, values as Latin-1, which keeps every byte.
        claim: of the request.
    """
    pairs = query
    if claim.expires is not None:
        pairs = [pair for pair in query if pair[0].lower() != "x-amz-signature"]
    text = encode_query(pairs) if pairs else ""
    lines = "".join([f"{name}:{_trim(headers[name])}\n" for name in claim.names])
    names = ";".join(claim.names)
    whole = f"{method}\n{path}\n{text}\n{lines}\n{names}\n{claim.payload}"
    return whole.encode("latin-1")


def _trim(value: str) -> str:
    value = value.strip()
    return _FOLD.sub(" ", value) if "  " in value else value


def signing_key(secret: str, day: str, region: str) -> bytes:
    """Return the key that signs a day's requests to a region."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, claim: Claim, request: bytes) -> str:
    """Return the signature that a canonical request must have."""
    text = f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{sha256(request).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()
