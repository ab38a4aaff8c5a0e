"""Holes in files: making them, filling them with space, finding them. System calls only.

Python's os has no fallocate with modes, so the C library's is called.
"""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE = 0x01  # of linux/falloc.h
_PUNCH_HOLE = 0x02
_ZEROS = bytes(1024 * 1024)

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fallocate.restype = ctypes.c_int


def punch(descriptor: int, offset: int, length: int) -> None:
    """Make bytes below the file's end zeros that take no space, where the file system can."""
    try:
        _call(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length)
    except OSError as problem:
        if problem.errno not in {errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        end = min(offset + length, os.fstat(descriptor).st_size)
        while offset < end:
            offset += os.pwrite(descriptor, memoryview(_ZEROS)[: end - offset], offset)


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Reserve the disk's space for these bytes; the size stays. EOPNOTSUPP where there is none."""
    _call(descriptor, _KEEP_SIZE, offset, length)


def data_ranges(descriptor: int, length: int) -> list[tuple[int, int]]:
    """(start, end) of what the file system keeps of the first `length` bytes, ascending."""
    ranges = []
    start = 0
    while start < length:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                break
            if problem.errno == errno.EINVAL:  # it knows no holes: all of it is data
                return [(0, length)]
            raise
        if start >= length:
            break
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), length)
        ranges.append((start, end))
        start = end
    return ranges


def _call(descriptor: int, mode: int, offset: int, length: int) -> None:
    while _fallocate(descriptor, mode, offset, length):
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
