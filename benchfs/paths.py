"""Path rules: from what a user wrote to the names that are looked up, one by one.

Names are bytes and are kept exactly, whether UTF-8 or not: str paths use surrogate escapes,
as `os.fsencode` does, but always UTF-8 whatever the locale. Relative paths start at the root.
".." is left to the walk: what it means depends on where a symlink led.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from benchfs.errors import error

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]

MAX_NAME = 255  # bytes, NAME_MAX of Linux
MAX_PATH = 4096  # bytes with the final NUL that C counts: 4,095 here
MAX_DEPTH = 256  # names in one path; bounds the look-ups that one call can cost


class ParsedPath(NamedTuple):
    """A path taken apart."""

    parts: tuple[bytes, ...]  # from the root; b".." may be among them
    directory: bool  # it ended in "/", "/." or "/..": whatever it names must be a directory
    display: str  # as the user gave it, for messages
    dot: bool = False  # it ended in "/.": the directory that `parts` lead to, not a name in one


def parse(path: PathLike, operation: str = "parse") -> ParsedPath:
    """Take `path` apart. `operation` is what errors name.

    Raises ENOENT for the empty path, EINVAL for a NUL byte or for text that no bytes stand
    for, ENAMETOOLONG for a path or a depth beyond the limits; TypeError if it is no path at all.
    A name that is too long is for the walk to refuse: what is before it may not be there.
    """
    plain = os.fspath(path)
    if isinstance(plain, str):
        try:
            raw = plain.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as problem:
            text = f"character {problem.start} cannot be encoded"
            raise error(errno.EINVAL, operation, plain, text=text) from None
    else:
        raw = plain
    if not raw:
        raise error(errno.ENOENT, operation, plain, text="the path is empty")
    if len(raw) >= MAX_PATH:
        text = f"path of {len(raw)} bytes, limit {MAX_PATH - 1}"
        raise error(errno.ENAMETOOLONG, operation, plain, text=text)
    if b"\0" in raw:
        raise error(errno.EINVAL, operation, plain, text="the path has a NUL byte")
    names = raw.split(b"/")
    parts = tuple([name for name in names if name not in (b"", b".")])
    if len(parts) > MAX_DEPTH:
        text = f"path of {len(parts)} names, limit {MAX_DEPTH}"
        raise error(errno.ENAMETOOLONG, operation, plain, text=text)
    directory = names[-1] in (b"", b".", b"..")
    dot = directory and bool(parts) and raw.rstrip(b"/").endswith(b"/.")
    return ParsedPath(parts, directory, display(plain), dot)


def check_name(name: bytes) -> int:
    """0 if `name` can name an entry, else the errno that says why not.

    For the side that receives names: a client may be anybody's program.
    """
    if len(name) > MAX_NAME:
        return errno.ENAMETOOLONG
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return errno.EINVAL
    return 0


def display(name: bytes | str) -> str:
    """`name` as text; bytes that are no UTF-8 become surrogate escapes."""
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
