"""The chunked transfer coding, read strictly and without I/O (RFC 9112, section 7.1)."""

from __future__ import annotations

import re

from asyncstore.errors import IntegrityError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*|[ \t]*)")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_LINE_MAX = 4 << 10
_TRAILERS_MAX = 64
_CRLF = 2


class ChunkedDecoder:
    """Takes the coding off, whatever pieces it comes in.

    Attributes:
        done: the last chunk and the trailer have been read.
    """

    __slots__ = ("_data", "_left", "_line", "_size_next", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._line = b""
        self._left = 0  # of the chunk's data
        self._data = 0  # of the CRLF behind it
        self._size_next = True
        self._trailers = 0

    def feed(self, data: memoryview) -> tuple[list[memoryview], int]:
        """Read some bytes; return the views that are body, and how many bytes were used.

        Fewer than all are used only where the coding has ended within them.

        Raises:
            IntegrityError: it is not the chunked coding.
        """
        pieces: list[memoryview] = []
        at = 0
        end = len(data)
        while at < end and not self.done:
            if self._left:
                take = min(self._left, end - at)
                pieces.append(data[at : at + take])
                self._left -= take
                at += take
            elif self._data:
                self._expect_crlf(data[at])
                at += 1
            else:
                at = self._read_line(data, at)
        return pieces, at

    def _expect_crlf(self, byte: int) -> None:
        if byte != (0x0D if self._data == _CRLF else 0x0A):
            raise IntegrityError("a chunk of the answer is longer than it said")
        self._data -= 1

    def _read_line(self, data: memoryview, at: int) -> int:
        piece = bytes(data[at : at + _LINE_MAX])
        cut = piece.find(b"\n")
        self._line += piece if cut < 0 else piece[: cut + 1]
        if len(self._line) > _LINE_MAX:
            raise IntegrityError("a chunk of the answer has too long a head")
        if cut < 0:
            return at + len(piece)
        line, self._line = self._line, b""
        if line[-2:] != b"\r\n":
            raise IntegrityError("a chunk of the answer has a malformed head")
        self._on_line(line[:-2])
        return at + cut + 1

    def _on_line(self, line: bytes) -> None:
        if self._size_next:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise IntegrityError("a chunk of the answer has a malformed head")
            self._left = int(match[1], 16)
            if self._left:
                self._data = _CRLF
            else:
                self._size_next = False
        elif not line:
            self.done = True
        else:
            self._trailers += 1
            if self._trailers > _TRAILERS_MAX or not _TRAILER.fullmatch(line):
                raise IntegrityError("the answer has a malformed trailer")
