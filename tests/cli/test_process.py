"""The command as a process: signals, broken pipes, a terminal, secrets."""

import contextlib
import hashlib
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

ASYNCSTORE = [sys.executable, "-m", "asyncstore"]


def start(*words, **options):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*ASYNCSTORE, *map(str, words)], **(streams | options))


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_ctrl_c_in_an_upload_leaves_nothing_and_says_nothing(tmp_path):
    folder = tmp_path / "store"
    with start("cp", "-", folder / "half") as process:
        process.stdin.write(bytes(20_000_000))
        process.stdin.flush()  # 20 MB do not fit a pipe: the command is at work
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        complaint = process.stderr.read()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    assert (code, complaint) == (130, b"")
    assert not folder.exists() or files(folder) == []


def test_ctrl_c_while_nobody_reads_the_output_ends_at_once(tmp_path):
    (tmp_path / "large").write_bytes(bytes(8_000_000))
    with start("cat", tmp_path / "large") as process:
        process.stdout.read(1)  # it writes, and then waits for the pipe
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    (tmp_path / "large").write_bytes(bytes(8_000_000))
    with start("cat", tmp_path / "large") as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


def test_a_reader_that_goes_away_ends_a_listing_quietly(tmp_path):
    for number in range(3000):
        (tmp_path / f"a-name-that-is-long-enough-to-fill-the-pipe-{number:05}").touch()
    with start("ls", "--json", tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


def test_ctrl_c_in_the_demo_removes_what_was_made(tmp_path):
    place = tmp_path / "demo"
    with start("demo", place, "--chunks", "100000") as process:
        assert b"data set" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        complaint = process.stderr.read()
    assert (code, complaint) == (130, b"")
    assert not place.exists() or files(place) == []


def read_all(descriptor):
    """Return what a pseudo-terminal was sent, until the last writer has closed it."""
    found = b""
    with contextlib.suppress(OSError):  # EIO is how Linux says so
        while piece := os.read(descriptor, 1 << 16):
            found += piece
    return found


@pytest.fixture
def in_terminal():
    """Run the command in a pseudo-terminal; returns its exit code and all that was shown."""

    def run(*words):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100))
        environment = os.environ | {"TERM": "xterm"}
        with start(*words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            shown = read_all(ours)
            os.close(ours)
            return process.wait(60), shown.decode()

    return run


def test_a_terminal_shows_a_bar_that_ends_at_the_last_byte(in_terminal, tmp_path):
    code, shown = in_terminal("demo", tmp_path / "demo", "--chunks", "200")
    assert code == 0
    assert "writing: 100%" in shown
    assert "reading: 100%" in shown
    assert "verified  200 of 200 chunks" in shown


def test_quiet_json_and_pipes_have_no_bar(in_terminal, tmp_path):
    for word in ("--quiet", "--json"):
        code, shown = in_terminal("demo", tmp_path / "demo", "--chunks", "20", word)
        assert code == 0
        assert "%" not in shown
    with start("demo", tmp_path / "demo", "--chunks", "20") as process:
        out, err = process.communicate(timeout=60)
    assert b"verified" in out
    assert err == b""


def test_a_name_that_would_drive_the_terminal_is_escaped_on_one(in_terminal, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    (folder / "safe\u202egpj").write_bytes(b"")
    code, shown = in_terminal("ls", folder)
    assert code == 0
    assert "safe\\u202egpj" in shown
    assert "\u202e" not in shown
    code, shown = in_terminal("cat", folder / "\x1b]0;owned\x07")
    assert code == 2
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_an_unexpected_error_is_one_line_and_debug_has_the_traceback(tmp_path):
    words = ("cat", tmp_path / "absent")
    with start(*words) as process:
        _, plain = process.communicate(timeout=60)
    with start(*words, "--debug") as process:
        _, debug = process.communicate(timeout=60)
    assert process.returncode == 3
    assert len(plain.splitlines()) == 1
    assert plain.startswith(b"asyncstore: ")
    assert b"Traceback" not in plain
    assert b"Traceback" in debug


CANARY = "CANARY" + hashlib.sha256(b"cli").hexdigest()[:30]


@pytest.mark.parametrize("words", [("doctor", "--json"), ("ls", "--debug")])
def test_no_secret_is_printed_when_a_service_cannot_be_reached(tmp_path, words):
    creds = tmp_path / "creds.json"
    creds.write_text(
        f'{{"aws_access_key_id": "AKIACANARYCANARY1234", "aws_secret_access_key": "{CANARY}"}}'
    )
    creds.chmod(0o600)
    with start(
        *words, "s3://bucket/k", "--creds", creds, "--endpoint-url", "http://127.0.0.1:9"
    ) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 6, err
    assert CANARY.encode() not in out + err
    assert b"127.0.0.1:9" in out + err
