"""Who asks: a request's claim against the grant in its own token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from asyncstore.hub.storage import signing
from asyncstore.hub.storage.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.hub.storage.grants import Keyring
    from asyncstore.hub.storage.request import Request
    from asyncstore.hub.storage.signing import Claim

_KEPT = 4096


class Verifier:
    """Verifies requests.

    Args:
        keys: which made the grants.
        clock: epoch seconds.
    """

    def __init__(self, keys: Keyring, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock
        self._signing: dict[tuple[str, str, str], bytes] = {}

    def verify(self, request: Request) -> tuple[Claim, bytes]:
        """See who asks; what they may do is the request's `grant` from here on.

        Returns:
            The claim, and the key that signs its day and region.

        Raises:
            Refused: the request is not signed with a grant's keys, not for now, or the grant ended.
        """
        claim = signing.read(request.headers, request.pairs)
        if not claim.token:
            raise Refused("InvalidAccessKeyId", "The access key is none of this storage's")
        opened = self._keys.open(claim.token)
        if not hmac.compare_digest(opened.access_key.encode(), claim.access_key.encode()):
            raise Refused("InvalidAccessKeyId", "The access key is none of this storage's")
        signing.check_names(claim, request.headers)
        key = self._signing_key(opened.secret, claim)
        whole = signing.canonical(
            request.method, request.path, request.pairs, request.headers, claim
        )
        if not hmac.compare_digest(signing.signature(key, claim, whole), claim.signature):
            raise Refused(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        now = self._clock()
        signing.check_time(claim, now)
        if now >= opened.grant.expires:
            raise Refused("ExpiredToken", "The provided token has expired.")
        request.grant = opened.grant
        return claim, key

    def _signing_key(self, secret: str, claim: Claim) -> bytes:
        place = secret, claim.day, claim.region
        key = self._signing.get(place)
        if key is None:
            if len(self._signing) >= _KEPT:
                self._signing.clear()
            key = self._signing[place] = signing.signing_key(*place)
        return key
