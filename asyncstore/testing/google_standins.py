"""Google's identity services on loopback: metadata server, OAuth, STS, IAM credentials.

Written from their documentation, and strict: assertions are verified with the account's public
key, authorisation codes with their PKCE challenge, bearers with what was issued before. Every
token begins with the canary's mark, so that one that shows anywhere fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode

from asyncstore.testing.boundaries import Boundary
from asyncstore.testing.canary import CANARY_PASSWORD, CANARY_SECRET, CANARY_TOKEN, MARK
from asyncstore.testing.small_http import Call, Reply, SmallServer

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "robot@project.iam.gserviceaccount.com"
TARGET = "target@project.iam.gserviceaccount.com"
MACHINE = "machine@project.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
CLIENT_ID = "client.apps.googleusercontent.com"
SUBJECT = f"{CANARY_TOKEN}Subject"

_METADATA = "/computeMetadata/v1/instance/service-accounts/default/"


@cache
def private_key() -> Any:
    """Return an RSA key; one for the process, since making it takes a tenth of a second."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - 30 ms

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def private_key_pem() -> str:
    """Return the key as a credential file has it."""
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

    made = private_key().private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    text: str = made.decode()
    return text


@dataclass
class Issued:
    """A token that was handed out.

    Attributes:
        identity: whose it is.
        scope: what for.
        ends: epoch seconds.
    """

    identity: str
    scope: str
    ends: float


@dataclass
class _Code:
    challenge: str
    redirect_uri: str
    scope: str


@dataclass
class _State:
    tokens: dict[str, Issued] = field(default_factory=dict)
    codes: dict[str, _Code] = field(default_factory=dict)


class GoogleStandIns(SmallServer):
    """All of the services on one port; a context manager.

    Attributes:
        lifetime: seconds that tokens hold.
        clock: epoch seconds.
        on_issue: told every token, so that a storage server can accept it.
        on_narrow: told every token that a boundary narrows, and the boundary.
        refresh_tokens: which are good.
        delay: seconds before each token.
    """

    def __init__(self, on_issue: Callable[[str], object] = lambda _: None) -> None:
        super().__init__(self._reply)
        self.lifetime = 3600
        self.clock: Callable[[], float] = time.time
        self.on_issue = on_issue
        self.on_narrow: Callable[[str, Boundary], object] = lambda _token, _boundary: None
        self.refresh_tokens = {CANARY_PASSWORD}
        self.delay = 0.0
        self._state = _State()
        self._numbers = itertools.count(1)
        self._guard = threading.Lock()

    def identity_of(self, token: str) -> str:
        """Return whose a token is."""
        return self._state.tokens[token].identity

    @property
    def issued(self) -> list[Issued]:
        """Every token's owner and end, in the order of issue."""
        return list(self._state.tokens.values())

    # Credential documents that point here.

    def service_account(self) -> dict[str, Any]:
        """Return a service account's key file."""
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-1",
            "private_key": private_key_pem(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }

    def authorized_user(self) -> dict[str, Any]:
        """Return what `gcloud auth application-default login` leaves."""
        return {
            "type": "authorized_user",
            "client_id": CLIENT_ID,
            "client_secret": CANARY_SECRET,
            "refresh_token": CANARY_PASSWORD,
            "token_uri": f"{self.url}/token",
        }

    def impersonated(self) -> dict[str, Any]:
        """Return an impersonation by an authorised user."""
        return {
            "type": "impersonated_service_account",
            "service_account_impersonation_url": self.impersonation_url,
            "source_credentials": self.authorized_user(),
            "delegates": [],
        }

    def external(self, source: dict[str, Any]) -> dict[str, Any]:
        """Return a workload identity with a credential source."""
        return {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/sts",
            "credential_source": source,
        }

    def client(self) -> dict[str, str]:
        """Return an OAuth client, as `creds=` takes it for the browser."""
        return {
            "type": "browser",
            "client_id": CLIENT_ID,
            "client_secret": CANARY_SECRET,
            "auth_uri": f"{self.url}/auth",
            "token_uri": f"{self.url}/token",
        }

    @property
    def impersonation_url(self) -> str:
        """Where tokens for `TARGET` are made."""
        return f"{self.url}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"

    @property
    def host(self) -> str:
        """What `GCE_METADATA_HOST` takes."""
        return self.url.removeprefix("http://")

    # Routing.

    def _reply(self, call: Call) -> Reply:
        time.sleep(self.delay)
        with self._guard:
            path = unquote(call.path)
            if path.startswith(_METADATA):
                return self._metadata(call, path.removeprefix(_METADATA))
            if path.startswith("/v1/projects/-/serviceAccounts/"):
                return self._iam(call, path.rpartition("/")[2])
            handlers = {
                "/token": self._token,
                "/sts": self._sts,
                "/v1/token": self._narrow,
                "/auth": self._auth,
                "/consent": self._consent,
                "/subject": self._subject,
            }
            handler = handlers.get(path)
            return handler(call) if handler else self._amazon(call, path)

    def _issue(self, identity: str, scope: str) -> dict[str, Any]:
        token = f"{MARK}Access{next(self._numbers):06}"
        self._state.tokens[token] = Issued(identity, scope, self.clock() + self.lifetime)
        self.on_issue(token)
        return {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}

    def _bearer(self, call: Call) -> Issued | None:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        found = self._state.tokens.get(token)
        return found if found is not None and found.ends > self.clock() else None

    # The services.

    def _metadata(self, call: Call, what: str) -> Reply:
        if call.headers.get("metadata-flavor") != "Google":
            return Reply(403, b"Missing Metadata-Flavor:Google header.")
        if what == "token":
            reply = _json(self._issue(MACHINE, "machine"))
        elif what == "email":
            reply = Reply(200, MACHINE.encode())
        else:
            reply = Reply(404)
        reply.headers["metadata-flavor"] = "Google"
        return reply

    def _token(self, call: Call) -> Reply:
        form = _form(call)
        grant = form.get("grant_type", "")
        if grant.endswith("jwt-bearer"):
            return self._assertion(form)
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CANARY_SECRET:
            return _json({"error": "invalid_client"}, 401)
        if grant == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return _json({"error": "invalid_grant"}, 400)
            return _json(self._issue("user", "user"))
        if grant == "authorization_code":
            return self._code(form)
        return _json({"error": "unsupported_grant_type"}, 400)

    def _assertion(self, form: dict[str, str]) -> Reply:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 30 ms
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

        try:
            text, _, signature = form["assertion"].rpartition(".")
            header, claims = (json.loads(_unbase64(part)) for part in text.split("."))
            private_key().public_key().verify(
                _unbase64(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (KeyError, ValueError, InvalidSignature):
            return _json({"error": "invalid_grant"}, 400)
        now = self.clock()
        right = (
            header == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
            and claims["aud"] == f"{self.url}/token"
            and claims["iss"] == ACCOUNT
            and claims["iat"] <= now + 10 < claims["exp"] <= now + 3660
        )
        if not right:
            return _json({"error": "invalid_grant", "error_description": "Invalid JWT"}, 400)
        return _json(self._issue(ACCOUNT, claims["scope"]))

    def _code(self, form: dict[str, str]) -> Reply:
        code = self._state.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            code is None
            or code.challenge != challenge
            or code.redirect_uri != form.get("redirect_uri")
        ):
            return _json({"error": "invalid_grant"}, 400)
        refresh = f"{MARK}Refresh{next(self._numbers):06}"
        self.refresh_tokens.add(refresh)
        return _json(self._issue("browser user", code.scope) | {"refresh_token": refresh})

    def _auth(self, call: Call) -> Reply:
        """Show the consent page: two links, as a person or a test may follow."""
        query = call.query
        wanted = {"client_id": CLIENT_ID, "response_type": "code", "code_challenge_method": "S256"}
        redirect = query.get("redirect_uri", "")
        if any(query.get(n) != v for n, v in wanted.items()) or not redirect.startswith(
            "http://127.0.0.1:"
        ):
            return Reply(400, b"invalid_request")
        links = ""
        for choice in ("allow", "deny"):
            target = html.escape(f"/consent?{urlencode(query | {'choice': choice})}")
            links += f'<a id="{choice}" href="{target}">{choice}</a>'
        return Reply(200, f"<title>Sign in</title>{links}".encode(), {"content-type": "text/html"})

    def _consent(self, call: Call) -> Reply:
        query = call.query
        answer = {"state": query["state"]}
        if query["choice"] == "allow":
            answer["code"] = f"{MARK}Code{next(self._numbers):06}"
            self._state.codes[answer["code"]] = _Code(
                query["code_challenge"], query["redirect_uri"], query["scope"]
            )
        else:
            answer["error"] = "access_denied"
        return Reply(302, b"", {"location": f"{query['redirect_uri']}?{urlencode(answer)}"})

    def _sts(self, call: Call) -> Reply:
        form = _form(call)
        subject = form.get("subject_token", "")
        known = subject == SUBJECT or _is_signed_by_amazon(subject)
        if form.get("audience") != AUDIENCE or not known:
            return _json({"error": "invalid_grant"}, 400)
        return _json(self._issue("workload", form.get("scope", "")))

    def _narrow(self, call: Call) -> Reply:
        """Trade a token for one that may do less, and ends with it; as Google, say no end."""
        form = _form(call)
        wide = self._state.tokens.get(form.get("subject_token", ""))
        kind = "urn:ietf:params:oauth:token-type:access_token"
        types = {form.get("subject_token_type"), form.get("requested_token_type")}
        if not form.get("grant_type", "").endswith(":token-exchange") or types != {kind}:
            return _json({"error": "invalid_request"}, 400)
        if wide is None or wide.ends <= self.clock():
            return _json({"error": "invalid_grant"}, 400)
        try:
            boundary = Boundary.parse(form.get("options", ""))
        except ValueError as error:
            said = {"error": "invalid_request", "error_description": str(error)}
            return _json(said, 400)
        made = self._issue(wide.identity, wide.scope)
        self._state.tokens[made["access_token"]].ends = wide.ends
        self.on_narrow(made["access_token"], boundary)
        del made["expires_in"]
        return _json(made | {"issued_token_type": kind})

    def _subject(self, call: Call) -> Reply:
        if call.headers.get("x-flavor") != "test":
            return Reply(403)
        if call.query.get("as") == "json":
            return _json({"value": SUBJECT})
        return Reply(200, SUBJECT.encode())

    def _iam(self, call: Call, name: str) -> Reply:
        email, _, verb = name.partition(":")
        bearer = self._bearer(call)
        if bearer is None:
            return _json({"error": {"status": "UNAUTHENTICATED"}}, 401)
        if email not in (TARGET, MACHINE) or (email == MACHINE) != (bearer.identity == MACHINE):
            return _json({"error": {"status": "PERMISSION_DENIED"}}, 403)
        payload = json.loads(call.body)
        if verb == "signBlob":
            from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - 30 ms
            from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

            signature = private_key().sign(
                base64.b64decode(payload["payload"]), padding.PKCS1v15(), hashes.SHA256()
            )
            return _json({"keyId": "1", "signedBlob": base64.b64encode(signature).decode()})
        made = self._issue(email, payload["scope"][0])
        ends = datetime.fromtimestamp(self.clock() + self.lifetime, UTC)
        return _json(
            {"accessToken": made["access_token"], "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )

    def _amazon(self, call: Call, path: str) -> Reply:
        """Answer as an EC2 machine's metadata service, version 2."""
        if path == "/latest/api/token" and call.method == "PUT":
            return Reply(200, b"imds-session")
        if call.headers.get("x-aws-ec2-metadata-token") != "imds-session":
            return Reply(401)
        if path == "/latest/meta-data/placement/availability-zone":
            return Reply(200, b"eu-west-1b")
        if path == "/latest/meta-data/iam/security-credentials":
            return Reply(200, b"role")
        if path == "/latest/meta-data/iam/security-credentials/role":
            keys = {
                "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "SecretAccessKey": CANARY_SECRET,
                "Token": CANARY_TOKEN,
            }
            return _json(keys)
        return Reply(404)


def _is_signed_by_amazon(subject: str) -> bool:
    """Whether a subject token is a `GetCallerIdentity` that botocore would sign so too."""
    try:
        request = json.loads(unquote(subject))
        headers = {item["key"]: item["value"] for item in request["headers"]}
    except (ValueError, KeyError, TypeError):
        return False
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - half a second
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    keys = Credentials("AKIAIOSFODNN7EXAMPLE", CANARY_SECRET, CANARY_TOKEN)
    kept = {
        name: value
        for name, value in headers.items()
        if name in ("host", "x-amz-date", "x-amz-security-token", "x-goog-cloud-target-resource")
    }
    made = AWSRequest("POST", request["url"], data=b"", headers=kept)
    made.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(keys, "sts", "eu-west-1")
    text = signer.string_to_sign(made, signer.canonical_request(made))
    right: bool = headers["authorization"].endswith("Signature=" + signer.signature(text, made))
    return right and headers["x-goog-cloud-target-resource"] == AUDIENCE


def _form(call: Call) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(call.body.decode()).items()}


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(value: dict[str, Any], status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json"})
