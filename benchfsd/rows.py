"""The rows of the database: how keys and values are made of numbers, names and messages.

A key starts with its group (2 bytes) and its kind (1 byte), both so that the rows of a group
lie together and that one kind of them can be walked alone; numbers in keys are big endian,
so that keys sort as numbers do. Values are packed structs, little endian. This module knows
no database and no rules: what may be stored is decided in `benchfsd/namespace.py`.

    kind      key after group and kind      value
    ENTRY     parent ino, name              ino, type, fanout
    INODE     ino                           all of messages.Attributes
    SLOT      session, slot                 sequence, kind of answer, packed body
    INTENT    kind of intent, ino           see Intent
    COUNTER   -                             the first counter of inode numbers not yet reserved
    CHUNK     ino, chunk index              see the chunk store
    FILE      ino                           see the chunk store; a row of the node, not of a group
    TARGET    ino                           what a symbolic link says
    LINK_CHANGE ino, token                  empty: a name in another group was counted
    XATTRS    ino                           names and values, see `benchfsd/xattrs.py`
    PREPARED  token, role, ino              see benchfsd/holds.py
    MOVE      token                         see benchfsd/holds.py
    PART      ino                           of a directory at home elsewhere: as an INODE
    USED      ino, group                    empty: the group has a part of the directory
    ORPHAN    ino                           empty; an inode without names, kept while it is open
    QUOTA     ino                           see benchfsd/quotas.py
    GRANT     ino, group                    see benchfsd/quotas.py
    USAGE     ino of a quota                see benchfsd/allowances.py
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol

from benchfs.rpc.frames import Kind as FrameKind
from benchfs.rpc.messages import Attributes, LayoutRecord

NODE = 0xFFFF
"""In place of the group, in keys of kinds that belong to the node as such."""

SESSION_BYTES = 16


class Rows(Protocol):
    """What the metadata logic needs of a database. See `benchfsd.database.Database`."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Set a row."""
        ...

    def delete(self, key: bytes) -> bool:
        """Remove a row; tells whether there was one."""
        ...

    def scan(
        self, prefix: bytes, after: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows below `prefix`, beyond the key `after`, in order."""
        ...


class Kind(IntEnum):
    """The third byte of every key. Stored: a number is never reused for something else."""

    ENTRY = 1
    INODE = 2
    SLOT = 3
    INTENT = 4
    COUNTER = 5
    CHUNK = 6
    FILE = 7
    TARGET = 16
    LINK_CHANGE = 17
    XATTRS = 18
    PREPARED = 20
    MOVE = 21
    PART = 22
    USED = 23
    ORPHAN = 24
    QUOTA = 30
    GRANT = 31
    USAGE = 32


class IntentKind(IntEnum):
    """What was begun. Stored."""

    PURGE = 1  # the inode is gone, its chunks may not be
    TRUNCATE = 2  # chunks may have been cut, the inode still has the old size
    RMDIR = 3  # the directory's inode may be gone, its entry is not
    LINK = 16  # the inode elsewhere may count a name that is not made
    SETTLE = 18  # the inode's home may still know the token of a LINK that is done


class Entry(NamedTuple):
    """What a name stands for."""

    ino: int
    type: int  # benchfs.inode.FileType
    fanout: int = 0  # of a directory: the shards that its entries are spread over


class Rights(NamedTuple):
    """Of an inode, what a check of permissions asks for."""

    type: int  # benchfs.inode.FileType
    mode: int
    uid: int
    gid: int


class Answer(NamedTuple):
    """The answer to a mutation, as it was sent: a packed body of the kind REPLY or ERROR."""

    kind: FrameKind
    body: bytes


class Call(NamedTuple):
    """The mutation of a client, by which it is known when it is sent again."""

    session: bytes  # 16 bytes
    slot: int
    sequence: int


NO_LAYOUT = LayoutRecord(chunk_size=0, first=0, stripe=())


class Intent(NamedTuple):
    """Something that takes more than one transaction. (kind, ino) is unique in its group."""

    kind: IntentKind
    ino: int
    call: Call | None = None  # who waits for the answer
    truncation: int = 0  # TRUNCATE: the new truncation epoch; PURGE: the last one
    size: int = 0  # bytes; TRUNCATE: the new size; PURGE: the last one
    layout: LayoutRecord = NO_LAYOUT  # TRUNCATE and PURGE: where the chunks are
    parent: int = 0  # RMDIR and LINK: the directory of the entry
    name: bytes = b""  # RMDIR and LINK: the entry
    token: int = 0  # LINK and SETTLE: of the change of the count
    quota: int = 0  # TRUNCATE: that `charged` is of; LINK: of the directory of the entry
    charged: int = 0  # TRUNCATE: bytes that count to the quota ahead of the new size


NO_SESSION = b"\0" * SESSION_BYTES

# ------------------------------------------------------------------------------- keys

_KIND_KEY = struct.Struct(">HB")
_INO_KEY = struct.Struct(">HBQ")
_SLOT_KEY = struct.Struct(f">HB{SESSION_BYTES}sH")
_INTENT_KEY = struct.Struct(">HBBQ")
_LINK_CHANGE_KEY = struct.Struct(">HBQQ")
_CHUNK_KEY = struct.Struct(">HBQI")
_pack_ino_key = _INO_KEY.pack


def kind_prefix(group: int, kind: Kind) -> bytes:
    """What all keys of one kind in one group start with."""
    return _KIND_KEY.pack(group, kind)


def entry_prefix(group: int, parent: int) -> bytes:
    """What the keys of all entries of a directory start with. The rest of a key is the name."""
    return _pack_ino_key(group, Kind.ENTRY, parent)


def entry_key(group: int, parent: int, name: bytes) -> bytes:
    """The entry `name` of the directory `parent`."""
    return _pack_ino_key(group, Kind.ENTRY, parent) + name


def name_of_entry_key(key: bytes) -> bytes:
    """The name in a key that `entry_key` made."""
    return key[_INO_KEY.size :]


def ino_in_key(key: bytes) -> int:
    """The inode, or of an entry the directory, that a key names after its group and kind."""
    return int.from_bytes(key[_KIND_KEY.size : _INO_KEY.size], "big")


def inode_key(group: int, ino: int) -> bytes:
    """The inode `ino`."""
    return _pack_ino_key(group, Kind.INODE, ino)


def session_prefix(group: int, session: bytes) -> bytes:
    """What the keys of all slots of a session start with. ValueError if it is not 16 bytes."""
    if len(session) != SESSION_BYTES:
        raise ValueError(f"a session of {len(session)} bytes, not {SESSION_BYTES}")
    return _KIND_KEY.pack(group, Kind.SLOT) + session


def slot_key(group: int, session: bytes, slot: int) -> bytes:
    """One slot of a session. ValueError if the session is not 16 bytes."""
    if len(session) != SESSION_BYTES:
        raise ValueError(f"a session of {len(session)} bytes, not {SESSION_BYTES}")
    return _SLOT_KEY.pack(group, Kind.SLOT, session, slot)


def session_of_slot_key(key: bytes) -> bytes:
    """The session in a key that `slot_key` made."""
    return key[_KIND_KEY.size : _KIND_KEY.size + SESSION_BYTES]


def part_key(group: int, ino: int) -> bytes:
    """This group's part of the directory `ino`, which is at home in another."""
    return _pack_ino_key(group, Kind.PART, ino)


def used_prefix(group: int, ino: int) -> bytes:
    """What the keys of all groups with parts of the directory `ino` start with."""
    return _pack_ino_key(group, Kind.USED, ino)


def intent_key(group: int, kind: IntentKind, ino: int) -> bytes:
    """The intent of this kind about `ino`."""
    return _INTENT_KEY.pack(group, Kind.INTENT, kind, ino)


def orphan_key(group: int, ino: int) -> bytes:
    """The mark of an inode without names."""
    return _pack_ino_key(group, Kind.ORPHAN, ino)


def ino_of_orphan_key(key: bytes) -> int:
    """The inode in a key that `orphan_key` made."""
    ino: int = _INO_KEY.unpack(key)[2]
    return ino


def counter_key(group: int) -> bytes:
    """The group's counter of inode numbers."""
    return _KIND_KEY.pack(group, Kind.COUNTER)


def chunk_prefix(group: int, ino: int) -> bytes:
    """What the keys of all chunks of a file in this group start with."""
    return _pack_ino_key(group, Kind.CHUNK, ino)


def chunk_key(group: int, ino: int, index: int) -> bytes:
    """Chunk `index` of the file `ino`."""
    return _CHUNK_KEY.pack(group, Kind.CHUNK, ino, index)


def chunk_of_key(key: bytes) -> tuple[int, int, int]:
    """(group, ino, index) in a key that `chunk_key` made."""
    group, _kind, ino, index = _CHUNK_KEY.unpack(key)
    return group, ino, index


def quota_key(group: int, ino: int) -> bytes:
    """The quota of the directory `ino`."""
    return _pack_ino_key(group, Kind.QUOTA, ino)


def grant_prefix(group: int, quota: int) -> bytes:
    """What the keys of all groups with an allowance of a quota start with."""
    return _pack_ino_key(group, Kind.GRANT, quota)


def usage_key(group: int, quota: int) -> bytes:
    """What the inodes of this group use of a quota."""
    return _pack_ino_key(group, Kind.USAGE, quota)


def quota_of_usage_key(key: bytes) -> int:
    """The quota in a key that `usage_key` made."""
    quota: int = _INO_KEY.unpack(key)[2]
    return quota


def target_key(group: int, ino: int) -> bytes:
    """What the symbolic link `ino` says."""
    return _pack_ino_key(group, Kind.TARGET, ino)


def link_change_key(group: int, ino: int, token: int) -> bytes:
    """A name of `ino` in another group, counted and not settled."""
    return _LINK_CHANGE_KEY.pack(group, Kind.LINK_CHANGE, ino, token)


def xattrs_key(group: int, ino: int) -> bytes:
    """All extended attributes of `ino`."""
    return _pack_ino_key(group, Kind.XATTRS, ino)


def file_key(ino: int) -> bytes:
    """What this node's chunk store knows of the file `ino` as a whole."""
    return _pack_ino_key(NODE, Kind.FILE, ino)


def ino_of_file_key(key: bytes) -> int:
    """The inode in a key that `file_key` made."""
    ino: int = _INO_KEY.unpack(key)[2]
    return ino


# ----------------------------------------------------------------------------- values

_ENTRY = struct.Struct("<QBH")
_COUNTER = struct.Struct("<Q")
_SLOT = struct.Struct("<QB")

# The fields of Attributes in their order, with those of its layout. What each create and
# look-up needs of a directory is read and changed in place, at these offsets.
_INODE = struct.Struct("<QBHIIIQIqqqQQQHIHHQ")
_TYPE_OFFSET = struct.calcsize("<Q")
_RIGHTS = struct.Struct("<BHIII")  # type, mode, nlink, uid, gid
_RIGHTS_OFFSET = struct.calcsize("<Q")
_CHURN = struct.Struct("<qqQQQ")  # mtime, ctime, change, parent, entries
_CHURN_OFFSET = struct.calcsize("<QBHIIIQIq")
_QUOTA = struct.Struct("<Q")
_QUOTA_OFFSET = struct.calcsize("<QBHIIIQIqqqQQQHIHH")
_PLAIN_FIELDS = Attributes._fields.index("layout")  # those before it

_INTENT = struct.Struct(f"<QB?{SESSION_BYTES}sHQIQIHHQQQQ")


def encode_entry(ino: int, file_type: int, fanout: int = 0) -> bytes:
    """The value of an entry."""
    return _ENTRY.pack(ino, file_type, fanout)


def decode_entry(value: bytes) -> Entry:
    """What `encode_entry` made. struct.error if it is not that."""
    return Entry._make(_ENTRY.unpack(value))


def encode_inode(inode: Attributes) -> bytes:
    """The value of an inode."""
    chunk_size, first, stripe = inode.layout
    value = _INODE.pack(*inode[:_PLAIN_FIELDS], chunk_size, first, len(stripe), inode.quota)
    return value + _encode_stripe(stripe) if stripe else value


def decode_inode(value: bytes) -> Attributes:
    """What `encode_inode` made. struct.error if it is not that."""
    *fields, chunk_size, first, stripe_length, quota = _INODE.unpack_from(value)
    stripe = _decode_stripe(value, _INODE.size, stripe_length)
    return Attributes._make((*fields, LayoutRecord(chunk_size, first, stripe), quota))


def type_of_inode(value: bytes) -> int:
    """The benchfs.inode.FileType in an inode's value, without decoding the rest."""
    return value[_TYPE_OFFSET]


def mode_and_gid_of_inode(value: bytes) -> tuple[int, int]:
    """The permission bits and the group in an inode's value, without decoding the rest."""
    _type, mode, _nlink, _uid, gid = _RIGHTS.unpack_from(value, _RIGHTS_OFFSET)
    return mode, gid


def rights_of_inode(value: bytes) -> Rights:
    """Type and owner in an inode's value, without decoding the rest."""
    file_type, mode, _nlink, uid, gid = _RIGHTS.unpack_from(value, _RIGHTS_OFFSET)
    return Rights(file_type, mode, uid, gid)


def quota_of_inode(value: bytes) -> int:
    """The quota in an inode's value, without decoding the rest."""
    quota: int = _QUOTA.unpack_from(value, _QUOTA_OFFSET)[0]
    return quota


def inode_with_entry_change(value: bytes, now_ns: int, delta: int) -> bytes:
    """A directory's value after `delta` entries came: mtime, ctime, change, count.

    In place of decoding and encoding the whole: 0.4 µs of every create instead of 2.4.
    """
    changed = bytearray(value)
    _, _, change, parent, entries = _CHURN.unpack_from(value, _CHURN_OFFSET)
    _CHURN.pack_into(changed, _CHURN_OFFSET, now_ns, now_ns, change + 1, parent, entries + delta)
    return bytes(changed)


def inode_with_change(value: bytes, now_ns: int) -> bytes:
    """An inode's value after something about it changed: ctime, change. In place, as above."""
    changed = bytearray(value)
    mtime_ns, _, change, parent, entries = _CHURN.unpack_from(value, _CHURN_OFFSET)
    _CHURN.pack_into(changed, _CHURN_OFFSET, mtime_ns, now_ns, change + 1, parent, entries)
    return bytes(changed)


def encode_slot(sequence: int, answer: Answer) -> bytes:
    """The value of a slot: its last sequence, and the answer to that."""
    return _SLOT.pack(sequence, answer.kind) + answer.body


def decode_slot(value: bytes) -> tuple[int, Answer]:
    """What `encode_slot` made. struct.error or ValueError if it is not that."""
    sequence, kind = _SLOT.unpack_from(value)
    return sequence, Answer(FrameKind(kind), value[_SLOT.size :])


def sequence_of_slot(value: bytes) -> int:
    """The last sequence in a slot's value, without decoding the answer to it."""
    sequence: int = _SLOT.unpack_from(value)[0]
    return sequence


def encode_counter(counter: int) -> bytes:
    """The value of a group's counter."""
    return _COUNTER.pack(counter)


def decode_counter(value: bytes) -> int:
    """What `encode_counter` made. struct.error if it is not that."""
    counter: int = _COUNTER.unpack(value)[0]
    return counter


def encode_intent(intent: Intent) -> bytes:
    """The value of an intent."""
    session, slot, sequence = intent.call or (NO_SESSION, 0, 0)
    chunk_size, first, stripe = intent.layout
    head = _INTENT.pack(
        *(intent.ino, intent.kind, intent.call is not None, session, slot, sequence),
        *(intent.truncation, intent.size, chunk_size, first, len(stripe)),
        *(intent.parent, intent.token, intent.quota, intent.charged),
    )
    return head + _encode_stripe(stripe) + intent.name


def decode_intent(value: bytes) -> Intent:
    """What `encode_intent` made. struct.error or ValueError if it is not that."""
    fields = _INTENT.unpack_from(value)
    ino, kind, has_call, session, slot, sequence = fields[:6]
    truncation, size, chunk_size, first, stripe_length, parent, token, quota, charged = fields[6:]
    stripe = _decode_stripe(value, _INTENT.size, stripe_length)
    return Intent(
        kind=IntentKind(kind),
        ino=ino,
        call=Call(session, slot, sequence) if has_call else None,
        truncation=truncation,
        size=size,
        layout=LayoutRecord(chunk_size, first, stripe),
        parent=parent,
        name=value[_INTENT.size + 2 * stripe_length :],
        token=token,
        quota=quota,
        charged=charged,
    )


def _encode_stripe(stripe: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(stripe)}H", *stripe)


def _decode_stripe(value: bytes, offset: int, length: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{length}H", value, offset) if length else ()
