"""What is kept of an upload's session, so that another process goes on with it.

A session knows how many bytes it holds, and not what they are. So the checksum of the confirmed
bytes goes along with its address, and the whole is compared with Google's at the end, whoever
sent which part of it. The address is as good as a credential.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"([ap]):(\d{1,20}):(-|[0-9a-f]{1,8}):(/[\x21-\x7e]{1,4000})")


class Left(NamedTuple):
    """A session that a process left, or was killed over.

    Attributes:
        target: its path and query at the endpoint; a secret.
        base: bytes that it had confirmed.
        crc: the CRC-32C of those; `None` where nobody compares.
        if_absent: its condition.
    """

    target: str
    base: int
    crc: int | None
    if_absent: bool

    def __repr__(self) -> str:
        return f"Left(base={self.base})"

    @classmethod
    def read(cls, token: str, /) -> Left | None:
        """Read a token; `None` where it is none of ours."""
        found = _FORM.fullmatch(token)
        if found is None:
            return None
        crc = None if found[3] == "-" else int(found[3], 16)
        return cls(found[4], int(found[2]), crc, found[1] == "a")

    @property
    def token(self) -> str:
        """The text that is kept, in a file that is its owner's alone."""
        crc = "-" if self.crc is None else f"{self.crc:x}"
        return f"{'a' if self.if_absent else 'p'}:{self.base}:{crc}:{self.target}"
