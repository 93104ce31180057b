"""The canary itself: a leak of each kind is caught, and what is no leak passes."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import quote

import pytest

from asyncstore.credentials import Secret
from asyncstore.errors import ConfigurationError, StoreError
from asyncstore.testing import canary
from asyncstore.testing.canary import CANARY_SECRET

CONFTEST = 'pytest_plugins = ["asyncstore.testing.watch"]'

LEAKS = {
    "printed": "print(CANARY_SECRET)",
    "printed to standard error": "print(CANARY_SECRET, file=sys.stderr)",
    "printed in base 64": "print(base64.b64encode(b'user:' + CANARY_SECRET.encode()))",
    "printed and taken by the test": "print(CANARY_SECRET); capsys.readouterr()",
    "printed by a child": (
        "subprocess.run([sys.executable, '-c', f'print({CANARY_SECRET!r})'], capture_output=True)"
    ),
    "printed by a command": (
        "CliRunner().invoke(click.Command('x', callback=lambda: click.echo(CANARY_SECRET)))"
    ),
    "logged for debugging": "logging.getLogger('some.library').debug('key %s', CANARY_SECRET)",
    "logged with an exception": (
        "try:\n        raise OSError(CANARY_SECRET)\n"
        "    except OSError:\n        logging.getLogger('x').exception('bad')"
    ),
    "in a warning that is expected": (
        "with pytest.warns(UserWarning):\n        warnings.warn(CANARY_SECRET)"
    ),
    "in an expected error": "with pytest.raises(OSError):\n        raise OSError(CANARY_SECRET)",
    "in an expected group": (
        "with pytest.RaisesGroup(OSError):\n"
        "        raise ExceptionGroup('', [OSError(CANARY_SECRET)])"
    ),
    "in the cause of an error": (
        "with pytest.raises(OSError):\n        raise OSError() from KeyError(CANARY_SECRET)"
    ),
    "in the context of an error": (
        "with pytest.raises(OSError):\n        try:\n            raise KeyError(CANARY_SECRET)\n"
        "        except KeyError:\n            raise OSError() from None"
    ),
    "in an error that nobody sees": (
        "try:\n        raise StoreError(CANARY_SECRET)\n    except StoreError:\n        pass"
    ),
    "that a server made up": "print(canary.guard('made-up-by-a-server'))",
}

LEAKS_SEEN_AT_THE_END = {
    "in a repr": "global kept; kept = Request('GET', Origin('http', CANARY_SECRET, 1), '/')",
    "in a warning that is not": "warnings.warn(CANARY_SECRET)",
    "in a temporary file": "os.write(tempfile.mkstemp()[0], CANARY_SECRET.encode())",
    "in the working directory": "open('left.txt', 'w').write(CANARY_SECRET)",
}

NO_LEAKS = {
    "used": "with pytest.raises(OSError):\n        raise OSError(len(CANARY_SECRET))",
    "kept in a folder of the test": "(tmp_path / 'key').write_text(CANARY_SECRET)",
}

HEAD = """
import base64, logging, os, subprocess, sys, tempfile, warnings
import click, pytest
from click.testing import CliRunner
from asyncstore.errors import StoreError
from asyncstore.http.message import Origin, Request
from asyncstore.testing import canary
from asyncstore.testing.canary import CANARY_SECRET
"""


def run(pytester, bodies, *options):
    tests = (
        f"def test_{name.replace(' ', '_')}(capsys, tmp_path):\n    {body}\n"
        for name, body in bodies.items()
    )
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(HEAD + "\n".join(tests))
    # The child's own report must not show the secret to the watch of this run either.
    return pytester.runpytest_subprocess(
        "-p", "no:randomly", "--show-capture=no", "--disable-warnings", "--tb=line", "-v", *options
    )


def test_a_test_fails_that_lets_a_secret_show(pytester):
    result = run(pytester, LEAKS)

    lines = result.outlines
    for name in LEAKS:
        test = f"test_{name.replace(' ', '_')}"
        assert any(test in line and ("FAILED" in line or "ERROR" in line) for line in lines), name
    assert not any(CANARY_SECRET in line for line in lines)


@pytest.mark.parametrize("name", LEAKS_SEEN_AT_THE_END)
def test_a_run_fails_that_leaves_a_secret_behind(pytester, name):
    result = run(pytester, {name: LEAKS_SEEN_AT_THE_END[name]})

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines(["(LEAKED SECRET: |.*a secret showed in).*"])


def test_a_run_of_several_processes_fails_too(pytester):
    result = run(pytester, LEAKS_SEEN_AT_THE_END, "-n", "2")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["LEAKED SECRET: *file * left behind*"])


def test_tests_that_keep_their_secrets_pass(pytester):
    result = run(pytester, NO_LEAKS)

    result.assert_outcomes(passed=len(NO_LEAKS))
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "form",
    [
        CANARY_SECRET,
        quote(f"a/{CANARY_SECRET}/b"),
        CANARY_SECRET.encode().hex(),
        *(base64.b64encode(b"x" * n + CANARY_SECRET.encode()).decode() for n in range(6)),
        *(base64.urlsafe_b64encode(b"?" * n + CANARY_SECRET.encode()).decode() for n in range(6)),
    ],
)
def test_a_secret_is_found_in_every_form(form):
    place = canary.find(f"before {form} after")

    assert place is not None
    assert CANARY_SECRET not in place


@pytest.mark.parametrize("secret", ["päss/wörd+1 23", 'quote"d\\secret', "line\nbroken-secret"])
def test_a_guarded_secret_is_found_quoted_and_escaped(secret):
    canary.guard(secret)

    assert canary.find(f"x={quote(secret, safe='')}")
    assert canary.find(repr(secret) if "\\" not in secret else secret)


@pytest.mark.parametrize("after", ["", " after"])
@pytest.mark.parametrize("before", range(9))
def test_a_secret_is_found_wherever_it_stands(before, after):
    secret = canary.guard("8q;ch~rs")

    assert canary.find("x" * before + secret + after) == "x" * before + f"<SECRET>{after}"
    assert canary.find("x" * before + secret[:-1] + after) is None


def test_every_secret_that_follows_is_masked_too():
    first, second = canary.guard("1st+zq7v"), canary.guard("1st+zq7v, 2nd")

    place = canary.find(f"a {second}\n{CANARY_SECRET.encode().hex()} {first}, b")

    assert place == "a <SECRET>\n<SECRET> <SECRET>, b"


def test_a_thousand_secrets_are_found_among_each_other():
    made = [canary.guard(f"{secrets.token_hex(4)}/{secrets.token_urlsafe(9)}") for _ in range(1000)]

    for secret in made:
        assert canary.find(f"\0{base64.b64encode(secret.encode()).decode()}\0")
        assert canary.find(f"{secret.swapcase()}{secret}") == f"{secret.swapcase()}<SECRET>"


def test_a_short_secret_cannot_be_guarded():
    with pytest.raises(ValueError, match="fewer than 8"):
        canary.guard("secret")


def test_a_secret_of_the_library_shows_nothing():
    assert canary.shows(Secret(CANARY_SECRET)) is None


def test_an_error_tells_what_its_members_and_causes_tell():
    inner = ConfigurationError("inner text")
    error = StoreError("outer text")
    error.__cause__ = ExceptionGroup("group", [inner])

    texts = " ".join(canary.told(error))

    assert "outer text" in texts
    assert "inner text" in texts
