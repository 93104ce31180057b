"""aiobotocore's clients on our engine: no redirects, deadlines, verified TLS, no `Expect`.

aiobotocore makes the session itself and knows the errors of botocore, so the engine's errors
become those here.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from aiobotocore.awsrequest import AioAWSResponse
from botocore.exceptions import EndpointConnectionError, HTTPClientError, ReadTimeoutError

from asyncstore.errors import ConfigurationError, DeadlineError, StoreError, UnavailableError
from asyncstore.http import DEADLINE, Engine, EngineOptions, Origin, Request
from asyncstore.http.options import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_METADATA_HOSTS = frozenset({"169.254.169.254", "fd00:ec2::254", "169.254.170.2"})
_CONTAINER_HOSTS = frozenset({"169.254.170.23", "fd00:ec2::23"})
_TIMEOUT = 10.0


class EngineSession:
    """What aiobotocore asks of an HTTP session.

    Args:
        timeout: seconds to connect and to read, one number or a pair; both together are all that
            an answer may take.
        verify: a CA bundle's path; verification cannot be switched off.
        allow_http: let requests go over plain HTTP to a host that is neither loopback nor one of
            the fixed addresses of a machine's metadata service.
        direct: through no proxy, whatever the environment says: for the machine's own services,
            whose answers hold keys in clear.
        others: what else aiobotocore passes, which the engine has its own rules for.
    """

    def __init__(
        self,
        timeout: float | tuple[float, float] | None = None,
        verify: bool | str | None = True,  # noqa: FBT001, FBT002 - aiobotocore's signature
        *,
        allow_http: bool = False,
        direct: bool = False,
        **others: Any,
    ) -> None:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        self._connect = connect or _TIMEOUT
        self._read = read or _TIMEOUT
        self._ca_bundle = verify if isinstance(verify, str) else None
        self._allow_http = allow_http
        self._proxy = None if direct else ENVIRONMENT
        self._others = others
        self._engine: Engine | None = None
        self._users = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Self]:
        """Be open while anybody uses it."""
        self._users += 1
        try:
            await self.__aenter__()
            yield self
        finally:
            self._users -= 1
            if not self._users:
                await self.close()

    async def __aenter__(self) -> Self:
        if self._engine is None:
            self._engine = Engine(
                EngineOptions(
                    connections=4,
                    connect_timeout=self._connect,
                    read_timeout=self._read,
                    ca_bundle=self._ca_bundle,
                    allow_http=True,  # `send` decides, by the host
                    proxy=self._proxy,
                )
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; twice is as once."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    async def send(self, request: Any) -> AioAWSResponse:
        """Send a prepared request of botocore's."""
        assert self._engine is not None  # noqa: S101 - aiobotocore opens before it sends
        parts = urlsplit(request.url)
        origin = Origin.parse(f"{parts.scheme}://{parts.netloc}")
        self._check(origin)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # Of its own, whoever waits: the answers are small, and a drop now and then is no answer.
        deadline = DEADLINE.set(monotonic() + self._connect + self._read)
        try:
            reply = await self._engine.send(
                Request(request.method, origin, target, _headers(request), body=_body(request))
            )
        except DeadlineError as error:
            failure: Exception = ReadTimeoutError(endpoint_url=str(origin), error=error.message)
        except UnavailableError as error:
            failure = EndpointConnectionError(endpoint_url=str(origin), error=error.message)
        except StoreError as error:
            failure = HTTPClientError(error=error.message)
        else:
            raw = _Raw(bytes(reply.body))
            return AioAWSResponse(request.url, reply.status, dict(reply.headers), raw)
        finally:
            DEADLINE.reset(deadline)
        raise failure

    def _check(self, origin: Origin) -> None:
        if (
            origin.scheme == "http"
            and not origin.is_loopback
            and origin.host not in _METADATA_HOSTS | _CONTAINER_HOSTS
            and not self._allow_http
        ):
            raise ConfigurationError(
                f"{origin} would carry credentials over plain HTTP; use https://, or pass "
                "allow_http=True"
            )


class _Raw:
    """A body that was read already, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body


_ENGINES_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})


def _headers(request: Any) -> dict[str, str]:
    headers = {
        name.lower(): value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    return {name: value for name, value in headers.items() if name not in _ENGINES_OWN}


def _body(request: Any) -> bytes:
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body)
