"""Path rules: what a path means, and which are refused with which errno."""

import errno
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.errors import BenchFSError, NotFoundError
from benchfs.paths import MAX_DEPTH, PathLike, check_name, display, parse

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: check_name(name) == 0)


@pytest.mark.parametrize(
    ("path", "parts", "directory"),
    [
        ("/a/b", (b"a", b"b"), False),
        ("a/b", (b"a", b"b"), False),
        (b"/a/b", (b"a", b"b"), False),
        (PurePosixPath("/a/b"), (b"a", b"b"), False),
        ("//a///b", (b"a", b"b"), False),
        ("/a/./b", (b"a", b"b"), False),
        ("/a/b/", (b"a", b"b"), True),
        ("/a/b/.", (b"a", b"b"), True),
        ("/a/..", (b"a", b".."), True),
        ("/a/../b", (b"a", b"..", b"b"), False),
        ("..", (b"..",), True),
        ("/", (), True),
        ("///", (), True),
        (".", (), True),
        ("...", (b"...",), False),
        ("/ä", ("ä".encode(),), False),
        (b"/\xff\xfe", (b"\xff\xfe",), False),
        ("/\udcff\udcfe", (b"\xff\xfe",), False),
        ("/a\nb", (b"a\nb",), False),
    ],
)
def test_a_path_is_taken_apart(path: PathLike, parts: tuple[bytes, ...], directory: bool) -> None:
    parsed = parse(path)

    assert parsed.parts == parts
    assert parsed.directory is directory


@given(st.lists(NAMES, min_size=1, max_size=10), st.booleans())
def test_names_come_back_byte_for_byte(names: list[bytes], as_text: bool) -> None:
    raw = b"/" + b"/".join(names)

    parsed = parse(display(raw) if as_text else raw)

    assert parsed == (tuple(names), False, display(raw), False)


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_a_path_or_a_typed_error(raw: bytes) -> None:
    if b"\0" in raw:
        with pytest.raises(BenchFSError, match="NUL"):
            parse(raw, "open")
    else:
        assert all(check_name(part) == 0 or part == b".." for part in parse(raw).parts)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", errno.ENOENT),
        (b"", errno.ENOENT),
        ("/a\0b", errno.EINVAL),
        (b"\0", errno.EINVAL),
        ("/a/\ud800", errno.EINVAL),  # a surrogate that no byte stands for
        ("/a" * 2048, errno.ENAMETOOLONG),  # 4,096 bytes
        ("/" * 4096, errno.ENAMETOOLONG),
        ("/a" * (MAX_DEPTH + 1), errno.ENAMETOOLONG),
    ],
)
def test_a_path_that_is_none_is_refused(path: str | bytes, code: int) -> None:
    with pytest.raises(BenchFSError) as caught:
        parse(path, "open")

    assert caught.value.errno == code
    assert caught.value.operation == "open"
    assert caught.value.filename == display(path)


def test_the_longest_of_everything_is_taken() -> None:
    assert parse("/" + "n" * 255).parts == (b"n" * 255,)
    assert len(parse("/a" * MAX_DEPTH).parts) == MAX_DEPTH
    assert parse("/" * 4095).parts == ()
    assert len(parse("/" + "/".join(["n" * 254] * 16) + "/" + "n" * 13).parts) == 17


def test_the_empty_path_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        parse("")

    assert isinstance(caught.value, NotFoundError)


@pytest.mark.parametrize("path", [None, 3, ["a"]])
def test_what_is_no_path_at_all_is_a_type_error(path: object) -> None:
    with pytest.raises(TypeError):
        parse(path)  # type: ignore[arg-type]


def test_path_objects_of_bytes_are_taken() -> None:
    class BytesPath(os.PathLike[bytes]):
        def __fspath__(self) -> bytes:
            return b"/\xff"

    assert parse(BytesPath()).parts == (b"\xff",)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"a", 0),
        (b"...", 0),
        (b"\xff", 0),
        (b"n" * 255, 0),
        (b"n" * 256, errno.ENAMETOOLONG),
        (b"", errno.EINVAL),
        (b".", errno.EINVAL),
        (b"..", errno.EINVAL),
        (b"a/b", errno.EINVAL),
        (b"a\0b", errno.EINVAL),
    ],
)
def test_names_from_a_peer_are_checked(name: bytes, code: int) -> None:
    assert check_name(name) == code
