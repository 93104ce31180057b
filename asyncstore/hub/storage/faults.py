"""What the storage refuses, in S3's words: a code, its status, and the XML that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "ExpiredToken": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidStorageClass": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestHeaderSectionTooLarge": 400,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}


class Refused(Exception):  # noqa: N818 - an answer, and no fault of this program
    """A request that is answered with an error.

    Args:
        code: S3's name for it, one of `STATUS`.
        message: for people; holds no secret, and nothing that the asker may not know.
        headers: of the answer, besides the usual ones.
    """

    def __init__(
        self, code: str, message: str, /, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def document(self, resource: str, request_id: str) -> bytes:
        """Return the error document for one request.

        Args:
            resource: the path that was asked for, percent-encoded.
            request_id: the request's name.
        """
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message>"
            f"<Resource>{escape(resource)}</Resource><RequestId>{request_id}</RequestId>"
            "</Error>"
        ).encode()


def denied() -> Refused:
    """Return the one answer to all that is outside a grant, whether it is there or not."""
    return Refused("AccessDenied", "Access Denied")


def no_such_key() -> Refused:
    """Return the answer where there is no object."""
    return Refused("NoSuchKey", "The specified key does not exist.")


def unmet(condition: str) -> Refused:
    """Return the answer where a condition does not hold.

    Args:
        condition: the header that made it.
    """
    return Refused(
        "PreconditionFailed",
        f"At least one of the pre-conditions you specified did not hold: {condition}",
    )
