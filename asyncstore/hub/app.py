"""The API as an ASGI application: routes, and what is answered when they refuse or fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

import asyncstore
from asyncstore.hub.faults import Refusal, busy, conflict
from asyncstore.hub.once import Repeat
from asyncstore.hub.routes import accounts, compatible, credentials, datasets, organizations
from asyncstore.hub.routes.models import Fault, HealthSaid

if TYPE_CHECKING:
    from asyncstore.hub.core import Hub

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text}
    for status, text in {
        400: "The request means nothing.",
        401: "Not signed in, or no more.",
        403: "Seen, and not allowed.",
        404: "Not there, or not to be seen.",
        408: "Too slow.",
        409: "In the way of something that is there.",
        413: "Too large.",
        422: "Not as described here.",
        429: "Too often; `Retry-After` says when again.",
        431: "The head is too large.",
        500: "The hub failed.",
        502: "The service of an organization's bucket answered nonsense.",
        503: "Busy; `Retry-After` says when again.",
    }.items()
}
_WORDS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 422: "invalid"}


def make(hub: Hub) -> FastAPI:
    """Return the API of a hub."""
    app = FastAPI(
        title="asyncstore hub",
        version=asyncstore.__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses=_REFUSALS,
    )
    app.state.hub = hub
    for router in (accounts, organizations, credentials, datasets, compatible):
        app.include_router(router.router)

    @app.get("/healthz", tags=["health"])
    async def health() -> HealthSaid:
        """Tell that the hub is up."""
        return HealthSaid()

    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(Repeat, _repeat)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_exception_handler(HTTPException, _translate)
    app.add_exception_handler(IntegrityError, _collide)
    app.add_exception_handler(PoolTimeoutError, _wait)
    app.add_exception_handler(Exception, _fail)
    return app


def answer(refusal: Refusal) -> JSONResponse:
    """Return a refusal as it is sent."""
    return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101 - as registered
    return answer(error)


async def _repeat(_: Request, error: Exception) -> Response:
    assert isinstance(error, Repeat)  # noqa: S101 - as registered
    return Response(error.answer, error.status, media_type="application/json")


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Say which field is wrong and how; not what was sent, which may be a secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    said = [
        f"{'.'.join(str(part) for part in one['loc'][:4])[:200]}: {one['msg']}"
        for one in error.errors()[:5]
    ]
    return answer(Refusal(422, "invalid", "; ".join(said)))


async def _translate(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    code = _WORDS.get(error.status_code, "refused")
    refusal = Refusal(error.status_code, code, str(error.detail), headers=error.headers)
    return answer(refusal)


async def _collide(_request: Request, _error: Exception) -> JSONResponse:
    return answer(conflict("Somebody else changed the same thing at the same moment."))


async def _wait(_request: Request, _error: Exception) -> JSONResponse:
    return answer(busy())


async def _fail(_request: Request, _error: Exception) -> JSONResponse:
    """A bug, or a database that is gone: the server's log has it, the caller a sentence."""
    return answer(Refusal(500, "failed", "The hub failed; whoever runs it finds it in the log."))
