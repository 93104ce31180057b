"""`asyncstore doctor`: what would be used for a path, and what is there to use."""

from __future__ import annotations

import platform
import re
import time
from typing import TYPE_CHECKING, Any

import click

import asyncstore
from asyncstore.cli import exits
from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.output import describe
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.text import escaped
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore.cli.output import Output

_EXTRAS = ("s3", "gcs", "hub-server", "uvloop")
_MOST_DRIFT = 60.0
_NOT_TRIED = "not tried"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*;.*extra\s*==\s*['\"]([a-z0-9_-]+)['\"]")


@command(
    "doctor",
    examples=[
        ("asyncstore doctor", "versions, and which services are installed"),
        ("asyncstore doctor s3://bucket", "who one would be there, and what the server supports"),
        (
            "asyncstore doctor --try-writes s3://bucket/scratch",
            "also whether the server keeps the conditions of writes",
        ),
    ],
)
@click.argument("path", metavar="[PATH]", required=False)
@click.option(
    "--try-writes",
    is_flag=True,
    help="Find out what only writes can tell, on objects that are removed again.",
)
@connection_options
async def doctor(options: Options, output: Output, path: str | None, *, try_writes: bool) -> int:
    """Say which credentials would be used for PATH and from where, and what the server supports.

    Also the clock's drift from the server's, and the versions of what is installed. It never
    prints a secret, and writes nothing unless asked to. The exit code is that of the first
    trouble found.
    """
    found: dict[str, Any] = {"type": "doctor", "versions": versions(), "extras": extras()}
    trouble: StoreError | None = None
    if path is not None:
        found["path"], trouble = await _examine(options, path, try_writes=try_writes)
    output.result("\n".join(_lines(found)), found)
    if trouble is not None:
        output.error(trouble)
        return exits.code_of(trouble)
    return exits.OK


def versions() -> dict[str, str]:
    """Return the versions of what every path needs."""
    return {
        "asyncstore": asyncstore.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
    } | {name: _version(name) or "not installed" for name in ("anyio", "click", "tqdm")}


def extras() -> dict[str, dict[str, str | None]]:
    """Return each extra's packages with their versions; `None` is not installed."""
    import importlib.metadata  # noqa: PLC0415 - 10 ms, which help need not pay

    found: dict[str, dict[str, str | None]] = {extra: {} for extra in _EXTRAS}
    for line in importlib.metadata.requires("asyncstore") or []:
        match = _REQUIREMENT.match(line)
        if match is not None and match[2] in found:
            found[match[2]][match[1]] = _version(match[1])
    return found


def _version(package: str) -> str | None:
    import importlib.metadata  # noqa: PLC0415

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


async def _examine(
    options: Options, path: str, *, try_writes: bool
) -> tuple[dict[str, Any], StoreError | None]:
    """Return what is known of a path, and the first error on the way."""
    facts: dict[str, Any] = {}
    try:
        place = Place.parse(path).as_root()
        facts["url"] = place.url()
        async with Stores(options) as stores:
            store = await stores.at(place)
            told = await store.diagnose()
            facts |= {name: _plain(value) for name, value in told.items()}
            if try_writes:  # apart, so that what can be told without is told in any case
                below = store / place.folder.rstrip("/") if place.folder.rstrip("/") else store
                told = await below.diagnose(try_writes=True)
                facts |= {name: _plain(value) for name, value in told.items()}
            facts["url"] = place.url()
            began = time.monotonic()
            async for _ in store.list(place.folder):
                break
            facts["listing"] = f"works, {1000 * (time.monotonic() - began):.0f} ms"
    except StoreError as error:
        facts["trouble"] = describe(error)
        return facts, error
    return facts, None


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for name, version in found["versions"].items():
        yield f"{name:12}  {version}"
    for extra, packages in found["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        if missing:
            yield (
                f"{extra:12}  not installed: pip install 'asyncstore[{extra}]' "
                f"(missing {', '.join(missing)})"
            )
        else:
            said = ", ".join(f"{name} {version}" for name, version in packages.items())
            yield f"{extra:12}  {said}"
    for name, value in found.get("path", {}).items():
        if name == "trouble":
            continue
        yield from _fact(name, value)


def _fact(name: str, value: Any) -> Iterator[str]:
    label = name.replace("_", " ")
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _fact(f"{label}: {inner}", item)
        return
    if value is None:
        text = "none is known" if name == "expires_at" else "unknown"
    elif value == _NOT_TRIED:
        text = "not tried, as that writes; --try-writes does"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif name == "clock_drift" and isinstance(value, int | float):
        far = abs(value) > _MOST_DRIFT
        text = f"{value:+.1f} s" + (" - set this machine's clock" if far else "")
    else:
        text = str(value)
    yield f"{label:12}  {escaped(text)}"
