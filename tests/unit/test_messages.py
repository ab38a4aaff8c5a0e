"""Every declared message round-trips, and takes nothing else."""

import functools
import types
import typing
from typing import Annotated

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchfs.rpc import messages
from benchfs.rpc.errors import ProtocolError
from benchfs.rpc.frames import LIMITS
from benchfs.rpc.messages import BY_REQUEST, LENDING, OPERATIONS, Envelope, Failure, Op
from benchfs.rpc.schema import Limit, Range, decoder, unpack

RECORDS = sorted(
    (
        value
        for value in vars(messages).values()
        if isinstance(value, type)
        and issubclass(value, tuple)
        and value.__module__.startswith(f"{messages.__name__}.")
        and value is not messages.Operation
    ),
    key=lambda record: record.__name__,
)
by_name = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
# The messages share the few kinds of fields that test_schema.py tries at length: what is left to
# try of each is its declaration. Of wrong values, one example tries all there are.
a_fifth_of_the_examples = settings(max_examples=settings().max_examples // 5)
a_few_examples = settings(max_examples=settings().max_examples // 20)


def values(hint: object) -> st.SearchStrategy[typing.Any]:
    """All values of a declared field."""
    base, bounds = hint, None
    if typing.get_origin(hint) is Annotated:
        base, bounds = typing.get_args(hint)[:2]
    if typing.get_origin(base) in {typing.Union, types.UnionType}:
        inner = next(a for a in typing.get_args(base) if a is not type(None))
        return st.none() | values(inner)
    if typing.get_origin(base) is tuple:
        assert isinstance(bounds, Limit)
        items = values(typing.get_args(base)[0])
        return st.lists(items, max_size=min(3, bounds.length)).map(tuple)
    if isinstance(bounds, Range):
        return st.integers(bounds.least, bounds.greatest)
    if base is bool:
        return st.booleans()
    if isinstance(bounds, Limit):
        most = min(40, bounds.length)
        return st.binary(max_size=most) if base is bytes else st.text(max_size=most)
    assert isinstance(base, type)
    return instances(base)


@functools.cache
def instances(record: type) -> st.SearchStrategy[typing.Any]:
    fields = [values(hint) for hint in hints(record).values()]
    return st.tuples(*fields).map(lambda parts: record(*parts))


def hints(record: type) -> dict[str, object]:
    return typing.get_type_hints(record, include_extras=True)


def wrong(hint: object) -> list[object]:
    """Values just outside what a field may hold, and of other types."""
    base, bounds = hint, None
    if typing.get_origin(hint) is Annotated:
        base, bounds = typing.get_args(hint)[:2]
    if typing.get_origin(base) in {typing.Union, types.UnionType}:
        inner = next(a for a in typing.get_args(base) if a is not type(None))
        return [value for value in wrong(inner) if value is not None]
    if isinstance(bounds, Range):
        return [bounds.least - 1, bounds.greatest + 1, "1", b"1", True, 1.5, None, [1]]
    if base is bool:
        return [0, 1, None, "true", []]
    if base is bytes:
        assert isinstance(bounds, Limit)
        return [bytes(bounds.length + 1), "text", 1, None, []]
    if base is str:
        assert isinstance(bounds, Limit)
        return ["x" * (bounds.length + 1), b"bytes", 1, None, []]
    if typing.get_origin(base) is tuple:
        assert isinstance(bounds, Limit)
        return [[None] * (bounds.length + 1), [None], None, 1, "x", b"x"]
    return [None, [], 1, "x"]


@by_name
@a_fifth_of_the_examples
@given(data=st.data())
def test_a_message_comes_back_as_it_was_sent(record: type, data: st.DataObject) -> None:
    message = data.draw(instances(record))
    fields = unpack(msgpack.packb([0, *message]))[1:]

    decoded = decoder(record)(fields)

    assert decoded == message
    assert type(decoded) is record


@by_name
@a_few_examples
@given(data=st.data())
def test_a_field_out_of_its_range_or_of_another_type_is_refused(
    record: type, data: st.DataObject
) -> None:
    good = [list_of(value) for value in data.draw(instances(record))]
    decoder(record)(good)

    for number, hint in enumerate(hints(record).values()):
        for value in wrong(hint):
            bad = [*good[:number], value, *good[number + 1 :]]
            with pytest.raises(ProtocolError):
                decoder(record)(bad)


@by_name
def test_a_message_with_more_or_fewer_fields_is_refused(record: type) -> None:
    count = len(hints(record))
    for wrong_count in {count - 1, count + 1} - {-1}:
        with pytest.raises(ProtocolError, match=f"takes {count} fields"):
            decoder(record)([0] * wrong_count)


@by_name
def test_every_message_says_what_it_is(record: type) -> None:
    assert record.__doc__
    assert not record.__doc__.startswith(f"{record.__name__}(")


def test_every_operation_is_declared_once() -> None:
    assert set(OPERATIONS) == {int(op) for op in Op}
    assert len(BY_REQUEST) == len(OPERATIONS)
    assert all(number in OPERATIONS for number in LENDING)


def test_numbers_of_operations_never_change() -> None:
    """Add to this list; a number that was published stays what it was."""
    published = (
        "HELLO 1, PROVE 2, GET_MAP 10, GET_STATUS 11, LOOKUP 20, OPEN 21, MAKE_DIRECTORY 22, "
        "UNLINK 23, REMOVE_DIRECTORY 24, RENAME 25, READ_DIRECTORY 26, GET_PARTS 27, "
        "GET_ATTRIBUTES 30, SET_ATTRIBUTES 31, REPORT_SIZE 32, TRUNCATE 33, "
        "GET_MANY_ATTRIBUTES 34, MAKE_INODE 40, DROP_INODE 41, "
        "READ_CHUNK 50, WRITE_CHUNK 51, SYNC_FILE 52, CUT_FILE 53, PURGE_FILES 54, "
        "LEND_CHUNK 55, LEND_BOARD 56, WRITE_EXTENTS 57, "
        "RECORD_READS 60, CHECK_ACCESS 61, MAKE_SYMLINK 62, "
        "READ_LINK 63, MAKE_SPECIAL 64, LINK 65, CHANGE_LINKS 66, SETTLE_LINKS 67, GET_XATTR 68, "
        "SET_XATTR 69, LIST_XATTRS 70, REMOVE_XATTR 71, PRESENT 72, OPEN_INODE 80, RELEASE 81, "
        "RENEW 82, RESERVE_END 83, LOCK 84, UNLOCK 85, FILE_END 90, MAP_DATA 91, "
        "ALLOCATE_CHUNK 92, PUNCH_CHUNK 93, COPY_CHUNK 94, "
        "PREPARE_NAME 100, PREPARE_PARENT 101, SEAL_DIRECTORY 102, "
        "REGISTER_PART 103, LOCK_MOVES 104, CONCLUDE 105, GET_OUTCOME 106, DROP_LINK 107, "
        "GET_PART 108, SET_PART 109, LIST_INODES 120, LIST_PARTS 121, LIST_ENTRIES 122, "
        "LIST_CHUNKS 123, LIST_PENDING 124, EXAMINE_INODE 125, EXAMINE_ENTRY 126, "
        "FIND_ENTRIES 127, VERIFY_CHUNKS 128, REPAIR 129, "
        "SET_QUOTA 130, GET_QUOTA 131, CLEAR_QUOTA 132, "
        "MARK_INODES 133, GRANT_ALLOWANCE 134, RECALL_ALLOWANCES 135, PREPARE_QUOTA 136"
    )

    assert ", ".join(f"{op.name} {int(op)}" for op in Op) == published


def test_the_greatest_checks_of_a_payload_fit_in_a_body() -> None:
    checks = LIMITS.payload // 65_536 + 1

    assert checks * 8 < 900_000 < LIMITS.body


def test_an_error_of_the_greatest_size_fits_in_a_frame() -> None:
    failure = Failure(65_535, "😀" * 1024, b"p" * 4096, "😀" * 1024, b"d" * 65_536)

    assert len(msgpack.packb([65_535, *failure])) < LIMITS.body
    assert len(hints(Envelope)) == 6


def list_of(value: object) -> object:
    """Records as the arrays that they are on the wire."""
    return [list_of(item) for item in value] if isinstance(value, tuple) else value
