"""The on-disk format of datasets: bytes in, values out; no I/O, no clock."""
