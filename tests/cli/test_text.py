from datetime import UTC, datetime

import pytest

from asyncstore.cli import text


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (20 * 1024, "20 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (2 << 60, "2.0 EiB"),
        (5000 << 60, "5000 EiB"),
    ],
)
def test_a_size_is_written_in_the_unit_that_leaves_few_digits(size, written):
    assert text.human(size) == written


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604_800)],
)
def test_a_duration_is_read_in_its_unit(written, seconds):
    assert text.duration(written) == seconds


@pytest.mark.parametrize("written", ["", "m", "-5m", "15 m", "1w", "inf", "nan", "1e3"])
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match="write 90s, 15m, 12h or 7d"):
        text.duration(written)


@pytest.mark.parametrize(
    ("written", "span"),
    [("0:10", (0, 10)), ("10:", (10, None)), (":10", (None, 10)), ("-5:", (-5, None))],
)
def test_a_range_is_read_as_a_slice(written, span):
    assert text.span(written) == span


@pytest.mark.parametrize("written", ["", "10", "0:10:2", "a:b", "0-10", " 0:1"])
def test_what_is_no_range_is_refused(written):
    with pytest.raises(ValueError, match="write start:stop"):
        text.span(written)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain/näme ☃", "plain/näme ☃"),
        ("back\\slash", "back\\slash"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines", "two\\nlines"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("undecodable\udcff", "undecodable\\udcff"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_would_drive_a_terminal_is_escaped(name, shown):
    assert text.escaped(name) == shown


def test_counts_and_times_read_well():
    assert text.count(1, "object") == "1 object"
    assert text.count(2300, "object") == "2,300 objects"
    assert text.stamp(datetime(2026, 1, 2, 3, 4, 5, 678, UTC)) == "2026-01-02T03:04:05Z"
    assert text.stamp(None) is None
