"""Keys sort and are told apart; values come back as they were packed."""

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchfs.rpc.frames import Kind as FrameKind
from benchfs.rpc.messages import Attributes, LayoutRecord
from benchfsd import rows
from benchfsd.rows import Answer, Call, Intent, IntentKind, Kind

U8 = st.integers(0, 2**8 - 1)
U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
SESSIONS = st.binary(min_size=16, max_size=16)
NAMES = st.binary(min_size=1, max_size=255)
LAYOUTS = st.builds(
    LayoutRecord, chunk_size=U32, first=U16, stripe=st.lists(U16, max_size=20).map(tuple)
)
INODES = st.builds(
    Attributes,
    ino=U64,
    type=U8,
    mode=U16,
    nlink=U32,
    uid=U32,
    gid=U32,
    size=U64,
    truncation=U32,
    atime_ns=I64,
    mtime_ns=I64,
    ctime_ns=I64,
    change=U64,
    parent=U64,
    entries=U64,
    fanout=U16,
    layout=LAYOUTS,
    quota=U64,
)
INTENTS = st.builds(
    Intent,
    kind=st.sampled_from(IntentKind),
    ino=U64,
    call=st.none() | st.builds(Call, SESSIONS, U16, U64),
    truncation=U32,
    size=U64,
    layout=LAYOUTS,
    parent=U64,
    name=st.binary(max_size=255),
    token=U64,
    quota=U64,
    charged=U64,
)


@given(INODES)
def test_an_inode_comes_back(inode: Attributes) -> None:
    value = rows.encode_inode(inode)

    assert rows.decode_inode(value) == inode
    assert rows.type_of_inode(value) == inode.type
    assert rows.mode_and_gid_of_inode(value) == (inode.mode, inode.gid)
    assert rows.quota_of_inode(value) == inode.quota
    assert rows.rights_of_inode(value) == (inode.type, inode.mode, inode.uid, inode.gid)


@given(INODES)
def test_the_longest_stripe_fits(inode: Attributes) -> None:
    inode = inode._replace(layout=LayoutRecord(2**22, 5, tuple(range(4096))))

    assert rows.decode_inode(rows.encode_inode(inode)) == inode


@given(INODES, I64, st.integers(-1, 1))
def test_an_entry_change_is_what_decoding_and_encoding_gives(
    inode: Attributes, now_ns: int, delta: int
) -> None:
    assume(0 <= inode.entries + delta < 2**64 and inode.change + 1 < 2**64)
    changed = inode._replace(
        mtime_ns=now_ns, ctime_ns=now_ns, change=inode.change + 1, entries=inode.entries + delta
    )

    value = rows.inode_with_entry_change(rows.encode_inode(inode), now_ns, delta)

    assert rows.decode_inode(value) == changed


@given(INODES.filter(lambda inode: inode.change < 2**64 - 1), I64)
def test_a_change_moves_ctime_and_the_counter_only(inode: Attributes, now_ns: int) -> None:
    value = rows.inode_with_change(rows.encode_inode(inode), now_ns)

    assert rows.decode_inode(value) == inode._replace(ctime_ns=now_ns, change=inode.change + 1)


@given(U64, U8, U16)
def test_an_entry_comes_back(ino: int, file_type: int, fanout: int) -> None:
    entry = (ino, file_type, fanout)
    assert rows.decode_entry(rows.encode_entry(*entry)) == entry


@given(U64, st.sampled_from([FrameKind.REPLY, FrameKind.ERROR]), st.binary(max_size=300))
def test_a_slot_comes_back(sequence: int, kind: FrameKind, body: bytes) -> None:
    answer = Answer(kind, body)

    value = rows.encode_slot(sequence, answer)
    assert rows.decode_slot(value) == (sequence, answer)
    assert rows.sequence_of_slot(value) == sequence


@given(U64)
def test_a_counter_comes_back(counter: int) -> None:
    assert rows.decode_counter(rows.encode_counter(counter)) == counter


@given(INTENTS)
def test_an_intent_comes_back(intent: Intent) -> None:
    assert rows.decode_intent(rows.encode_intent(intent)) == intent


@given(st.data())
def test_a_torn_value_is_an_error(data: st.DataObject) -> None:
    """A row's check comes first: this is for programming errors, which should be loud."""
    value = rows.encode_inode(data.draw(INODES))
    torn = value[: data.draw(st.integers(0, len(value) - 1))]

    with pytest.raises(struct.error):
        rows.decode_inode(torn)


# ------------------------------------------------------------------------------- keys


@given(U16, U64, NAMES)
def test_an_entry_key_holds_its_name_below_its_directory(
    group: int, parent: int, name: bytes
) -> None:
    key = rows.entry_key(group, parent, name)

    assert rows.name_of_entry_key(key) == name
    assert key.startswith(rows.entry_prefix(group, parent))
    assert len(key) <= 511


@given(U16, U64, NAMES, NAMES)
def test_entries_sort_by_name(group: int, parent: int, one: bytes, other: bytes) -> None:
    keys = rows.entry_key(group, parent, one), rows.entry_key(group, parent, other)

    assert (keys[0] < keys[1]) == (one < other)


@given(U16, st.tuples(U64, U32), st.tuples(U64, U32))
def test_chunks_sort_by_file_and_index(
    group: int, one: tuple[int, int], other: tuple[int, int]
) -> None:
    keys = rows.chunk_key(group, *one), rows.chunk_key(group, *other)

    assert (keys[0] < keys[1]) == (one < other)
    assert keys[0].startswith(rows.chunk_prefix(group, one[0]))
    assert rows.chunk_of_key(keys[0]) == (group, *one)


@given(U64)
def test_a_file_key_holds_its_inode(ino: int) -> None:
    assert rows.ino_of_file_key(rows.file_key(ino)) == ino


@given(U16, SESSIONS, U16)
def test_a_slot_key_holds_its_session(group: int, session: bytes, slot: int) -> None:
    key = rows.slot_key(group, session, slot)

    assert rows.session_of_slot_key(key) == session
    assert key.startswith(rows.session_prefix(group, session))


@pytest.mark.parametrize("session", [b"", bytes(15), bytes(17), bytes(64)])
def test_a_session_has_16_bytes(session: bytes) -> None:
    """A shorter one would reach into the slot number, and be another session's key."""
    with pytest.raises(ValueError, match="session of"):
        rows.slot_key(0, session, 0)
    with pytest.raises(ValueError, match="session of"):
        rows.session_prefix(0, session)


@given(group=U16, ino=U64, index=U32, slot=U16, name=NAMES, session=SESSIONS)
def test_every_key_starts_with_its_group_and_its_kind(
    *, group: int, ino: int, index: int, slot: int, name: bytes, session: bytes
) -> None:
    keys = {
        Kind.ENTRY: rows.entry_key(group, ino, name),
        Kind.INODE: rows.inode_key(group, ino),
        Kind.SLOT: rows.slot_key(group, session, slot),
        Kind.INTENT: rows.intent_key(group, IntentKind.PURGE, ino),
        Kind.COUNTER: rows.counter_key(group),
        Kind.CHUNK: rows.chunk_key(group, ino, index),
    }

    for kind, key in keys.items():
        assert key[:2] == group.to_bytes(2, "big")
        assert key[2] == kind
        assert key.startswith(rows.kind_prefix(group, kind))
    assert rows.file_key(ino)[2] == Kind.FILE
    assert rows.file_key(ino) not in keys.values()
