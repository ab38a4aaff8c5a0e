"""Messages are decoded from untrusted bytes: every type and range is checked."""

from typing import Annotated, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.rpc.errors import ProtocolError
from benchfs.rpc.schema import I64, U8, U64, Limit, decoder, unpack


class Point(NamedTuple):
    """A record inside another."""

    x: U8
    y: I64


class Everything(NamedTuple):
    """One field of each shape."""

    number: U64
    text: Annotated[str, Limit(3)]
    data: Annotated[bytes, Limit(3)]
    flag: bool
    point: Point
    maybe: Point | None
    points: Annotated[tuple[Point, ...], Limit(2)]
    numbers: Annotated[tuple[U8, ...], Limit(2)]
    maybe_number: U8 | None


class Nothing(NamedTuple):
    """No fields."""


GOOD: list[object] = [5, "abc", b"abc", True, [1, -2], None, [[3, 4]], [7, 8], None]


def test_a_good_message_is_built_of_its_records() -> None:
    expected = Everything(5, "abc", b"abc", True, Point(1, -2), None, (Point(3, 4),), (7, 8), None)

    assert decoder(Everything)(GOOD) == expected
    assert decoder(Nothing)([]) == Nothing()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, -1),
        (0, 2**64),
        (0, True),
        (0, 1.0),
        (0, "1"),
        (0, None),
        (1, "abcd"),
        (1, b"abc"),
        (2, b"abcd"),
        (2, "abc"),
        (3, 1),
        (3, None),
        (4, [1]),
        (4, [1, 2, 3]),
        (4, [256, 0]),
        (4, [0, 2**63]),
        (4, None),
        (4, "xy"),
        (5, [1]),
        (5, 0),
        (6, [[1, 2]] * 3),
        (6, [None]),
        (6, None),
        (6, "ab"),
        (7, [1, 2, 3]),
        (7, [-1]),
        (7, [[1]]),
        (8, 256),
        (8, False),
    ],
)
def test_a_field_out_of_its_range_is_refused(field: int, value: object) -> None:
    values = list(GOOD)
    values[field] = value

    with pytest.raises(ProtocolError):
        decoder(Everything)(values)


@pytest.mark.parametrize("values", [[], GOOD[:-1], [*GOOD, 1], tuple(GOOD), None, 5, "abc", {}])
def test_a_message_with_other_than_its_fields_is_refused(values: object) -> None:
    with pytest.raises(ProtocolError, match="takes 9 fields"):
        decoder(Everything)(values)


def test_a_declaration_that_cannot_be_checked_is_a_mistake_of_ours() -> None:
    class Loose(NamedTuple):
        """A field without bounds."""

        number: int

    with pytest.raises(TypeError, match="cannot be declared"):
        decoder(Loose)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90",  # an empty array
        b"\x05",
        b"\x81\x01\x02",  # a map
        b"\x91\x81\x01\x02",  # a map inside
        b"\x91\xc7\x01\x05x",  # an extension
        b"\x91\xd6\xff\x00\x00\x00\x00",  # a timestamp
        b"\x91\xa1\xff",  # text that is not UTF-8
        b"\x91\xc1",  # never used
        b"\x92\x01",  # too short
        b"\x91\x01\x01",  # too long
        b"\x91" * 100_000,  # deep
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xc6\xff\xff\xff\xff",
    ],
)
def test_a_body_that_is_no_plain_array_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(body)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_list_or_a_protocol_error(body: bytes) -> None:
    try:
        assert unpack(body)
    except ProtocolError:
        pass


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4),
)


@given(st.lists(VALUES, min_size=1, max_size=10))
def test_any_values_give_a_record_or_a_protocol_error(values: list[object]) -> None:
    assert unpack(msgpack.packb(values)) == values
    try:
        assert isinstance(decoder(Everything)(values), Everything)
    except ProtocolError:
        pass
