"""A pytest plugin: where `CI` is set, a skipped test fails.

A test that waits for a server, a package or a privilege that is not there shows nothing, so it
must not pass for one that does. Only a skip whose reason begins with `platform:` is let through:
that this operating system or Python lacks a thing is nobody's to repair.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_ALLOWED = ("platform:", "Skipped: platform:")


def _judge(report: Any) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.startswith(_ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be missing: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Judge a test that was skipped."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """Judge a file that was skipped whole."""
    report = yield
    _judge(report)
    return report
