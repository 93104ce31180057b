import struct

from asyncstore.cli.chunks import plan, total
from asyncstore.url import check_key


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others():
    first, again, other = plan(50, seed=1), plan(50, seed=1), plan(50, seed=2)
    assert [(chunk.key, chunk.make()) for chunk in first] == [
        (chunk.key, chunk.make()) for chunk in again
    ]
    assert {chunk.key for chunk in first}.isdisjoint(chunk.key for chunk in other)


def test_each_chunk_is_as_long_as_was_planned_and_has_a_legal_name_of_its_own():
    chunks = plan(300)
    assert all(len(chunk.make()) == chunk.size for chunk in chunks)
    assert len({check_key(chunk.key) for chunk in chunks}) == 300


def test_sizes_are_mixed():
    sizes = sorted(chunk.size for chunk in plan(3000))
    assert sizes[0] < 1_000
    assert sizes[1500] < 10_000
    assert sizes[-1] > 1_000_000
    assert 50e6 < total(plan(3000)) < 200e6


def test_a_chunk_is_laid_out_as_the_format_says():
    chunk = plan(1)[0]
    data = chunk.make()
    length = data[0]
    assert data[1 : 1 + length] == b"3.9.52"
    rows, columns = struct.unpack_from("<ii", data, 1 + length)
    assert (rows, columns) == (1, 4)
    *shape, last = struct.unpack_from("<4I", data, 9 + length)
    (positions,) = struct.unpack_from("<i", data, 25 + length)
    each, start, last_too = struct.unpack_from("<3I", data, 29 + length)
    assert (positions, start, last, last_too) == (1, 0, chunk.samples - 1, chunk.samples - 1)
    assert shape == [chunk.side, chunk.side, 3]
    assert len(data) - (41 + length) == each * chunk.samples
