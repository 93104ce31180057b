"""Stand-ins on loopback for what hands out AWS keys: the instance, the container, SSO, a process.

Each takes its keys from a source that the test gives: fixed ones, or ones that MiniStack's STS
mints for a few seconds. What they check, they check as AWS does: IMDSv2's session token, the
container's authorization, SSO's bearer token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from asyncstore.testing.canary import guard
from asyncstore.testing.small_http import Call, Reply, SmallServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.testing.servers import MiniStack

ROLE = "storage-role"
PATIENCE = "30"
"""Seconds for an answer, where AWS's clients wait 1: minting takes its time on a busy machine."""


@dataclass
class Keys:
    """Keys as a source hands them out; `expires` is `None` where they have no end."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None

    @property
    def creds(self) -> dict[str, object]:
        """The same as `creds=` takes them."""
        found: dict[str, object] = {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }
        if self.token is not None:
            found["aws_session_token"] = self.token
        if self.expires is not None:
            found["expires_at"] = self.expires
        return found

    def as_json(self, token_name: str = "Token") -> dict[str, str]:
        """The same as IMDS, ECS and credential processes write them."""
        found = {"AccessKeyId": self.access_key, "SecretAccessKey": self.secret_key}
        if self.token is not None:
            found[token_name] = self.token
        if self.expires is not None:
            found["Expiration"] = self.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        return found


def minted(server: MiniStack, *, seconds: int) -> Keys:
    """Return keys that MiniStack's STS made, and refuses once they have ended."""
    made = server.assume(seconds)
    guard(made["SecretAccessKey"])
    guard(made["SessionToken"])
    return Keys(
        made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], made["Expiration"]
    )


class _StandIn:
    """A stand-in is its server's context."""

    server: SmallServer

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()


class Instance(_StandIn):
    """The instance metadata service, version 2; version 1 is refused.

    Attributes:
        server: serves it; its `fail` makes it go wrong.
    """

    def __init__(self, source: Callable[[], Keys]) -> None:
        self._source = source
        self._token = guard(secrets.token_hex(16))
        self.server = SmallServer(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """What points a client at it, and lets it wait for a source that is slow."""
        return {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.server.url,
            "AWS_METADATA_SERVICE_TIMEOUT": "30",
        }

    def handed_out(self) -> int:
        """Return how often keys were fetched."""
        return self.server.count(f"/security-credentials/{ROLE}")

    def _answer(self, call: Call) -> Reply:
        if call.path == "/latest/api/token":
            seconds = call.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            right = call.method == "PUT" and seconds.isdigit()
            return Reply(200, self._token.encode()) if right else Reply(400)
        if call.headers.get("x-aws-ec2-metadata-token") != self._token:
            return Reply(401)
        folder = "/latest/meta-data/iam/security-credentials/"
        if call.path == folder:
            return Reply(200, ROLE.encode())
        if call.path == folder + ROLE:
            told = {"Code": "Success", "Type": "AWS-HMAC", **self._source().as_json()}
            return Reply(200, json.dumps(told).encode())
        return Reply(404)


class Container(_StandIn):
    """The endpoint of ECS and EKS that hands out a task's keys to who knows the authorization."""

    def __init__(self, source: Callable[[], Keys]) -> None:
        self._source = source
        self.authorization = guard(secrets.token_hex(16))
        self.server = SmallServer(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """What points a client at it."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.server.url}/v2/keys",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.authorization,
        }

    def _answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != self.authorization:
            return Reply(403, b'{"message": "who are you?"}')
        if call.path != "/v2/keys":
            return Reply(404)
        return Reply(200, json.dumps({"RoleArn": ROLE, **self._source().as_json()}).encode())


class SingleSignOn(_StandIn):
    """IAM Identity Center: the portal, which gives keys for a bearer token, and its renewal."""

    def __init__(self, source: Callable[[], Keys]) -> None:
        self._source = source
        self._bearers = {guard(secrets.token_hex(16))}
        self._refresh = guard(secrets.token_hex(16))
        self.server = SmallServer(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """What points a client at it."""
        return {
            "AWS_ENDPOINT_URL_SSO": self.server.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": self.server.url,
        }

    def profile(self, name: str = "work") -> str:
        """Return a profile of `~/.aws/config` that signs in through it."""
        return (
            f"[profile {name}]\nsso_session = home\nsso_account_id = 111122223333\n"
            "sso_role_name = reader\nregion = us-east-1\n"
            "[sso-session home]\nsso_region = us-east-1\n"
            "sso_start_url = https://example.awsapps.com/start\n"
            "sso_registration_scopes = sso:account:access\n"
        )

    def sign_in(self, home: str, *, seconds: float = 3600) -> None:
        """Leave in `home` what `aws sso login` leaves there, good for so many seconds."""
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        later = datetime.now(UTC) + timedelta(days=30)
        token = {
            "startUrl": "https://example.awsapps.com/start",
            "region": "us-east-1",
            "accessToken": next(iter(self._bearers)),
            "expiresAt": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "clientId": "client",
            "clientSecret": guard(secrets.token_hex(16)),
            "registrationExpiresAt": later.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "refreshToken": self._refresh,
        }
        folder = os.path.join(home, ".aws", "sso", "cache")
        os.makedirs(folder, exist_ok=True)
        name = hashlib.sha1(b"home", usedforsecurity=False).hexdigest()
        with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(token, file)

    def _answer(self, call: Call) -> Reply:
        if call.path == "/federation/credentials":
            if call.headers.get("x-amz-sso_bearer_token") not in self._bearers:
                kind = {"x-amzn-errortype": "UnauthorizedException"}
                return Reply(401, b'{"message": "sign in"}', kind)
            return Reply(200, json.dumps({"roleCredentials": self._role()}).encode())
        if call.path == "/token":
            asked = json.loads(call.body)
            if asked.get("refreshToken") != self._refresh:
                kind = {"x-amzn-errortype": "InvalidGrantException"}
                return Reply(400, b'{"error": "invalid_grant"}', kind)
            bearer = guard(secrets.token_hex(16))
            self._bearers.add(bearer)
            told = {"accessToken": bearer, "expiresIn": 3600, "tokenType": "Bearer"}
            return Reply(200, json.dumps(told).encode())
        return Reply(404, b"{}")

    def _role(self) -> dict[str, object]:
        keys = self._source()
        end = keys.expires or datetime.now(UTC) + timedelta(hours=1)
        return {
            "accessKeyId": keys.access_key,
            "secretAccessKey": keys.secret_key,
            "sessionToken": keys.token or "",
            "expiration": int(end.timestamp() * 1000),
        }


def identity_token(host: str) -> str:
    """Return an OpenID token, as a pod's service account has one; its signature is nobody's."""

    def coded(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": f"https://{host}", "sub": "pod", "aud": "sts.amazonaws.com"}
    return guard(f"{coded({'alg': 'none'})}.{coded(dict(claims))}.c2lnbmF0dXJl")


def process(path: str, text: str, *, status: int = 0) -> str:
    """Write a `credential_process` that prints `text`, and return its command."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!{sys.executable}\nimport sys\nprint({text!r})\nsys.exit({status})\n")
    os.chmod(path, stat.S_IRWXU)
    return path
