"""Each row of the table of Google credentials names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "credentials-gcs.md"
TESTS = {
    name
    for path in Path(__file__).parent.glob("test_gcs*.py")
    for name in re.findall(r"^async def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}
ROWS = [
    line
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not re.match(r"\|-|\| (`creds=`|What) \|", line)
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_there_are(row):
    named = re.findall(r"`(test_\w+)`", row.rstrip("|").rpartition("|")[2])
    assert named
    assert set(named) <= TESTS


def test_there_are_rows():
    assert len(ROWS) > 30
