"""The forms of a body: plain, or in `aws-chunked` frames, signed one by one or not, with trailers.

Bytes in, payload out; no I/O. The source is AWS's "Signature Calculations for the Authorization
Header: Transferring Payload in Multiple Chunks", and the same "Including Trailing Headers".
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from asyncstore.hub.storage.faults import Refused
from asyncstore.hub.storage.signing import ALGORITHM
from asyncstore.wire.sigv4 import EMPTY_SHA256

if TYPE_CHECKING:
    from asyncstore.hub.storage.signing import Claim

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FORMS = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
"""Words in the place of a payload's hash that say that it comes in frames."""
_LINE_MAX = 1024
_TRAILERS_MAX = 16
_FRAME = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class Frames(Protocol):
    """Takes a body apart."""

    trailers: dict[str, str]

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the payload in the next bytes."""

    def finish(self) -> None:
        """Say that there is no more."""


class Plain:
    """A body that is its payload."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the payload in the next bytes: all of them."""
        return [memoryview(data)]

    def finish(self) -> None:
        """Say that there is no more."""


class Signatures:
    """The chain of signatures of a body's frames, from the request's own on.

    Args:
        claim: of the request, verified.
        key: that signs its day and region.
    """

    def __init__(self, claim: Claim, key: bytes) -> None:
        self._place = f"{claim.stamp}\n{claim.scope}"
        self._key = key
        self._last = claim.signature
        self._hash = sha256()

    def add(self, data: memoryview) -> None:
        """Take bytes of the frame under way."""
        self._hash.update(data)

    def frame(self, told: str) -> None:
        """End a frame, which must have this signature.

        Raises:
            Refused: it has another.
        """
        self._check(f"{ALGORITHM}-PAYLOAD", f"{EMPTY_SHA256}\n{self._hash.hexdigest()}", told)
        self._hash = sha256()

    def trailer(self, lines: bytes, told: str) -> None:
        """Compare the trailers' signature.

        Raises:
            Refused: they have another.
        """
        self._check(f"{ALGORITHM}-TRAILER", sha256(lines).hexdigest(), told)

    def _check(self, what: str, hashed: str, told: str) -> None:
        text = f"{what}\n{self._place}\n{self._last}\n{hashed}"
        self._last = hmac.digest(self._key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(self._last, told):
            raise Refused(
                "SignatureDoesNotMatch", "The signature of a chunk does not match what was computed"
            )


class Chunked:
    """A body in frames.

    Args:
        signatures: the chain to verify, or `None` where frames are not signed.
        announced: names of the trailers that must come, in lower case.
    """

    def __init__(self, signatures: Signatures | None, announced: frozenset[str]) -> None:
        self.trailers: dict[str, str] = {}
        self._signatures = signatures
        self._announced = announced
        self._signature = ""
        self._line = bytearray()
        self._left = 0
        self._read = self._size

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the payload in the next bytes.

        Raises:
            Refused: these are no frames, or their signatures are wrong.
        """
        found = []
        view, at = memoryview(data), 0
        while at < len(view):
            if self._left:
                piece = view[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._signatures is not None:
                    self._signatures.add(piece)
                found.append(piece)
                continue
            end = data.find(b"\n", at) + 1
            self._line += view[at : end or len(view)]
            if len(self._line) > _LINE_MAX:
                raise _malformed()
            at = end or len(view)
            if end:
                line, self._line = self._line, bytearray()
                if not line.endswith(b"\r\n"):
                    raise _malformed()
                self._read(bytes(line[:-2]))
        return found

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            Refused: frames or trailers are missing.
        """
        if self._read != self._nothing or self._announced - self.trailers.keys():
            raise Refused("IncompleteBody", "The request body terminated unexpectedly")

    # What the next line is.

    def _size(self, line: bytes) -> None:
        found = _FRAME.fullmatch(line)
        if found is None or (found[2] is None) != (self._signatures is None):
            raise _malformed()
        self._left = int(found[1], 16)
        self._signature = (found[2] or b"").decode()
        if self._left:
            self._read = self._end
        else:
            self._close_frame()
            self._read = self._trailer

    def _end(self, line: bytes) -> None:
        if line:
            raise _malformed()
        self._close_frame()
        self._read = self._size

    def _close_frame(self) -> None:
        if self._signatures is not None:
            self._signatures.frame(self._signature)

    def _trailer(self, line: bytes) -> None:
        if line:
            name, colon, value = line.decode("latin-1").partition(":")
            name = name.strip().lower()
            expected = name in self._announced or name == _TRAILER_SIGNATURE
            if not colon or not expected or name in self.trailers:
                raise _malformed()
            if len(self.trailers) >= _TRAILERS_MAX:
                raise _malformed()
            self.trailers[name] = value.strip()
            if name == _TRAILER_SIGNATURE:
                self._check_trailers()
                self._read = self._last
            return
        if self._signatures is not None and self._announced:
            raise Refused("SignatureDoesNotMatch", "The trailers are not signed")
        self._read = self._nothing

    def _check_trailers(self) -> None:
        told = self.trailers.pop(_TRAILER_SIGNATURE)
        if self._signatures is None:
            raise _malformed()
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(self.trailers.items()))
        self._signatures.trailer(lines.encode("latin-1"), told)

    def _last(self, line: bytes) -> None:
        if line:
            raise _malformed()
        self._read = self._nothing

    def _nothing(self, line: bytes) -> None:
        del line
        raise _malformed()


def _malformed() -> Refused:
    return Refused("InvalidRequest", "The body is not in the form that x-amz-content-sha256 says")
