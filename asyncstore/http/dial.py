"""Opening a connection: DNS, TCP to whichever address answers first, a proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
from functools import lru_cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeAlias

from asyncstore.errors import ConfigurationError, UnavailableError
from asyncstore.http.plain import PlainTransport, fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.http.connection import Connection
    from asyncstore.http.message import Origin
    from asyncstore.http.proxy import Proxy

_HEAD_START = 0.25  # seconds that an address has before the next is tried beside it
_CONNECT_MAX = 16 << 10  # bytes of a proxy's answer

Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


async def dial(
    origin: Origin,
    proxy: Proxy | None,
    context: ssl.SSLContext | None,
    make: Callable[[], Connection],
    resolver: Resolver,
) -> Connection:
    """Open a connection to an origin.

    Args:
        origin: where to.
        proxy: through what; an `https` origin is tunnelled.
        context: for TLS; `None` for plain HTTP.
        make: makes the protocol.
        resolver: finds addresses.

    Raises:
        UnavailableError: no address, none that answers, or TLS could not be agreed.
        ConfigurationError: the certificate is not valid for the host; or `permit` refused.
    """
    host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
    place = f"the proxy {host}:{port}" if proxy else f"{host}:{port}"
    sock = await _connect(await resolver.find(host, port), place)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy and origin.scheme == "https":
            await _tunnel(sock, origin, proxy)
    except OSError as error:
        sock.close()
        raise UnavailableError(f"{place} hung up: {_reason(error)}") from None
    except BaseException:
        sock.close()
        raise
    # From here on the transport owns the socket, and closes it whatever happens.
    loop = asyncio.get_running_loop()
    if context is None and fits(loop):
        connection = make()
        PlainTransport(loop, sock, connection)
        return connection
    try:
        _, connection = await loop.create_connection(
            make,
            sock=sock,
            ssl=context,
            server_hostname=origin.host if context else None,
        )
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"the certificate of {origin} is not valid: {error.verify_message}; "
            "an authority of your own goes into ca_bundle="
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"cannot agree on a connection with {origin}: {_reason(error)}"
        ) from None
    return connection


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    return error.strerror or type(error).__name__


class Resolver:
    """Finds hosts' addresses; those who ask for the same at the same time share one question.

    Args:
        permit: whether to connect to a numeric address; `None` permits all.
    """

    def __init__(self, permit: Callable[[str], bool] | None) -> None:
        self._permit = permit
        self._asked: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def find(self, host: str, port: int) -> list[Address]:
        """Return addresses to try, in order.

        Raises:
            UnavailableError: none was found.
            ConfigurationError: `host` is no host's name, or none of its addresses is permitted.
        """
        if _numeric(host):
            found = _ask_nobody(host, port)
        else:
            task = self._asked.get((host, port))
            if task is None:
                task = asyncio.create_task(_ask(host, port))
                self._asked[host, port] = task
                task.add_done_callback(lambda _: self._asked.pop((host, port), None))
            found = await asyncio.shield(task)
        if self._permit is not None:
            found = [address for address in found if self._permit(address[1][0])]
            if not found:
                raise ConfigurationError(f"connections to the address of {host} are not permitted")
        return _interleave(found)

    def close(self) -> None:
        """Forget what was asked."""
        for task in self._asked.values():
            task.cancel()


@lru_cache(64)
def _ask_nobody(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [(entry[0], entry[4]) for entry in found]  # type: ignore[misc]


async def _ask(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(f"cannot find the address of {host}: {error.strerror}") from None
    except UnicodeError:
        raise ConfigurationError(f"{host!r} is no host's name") from None
    return [(entry[0], entry[4]) for entry in found]  # type: ignore[misc]


@lru_cache(64)
def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _interleave(addresses: Sequence[Address]) -> list[Address]:
    """Take families in turn, the resolver's favourite first, and addresses within one at random."""
    families: dict[socket.AddressFamily, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], []).append(address)
    for members in families.values():
        random.shuffle(members)
    turns = chain.from_iterable(zip_longest(*families.values()))
    return [address for address in turns if address is not None]


async def _connect(addresses: list[Address], place: str) -> socket.socket:
    """Connect to the first address that answers, each with a head start on the next."""
    if len(addresses) == 1:
        try:
            return await _connect_one(addresses[0])
        except OSError as error:
            raise UnavailableError(f"cannot connect to {place}: {_reason(error)}") from None
    return await _race(addresses, place)


async def _connect_one(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def _race(addresses: list[Address], place: str) -> socket.socket:
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    winner: socket.socket | None = None
    reason = "no address"
    try:
        while winner is None and (waiting or running):
            if waiting:
                running.add(asyncio.create_task(_connect_one(waiting.pop(0))))
            done, running = await asyncio.wait(
                running,
                timeout=_HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None and winner is None:
                    winner = task.result()
                elif error is None:
                    task.result().close()
                elif isinstance(error, OSError):
                    reason = _reason(error)
                else:
                    raise error
    finally:
        for task in running:
            task.add_done_callback(_discard)
            task.cancel()
    if winner is None:
        raise UnavailableError(f"cannot connect to {place}: {reason}")
    return winner


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close what connected too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Ask a proxy for a tunnel; nothing of the request itself passes in clear."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        # One byte at a time would be exact; no server speaks before our TLS hello anyway.
        data = await loop.sock_recv(sock, 4096)
        answer += data
        if not data or len(answer) > _CONNECT_MAX:
            raise UnavailableError(f"the proxy {proxy.host}:{proxy.port} gave no answer")
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = status[0][:3].decode("ascii", "replace") if status else "nonsense"
        raise UnavailableError(
            f"the proxy {proxy.host}:{proxy.port} refused a tunnel to {origin}: {code}"
        )
    if not answer.endswith(b"\r\n\r\n"):
        raise UnavailableError(f"the proxy {proxy.host}:{proxy.port} spoke out of turn")
