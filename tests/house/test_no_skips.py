"""In CI nothing is skipped for want of something."""

from __future__ import annotations

import pytest

CONFTEST = 'pytest_plugins = ["asyncstore.testing.no_skips"]'


SKIPS = """
import pytest

@pytest.fixture
def server():
    pytest.skip("no server")

def test_in_the_body():
    pytest.skip("no server")

@pytest.mark.skip(reason="no server")
def test_by_a_mark(): pass

@pytest.mark.skipif(True, reason="no server")
def test_by_a_condition(): pass

def test_by_a_fixture(server): pass
"""

WHOLE_FILES = [
    "import pytest\npytest.importorskip('nowhere_to_be_found')\ndef test_it(): pass",
    "import pytest\npytest.skip('no server', allow_module_level=True)",
]

ALLOWED = """
import pytest

def test_in_the_body():
    pytest.skip("platform: no fork on Windows")

@pytest.mark.skipif(True, reason="platform: no fork on Windows")
def test_by_a_condition(): pass

@pytest.mark.xfail(strict=True)
def test_known_to_fail():
    assert False
"""


@pytest.fixture
def run(pytester, monkeypatch):
    def run(*texts, ci):
        monkeypatch.setenv("CI", "true") if ci else monkeypatch.delenv("CI", raising=False)
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(**{f"test_{n}": text for n, text in enumerate(texts)})
        return pytester.runpytest_subprocess("-p", "no:randomly")

    return run


def test_a_skip_is_a_skip_elsewhere(run):
    run(SKIPS, *WHOLE_FILES, ci=False).assert_outcomes(skipped=6)


def test_a_skip_fails_in_ci(run):
    run(SKIPS, ci=True).assert_outcomes(failed=1, errors=3)


def test_a_file_that_is_skipped_whole_fails_in_ci(run):
    run(*WHOLE_FILES, ci=True).assert_outcomes(errors=2)


def test_what_the_platform_lacks_and_what_is_known_to_fail_is_let_through(run):
    run(ALLOWED, ci=True).assert_outcomes(skipped=2, xfailed=1)
