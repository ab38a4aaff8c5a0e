"""What travels: every operation, its request and its reply, declared once.

Client, server, documentation and fuzzers all use these declarations. A request is sent as
`[operation, deadline_ms, group, epoch, slot, sequence, *fields]` (see `Envelope`), a reply as
`[operation, *fields]`, an error as `[operation, *Failure fields]`.

Units: sizes and offsets in bytes, times in nanoseconds since 1970 unless the name says more.
Names and paths are bytes, exactly as the user gave them. This module knows the shapes; what an
operation means is said by its handler in `benchfsd/handlers/`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple, TypeVar

from benchfs.rpc.schema import I64, U8, U16, U32, U64, Blob, Bool, Limit, Name, Path, Text, Token

Message = TypeVar("Message", bound=tuple[object, ...])


class Op(IntEnum):
    """Operation numbers. A number is never reused for something else."""

    HELLO = 1
    PROVE = 2
    GET_MAP = 10
    GET_STATUS = 11
    LOOKUP = 20
    OPEN = 21
    MAKE_DIRECTORY = 22
    UNLINK = 23
    REMOVE_DIRECTORY = 24
    RENAME = 25
    READ_DIRECTORY = 26
    GET_PARTS = 27
    GET_ATTRIBUTES = 30
    SET_ATTRIBUTES = 31
    REPORT_SIZE = 32
    TRUNCATE = 33
    GET_MANY_ATTRIBUTES = 34
    MAKE_INODE = 40
    DROP_INODE = 41
    READ_CHUNK = 50
    WRITE_CHUNK = 51
    SYNC_FILE = 52
    CUT_FILE = 53
    PURGE_FILES = 54
    LEND_CHUNK = 55
    LEND_BOARD = 56
    RECORD_READS = 60
    CHECK_ACCESS = 61
    MAKE_SYMLINK = 62
    READ_LINK = 63
    MAKE_SPECIAL = 64
    LINK = 65
    CHANGE_LINKS = 66
    SETTLE_LINKS = 67
    GET_XATTR = 68
    SET_XATTR = 69
    LIST_XATTRS = 70
    REMOVE_XATTR = 71
    PRESENT = 72
    OPEN_INODE = 80
    RELEASE = 81
    RENEW = 82
    RESERVE_END = 83
    LOCK = 84
    UNLOCK = 85
    FILE_END = 90
    MAP_DATA = 91
    ALLOCATE_CHUNK = 92
    PUNCH_CHUNK = 93
    COPY_CHUNK = 94
    PREPARE_NAME = 100
    PREPARE_PARENT = 101
    SEAL_DIRECTORY = 102
    REGISTER_PART = 103
    LOCK_MOVES = 104
    CONCLUDE = 105
    GET_OUTCOME = 106
    DROP_LINK = 107
    GET_PART = 108
    SET_PART = 109
    LIST_INODES = 120
    LIST_PARTS = 121
    LIST_ENTRIES = 122
    LIST_CHUNKS = 123
    LIST_PENDING = 124
    EXAMINE_INODE = 125
    EXAMINE_ENTRY = 126
    FIND_ENTRIES = 127
    VERIFY_CHUNKS = 128
    REPAIR = 129
    SET_QUOTA = 130
    GET_QUOTA = 131
    CLEAR_QUOTA = 132
    MARK_INODES = 133
    GRANT_ALLOWANCE = 134
    RECALL_ALLOWANCES = 135
    PREPARE_QUOTA = 136


class Code(IntEnum):
    """Error codes beside the errno values (which are used as they are, below 1000)."""

    STALE_EPOCH = 1001  # detail: the newer GroupRecord, packed
    STALE_TRUNCATION = 1002  # detail: the newer truncation epoch, packed
    STALE_SEQUENCE = 1003  # the slot has already answered a later call
    NOT_READY = 1004  # the node is starting or stopping: try again
    UNKNOWN_OPERATION = 1005
    BAD_MESSAGE = 1006
    UNAVAILABLE = 1007  # the node asked another node, which did not answer
    NO_CAPABILITY = 1008  # present the one that the file's opening gave, then ask again


class Envelope(NamedTuple):
    """What precedes the fields of every request."""

    operation: U16
    deadline_ms: U32  # how long the caller still waits
    group: U16  # the group it is addressed to; with epoch 0: the node as such
    epoch: U64  # the group's epoch as the caller knows it
    slot: U16  # the caller's slot, for mutations
    sequence: U64  # its sequence number there; 0: not a mutation


class RenameHow(IntEnum):
    """What a rename does with something that has the new name."""

    REPLACE = 0
    KEEP = 1  # refuse: EEXIST
    EXCHANGE = 2  # give it the old name; ENOENT if there is nothing


class Outcome(IntEnum):
    """What became of a change that concerns several groups."""

    UNKNOWN = 0  # given up, or carried out everywhere and forgotten
    PENDING = 1
    COMMITTED = 2


class Failure(NamedTuple):
    """The fields of an ERROR frame."""

    code: U16  # errno, or a Code
    text: Text
    path: Annotated[bytes, Limit(4096)]
    node: Text
    detail: Annotated[bytes, Limit(65_536)]


class Empty(NamedTuple):
    """A reply that says no more than: done."""


# ---------------------------------------------------------------- records inside messages


class NodeRecord(NamedTuple):
    """A node of the cluster map."""

    node_id: Text
    host: Text  # the machine, as failure domain
    addresses: Annotated[tuple[Text, ...], Limit(16)]  # tcp://host:port, unix:///path
    incarnation: U64


class GroupRecord(NamedTuple):
    """A group of the cluster map."""

    group: U16
    epoch: U64
    nodes: Annotated[tuple[Text, ...], Limit(16)]  # primary first


class LayoutRecord(NamedTuple):
    """Where a file's chunks live: chunk i is in group stripe[(first + i) mod len(stripe)]."""

    chunk_size: U32
    first: U16
    stripe: Annotated[tuple[U16, ...], Limit(4096)]  # empty: all groups of the cluster


class Attributes(NamedTuple):
    """An inode, as stat and open need it."""

    ino: U64
    type: U8  # benchfs.inode.FileType
    mode: U16  # permission bits
    nlink: U32
    uid: U32
    gid: U32
    size: U64
    truncation: U32  # truncation epoch: sizes reported under an older one are ignored
    atime_ns: I64
    mtime_ns: I64
    ctime_ns: I64
    change: U64  # counts every change of content or attributes
    parent: U64  # of a directory; 0 for others
    entries: U64  # in a directory; 0 for others
    fanout: U16  # shards of a directory's entries; 0 for others
    layout: LayoutRecord
    quota: U64 = 0  # the directory whose quota it counts to; 0: none


class EntryRecord(NamedTuple):
    """One name of a directory, with attributes when they live in the same group."""

    name: Name
    ino: U64
    type: U8
    attributes: Attributes | None
    fanout: U16  # of a directory: the shards of its entries


# ---------------------------------------------------------------- hello


class Hello(NamedTuple):
    """First frame of a connection: who speaks which versions, and a challenge."""

    version_least: U16
    version_greatest: U16
    client_id: Token  # 16 random bytes: the session, the same over reconnects
    role: Text  # "client" or "node"
    nonce: Token  # 32 random bytes
    features: Annotated[tuple[Text, ...], Limit(32)]


class HelloReply(NamedTuple):
    """The server's version, its challenge, and the proof that it knows the secret."""

    version: U16
    nonce: Token
    proof: Token


class Prove(NamedTuple):
    """The client's proof, and what it wants this connection for."""

    proof: Token
    purpose: Text  # "calls", "bulk" or "descriptors"
    uid: U32  # whom the client acts for; on a unix socket only root is asked
    gid: U32
    groups: Annotated[tuple[U32, ...], Limit(256)] = ()  # supplementary groups


class Welcome(NamedTuple):
    """Answer to the right proof; nothing about the cluster is said before it."""

    node_id: Text
    cluster_id: Text
    incarnation: U64
    map_version: U64
    credits: U32  # calls in flight that this connection allows
    host: Text
    unix_path: Text  # the node's unix socket, for clients on its host; may be empty
    features: Annotated[tuple[Text, ...], Limit(32)]


# ---------------------------------------------------------------- cluster


class GetMap(NamedTuple):
    """The whole cluster map."""


class MapReply(NamedTuple):
    """The cluster map as this node knows it."""

    cluster_id: Text
    name: Text
    mode: Text  # volatile, writeback or durable
    chunk_size: U32
    nodes: Annotated[tuple[NodeRecord, ...], Limit(65_536)]
    groups: Annotated[tuple[GroupRecord, ...], Limit(65_536)]
    lease_ms: U32  # a session that is not renewed for so long has lost its open files and locks


class GetStatus(NamedTuple):
    """How the node is."""


class StatusReply(NamedTuple):
    """A node's own figures; also what statvfs sums up."""

    node_id: Text
    version: Text
    transport: Text  # engine in use, and why if it is a fallback
    mode: Text
    uptime_ms: U64
    rss_bytes: U64
    connections: U32
    total_bytes: U64
    free_bytes: U64  # that can still be written: above the reserve
    chunk_bytes: U64
    chunks: U64
    inodes: U64
    groups_led: U32
    disk: Text  # host and device of the data: nodes with the same one share its space
    time_ns: I64  # the node's wall clock when it answered


# ------------------------------------------------------ namespace: to the group of the entry


class Lookup(NamedTuple):
    """The entry `name` of the directory `parent`."""

    parent: U64
    name: Name


class LookupReply(NamedTuple):
    """Attributes are absent when the inode's home is another group: ask there."""

    ino: U64
    type: U8
    attributes: Attributes | None
    fanout: U16  # of a directory: tells where to ask for names in it


class Open(NamedTuple):
    """Open a file by name; creates it if `create`."""

    parent: U64
    name: Name
    create: Bool
    exclusive: Bool
    mode: U16
    uid: U32
    gid: U32
    layout: LayoutRecord  # for a new file
    wanted: U8 = 0  # of a file that is there: 4 read, 2 write, 6 both; EACCES
    hold: U64 = 0  # under which the session holds the file open; 0: it does not
    writes: Bool = False  # whether it is held for writing


class OpenReply(NamedTuple):
    """`ino`, `type` as in LookupReply; `created` tells whether this call made the file."""

    ino: U64
    type: U8
    created: Bool
    attributes: Attributes | None
    capability: Token = b""  # for Present; empty: none is needed


class MakeDirectory(NamedTuple):
    """Make a directory entry and its inode, which gets a home group of its own."""

    parent: U64
    name: Name
    mode: U16
    uid: U32
    gid: U32
    fanout: U16  # shards of its entries, no more than there are groups; 0: as its parent has


class AttributesReply(NamedTuple):
    """The inode after the call."""

    attributes: Attributes


class Unlink(NamedTuple):
    """Remove the entry of a file, and the file with its last entry."""

    parent: U64
    name: Name


class RemoveDirectory(NamedTuple):
    """Remove the entry of an empty directory, and the directory."""

    parent: U64
    name: Name


class Rename(NamedTuple):
    """Give an entry another name. To the group of the old name, which drives the rename."""

    parent: U64
    name: Name
    new_parent: U64
    new_name: Name
    new_group: U16  # of the new name
    how: U8  # RenameHow


class GetParts(NamedTuple):
    """Where a directory's entries are; to its home group."""

    ino: U64


class PartsReply(NamedTuple):
    """The groups that may have entries, each to be read by itself."""

    groups: Annotated[tuple[U16, ...], Limit(65_535)]


class ReadDirectory(NamedTuple):
    """Entries of one part in the order of their names, after the name `after` (empty: all)."""

    ino: U64
    after: Name
    most: U16  # entries in a page, at the most


class ReadDirectoryReply(NamedTuple):
    """A page; `more` tells whether another one follows."""

    entries: Annotated[tuple[EntryRecord, ...], Limit(4096)]
    more: Bool
    searchable: Bool  # whether the caller may look up what is in it; else no attributes come along


class MakeSymlink(NamedTuple):
    """Make an entry and a symbolic link's inode. The reply is an AttributesReply."""

    parent: U64
    name: Name
    target: Path  # 1 to 4,095 bytes, none of them NUL
    uid: U32
    gid: U32


class MakeSpecial(NamedTuple):
    """Make an entry and the inode of a FIFO or a socket. The reply is an AttributesReply."""

    parent: U64
    name: Name
    type: U8
    mode: U16
    uid: U32
    gid: U32


class Link(NamedTuple):
    """Give an inode that is no directory one more name. The reply is an AttributesReply."""

    parent: U64
    name: Name
    ino: U64  # at home in any group


# ---------------------------------------------------------------- inodes: to the home group


class GetAttributes(NamedTuple):
    """Attributes of an inode by number."""

    ino: U64


class GetManyAttributes(NamedTuple):
    """Attributes of inodes of any groups; to a node that leads some of them."""

    inos: Annotated[tuple[U64, ...], Limit(1024)]


class ManyAttributesReply(NamedTuple):
    """Of the first `answered` inodes, without those that have to be asked for alone."""

    answered: U16
    attributes: Annotated[tuple[Attributes, ...], Limit(1024)]


class SetAttributes(NamedTuple):
    """Change what is not None."""

    ino: U64
    mode: U16 | None
    uid: U32 | None
    gid: U32 | None
    atime_ns: I64 | None
    mtime_ns: I64 | None
    atime_now: Bool = False  # the node's time, in place of atime_ns
    mtime_now: Bool = False  # the node's time, in place of mtime_ns


class RecordReads(NamedTuple):
    """A reader's report: these inodes were read at this time; merged by maximum, as relatime."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]
    atime_ns: I64


class CheckAccess(NamedTuple):
    """Attributes of an inode, if the caller may do with it what `wanted` says; EACCES."""

    ino: U64
    wanted: U8  # 4 read, 2 write, 1 execute or search, and sums of them; 0: nothing


class ReadLink(NamedTuple):
    """What a symbolic link says. It never changes."""

    ino: U64


class ReadLinkReply(NamedTuple):
    """The target, relative to the link's directory unless it begins with a slash."""

    target: Path


class ReportSize(NamedTuple):
    """A writer's greatest end of acknowledged bytes; merged by maximum, see DESIGN of sizes."""

    ino: U64
    truncation: U32
    end: U64
    mtime_ns: I64


class Truncate(NamedTuple):
    """Set the size, up or down. Starts a new truncation epoch."""

    ino: U64
    size: U64


class GetXattr(NamedTuple):
    """The value of an extended attribute."""

    ino: U64
    name: Name


class XattrReply(NamedTuple):
    """The value."""

    value: Annotated[bytes, Limit(65_536)]


class SetXattr(NamedTuple):
    """Set an extended attribute."""

    ino: U64
    name: Name
    value: Annotated[bytes, Limit(65_536)]
    flags: U8  # 1: only if it is not there, 2: only if it is


class ListXattrs(NamedTuple):
    """The names of an inode's extended attributes."""

    ino: U64


class ListXattrsReply(NamedTuple):
    """The names, sorted."""

    names: Annotated[tuple[Name, ...], Limit(16_384)]


class RemoveXattr(NamedTuple):
    """Remove an extended attribute."""

    ino: U64
    name: Name


class MakeInode(NamedTuple):
    """Between nodes: make a directory's inode in the group addressed."""

    parent: U64
    mode: U16
    uid: U32
    gid: U32
    fanout: U16
    quota: U64 = 0  # of the parent


class ChangeLinks(NamedTuple):
    """Between nodes: the inode gets a name in another group. The reply is an AttributesReply."""

    ino: U64
    token: U64  # it counts once, however often it comes
    quota: U64 = 0  # of the directory that gets the name; EXDEV if the inode has another


class SettleLinks(NamedTuple):
    """Between nodes: the name with this token was made, or it is not counted any more."""

    ino: U64
    token: U64
    keep: Bool


class DropInode(NamedTuple):
    """Between nodes: remove a directory's inode if it is empty; done already counts as done."""

    ino: U64


# ---------------------------------------------------------------- open files
#
# A session holds an inode open under the greatest number that it was opened with. Numbers are
# the session's own and grow with each open, so that a release that was overtaken by another open
# releases nothing.


class HoldRecord(NamedTuple):
    """An inode that a session holds open."""

    ino: U64
    number: U64
    writes: Bool


class OpenInode(NamedTuple):
    """Hold an inode open that was found by number: to its home group, as `hold` of Open."""

    ino: U64
    hold: U64
    writes: Bool
    wanted: U8 = 0  # as of Open


class AccessReply(NamedTuple):
    """The inode, and a capability for what was wanted, as in OpenReply."""

    attributes: Attributes
    capability: Token


class Release(NamedTuple):
    """To a node: the session's last handles of these inodes are closed.

    `spilled`: those among them that may have chunks beyond the size that was reported.
    """

    holds: Annotated[tuple[HoldRecord, ...], Limit(4096)]
    spilled: Annotated[tuple[U64, ...], Limit(4096)] = ()


class LockRecord(NamedTuple):
    """A lock that a session has."""

    ino: U64
    handle: U64  # the open file that it belongs to: a number that the session gave it
    whole: Bool  # the lock of the file as such (flock), beside those of byte ranges
    exclusive: Bool
    start: U64
    end: U64


class Renew(NamedTuple):
    """To a node: the session lives.

    `holds` and `locks`: all it has there, when they did not agree.
    """

    settled: U64  # no open with a number up to this one is under way
    held: U32  # inodes held there under such numbers
    holds: Annotated[tuple[HoldRecord, ...], Limit(32_768)] | None
    locks: Annotated[tuple[LockRecord, ...], Limit(8_192)]


class RenewReply(NamedTuple):
    """`agreed`: node and session hold the same to be open; else all is to be sent."""

    agreed: Bool
    gone: Annotated[tuple[U64, ...], Limit(32_768)]  # what was sent, and is no more
    unlocked: Annotated[tuple[U64, ...], Limit(8_192)]  # where locks that were sent are lost


class Lock(NamedTuple):
    """To the home group: lock bytes from `start` up to `end`. Repeats do no harm."""

    ino: U64
    handle: U64
    whole: Bool
    exclusive: Bool
    start: U64
    end: U64  # 2^63: the end of the file, however it grows
    number: U64  # grows with each Lock and Unlock of the session
    wait_ms: U32  # 0: do not wait. In vain: EAGAIN


class Unlock(NamedTuple):
    """To the home group: unlock them. A Lock with a lower number that comes later is refused."""

    ino: U64
    handle: U64
    whole: Bool
    start: U64
    end: U64
    number: U64


class ReserveEnd(NamedTuple):
    """To the home group: make the file `length` bytes longer, for the caller to write there."""

    ino: U64
    length: U64


class ReserveEndReply(NamedTuple):
    """The bytes from `offset` on are the caller's, as long as the truncation epoch holds."""

    offset: U64
    attributes: Attributes


# ------------------------------------- between groups: changes that concern several of them
#
# The group of the entry that goes drives a change, known by its token. The others prepare their
# parts, then that group commits in one transaction and tells them to conclude. Whoever has
# prepared something and hears no more asks it; what it does not know was given up.


class UserRecord(NamedTuple):
    """On whose behalf a node asks another one."""

    uid: U32
    gid: U32
    groups: Annotated[tuple[U32, ...], Limit(256)]  # supplementary groups


class PrepareName(NamedTuple):
    """Hold a name for an inode: look-ups of it wait until the change is concluded."""

    token: Token
    coordinator: U16  # the group that drives the change
    parent: U64
    name: Name
    ino: U64  # what the name is to stand for
    type: U8
    fanout: U16
    how: U8  # RenameHow
    user: UserRecord | None  # who renames, and may he? nil: the superuser


class PreparedName(NamedTuple):
    """What the name stands for now; if that is the inode asked for, nothing was prepared."""

    ino: U64  # 0: nothing
    type: U8
    fanout: U16
    quota: U64 = 0  # of the directory


class PrepareParent(NamedTuple):
    """Get ready to note a directory's new parent, in the directory's home group."""

    token: Token
    coordinator: U16
    ino: U64
    parent: U64
    user: UserRecord | None  # who has to have write permission for it; nil: the superuser


class SealDirectory(NamedTuple):
    """Let nothing be made in an empty directory, which is to go; to each of its parts."""

    token: Token
    coordinator: U16
    ino: U64


class SealedDirectory(NamedTuple):
    """The other groups that have parts of it: no more can come. From the home group only."""

    groups: Annotated[tuple[U16, ...], Limit(65_535)]


class RegisterPart(NamedTuple):
    """Before the first entry of a directory in a group; to the directory's home group."""

    ino: U64
    group: U16


class GetPart(NamedTuple):
    """A directory's attributes with the entries and the times of one part; ENOENT: none yet."""

    ino: U64


class SetPart(NamedTuple):
    """Rights of a directory changed: a part notes them, unless it knows newer ones."""

    attributes: Attributes


class LockMoves(NamedTuple):
    """Wait for the turn to move a directory, and refuse loops; to the home group of the root."""

    token: Token
    coordinator: U16
    ino: U64
    parent: U64  # the new one
    other_ino: U64  # of an exchange: the other directory; 0: none
    other_parent: U64


class Conclude(NamedTuple):
    """Carry out what was prepared under a token, or undo it. Done already counts as done."""

    token: Token
    commit: Bool  # false also when it is over, for what is kept until then


class GetOutcome(NamedTuple):
    """What became of the change that a group drives."""

    token: Token


class OutcomeReply(NamedTuple):
    """The outcome as it is now."""

    outcome: U8  # Outcome


class DropLink(NamedTuple):
    """Take one name from an inode that lives in this group; once for each token."""

    token: Token
    coordinator: U16
    ino: U64


class PrepareQuota(NamedTuple):
    """Get ready to count a file or an empty directory to another quota; EXDEV for all else."""

    token: Token
    coordinator: U16
    ino: U64
    quota: U64  # 0: none


# ---------------------------------------------------------------- quotas
#
# A quota is known by the inode of the directory that it was set on, and kept in that directory's
# home group. The groups of the inodes that count to it are granted allowances.


class SetQuota(NamedTuple):
    """To the directory's home group: limit what is made below it from now on."""

    ino: U64
    path: Path  # of the directory, as texts are to call it
    bytes: U64  # 2^63 - 1: no limit
    inodes: U64  # 2^63 - 1: no limit
    marked: Bool  # what was there before counts to it by now


class GetQuota(NamedTuple):
    """To the directory's home group: the quota and its use, asked of all nodes; ENOENT."""

    ino: U64
    recount: Bool  # have the nodes count their inodes anew


class QuotaReply(NamedTuple):
    """A quota. `exact`: every node has answered; else what it may use counts as used."""

    ino: U64
    path: Path
    bytes: U64
    inodes: U64
    marked: Bool
    used_bytes: U64
    used_inodes: U64
    exact: Bool


class ClearQuota(NamedTuple):
    """To the directory's home group: from now on nothing is limited. Done already is done."""

    ino: U64


class MarkInodes(NamedTuple):
    """To a home group: these inodes count to this quota; what is gone is passed over."""

    inos: Annotated[tuple[U64, ...], Limit(1024)]
    quota: U64  # 0: none


class MarkInodesReply(NamedTuple):
    """Directories among them that have a quota of their own, and keep it."""

    own: Annotated[tuple[U64, ...], Limit(1024)]


class GrantAllowance(NamedTuple):
    """Between nodes, to the quota's group: `group` uses so much, and asks for so much more.

    It may use no more than it says until it is answered. EDQUOT.
    """

    quota: U64
    group: U16
    number: U64  # grows with all that the group says about this quota
    used_bytes: U64
    used_inodes: U64
    more_bytes: U64
    more_inodes: U64


class GrantAllowanceReply(NamedTuple):
    """What the group may use in all; void if the group has said something later, `number`."""

    number: U64
    bytes: U64
    inodes: U64


class RecallAllowances(NamedTuple):
    """Between nodes, to a node as such: give back what the groups it leads do not use."""

    quota: U64
    groups: Annotated[tuple[U16, ...], Limit(65_535)]  # tell of these, also if they use nothing
    recount: Bool


class UsageRecord(NamedTuple):
    """What the inodes of a group use of a quota, and with it all that it may use."""

    group: U16
    number: U64
    bytes: U64
    inodes: U64


class RecallAllowancesReply(NamedTuple):
    """Of all groups that the node leads, but those that are asking for more just now."""

    usages: Annotated[tuple[UsageRecord, ...], Limit(65_535)]


# ---------------------------------------------------------------- chunks: to the group of the chunk


class Present(NamedTuple):
    """To a node as such: this session may read or write the chunks of this file."""

    ino: U64
    capability: Token


class ReadChunk(NamedTuple):
    """Bytes of a chunk; the payload of the reply ends where the chunk's bytes end."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    offset: U32
    length: U32


class ReadChunkReply(NamedTuple):
    """`checks`: xxh3_64 of each piece of the payload, cut at absolute 64 KiB blocks."""

    version: U64  # changes with every write to the chunk; 0: there is no chunk (a hole)
    checks: Blob


class WriteChunk(NamedTuple):
    """The payload belongs at `offset` of the chunk; `checks` as in ReadChunkReply."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    checks: Blob


class WriteChunkReply(NamedTuple):
    """The chunk's version after the write."""

    version: U64


class SyncFile(NamedTuple):
    """Make the acknowledged bytes of a file on this node as durable as the mode promises."""

    ino: U64


class CutFile(NamedTuple):
    """Between nodes: cut a file's chunks on this node to `size`, under a new epoch."""

    ino: U64
    truncation: U32
    size: U64
    chunk_size: U32


class PurgeFiles(NamedTuple):
    """Between nodes: remove all chunks of these inodes from this node."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]


class FileEnd(NamedTuple):
    """Between nodes: how far a file's chunks on this node reach."""

    ino: U64
    chunk_size: U32


class FileEndReply(NamedTuple):
    """`end` holds in this truncation epoch only."""

    truncation: U32
    end: U64


class MapData(NamedTuple):
    """To a node: where in a file, from `offset` on, it has data. What it has not is a hole."""

    ino: U64
    chunk_size: U32
    offset: U64


class ExtentRecord(NamedTuple):
    """Bytes of a file from `start` up to `end`."""

    start: U64
    end: U64


class MapDataReply(NamedTuple):
    """Ascending. It says nothing about bytes from `until` on: ask again from there."""

    extents: Annotated[tuple[ExtentRecord, ...], Limit(32_768)]
    until: U64


class AllocateChunk(NamedTuple):
    """Have space for these bytes of a chunk, so that writing there does not fail for want of it."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32


class PunchChunk(NamedTuple):
    """Make these bytes of a chunk a hole. Its length stays."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32


class CopyChunk(NamedTuple):
    """Write bytes that another chunk has, or zeros where it has none: the node fetches them."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32
    source_group: U16
    source_ino: U64
    source_index: U32
    source_offset: U32


class LendChunk(NamedTuple):
    """Same host: pass the chunk file's descriptor, read-only, with this reply."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index


class LendChunkReply(NamedTuple):
    """The loan is good while the board's cell `cell` still holds `stamp`."""

    cell: U32
    stamp: U64
    version: U64
    length: U32  # bytes of the chunk; what is missing to its end is a hole
    checks: Blob  # of the whole blocks, the last one to `length`


class LendBoard(NamedTuple):
    """Same host: pass the descriptor of the node's board of loans with this reply."""


class LendBoardReply(NamedTuple):
    """The board: an array of u64 cells, each changed before the chunk lent under it changes."""

    cells: U32


# ------------------------------------------------------- checking: for the superuser only


class RepairHow(IntEnum):
    """What REPAIR does, if it is still needed: to the group of the row that changes."""

    REMOVE_ENTRY = 1  # parent, name, ino: the inode, or the directory, is gone
    REMOVE_DIRECTORY = 2  # ino: it has no name and is empty
    REMOVE_FILE = 3  # ino: it has neither names nor links, and nobody has it open
    SET_LINKS = 4  # ino: `value` names lead to it
    SET_PARENT = 5  # ino: `parent` has the directory's name
    ADD_ENTRY = 6  # parent, name, ino: to be found there
    COUNT_ENTRIES = 7  # ino: the count in this group is what is there
    REMOVE_PART = 8  # ino: the directory is gone
    REGISTER_PART = 9  # ino: the directory does not know of this group's part
    SET_SIZE = 10  # ino: `value` bytes arrived at the nodes
    PURGE_CHUNKS = 11  # ino: it is gone


class ListInodes(NamedTuple):
    """The inodes at home in the group, by number, of which number modulo `shares` is `share`."""

    after: U64  # the last one of the page before; 0: from the first
    share: U32
    shares: U32


class SurveyedInode(NamedTuple):
    """An inode as a check needs it."""

    attributes: Attributes
    open: Bool  # somebody has it open, or may have
    pending: Bool  # something about it is unfinished


class ListInodesReply(NamedTuple):
    """A page of inodes. Of rows that fail their check there are only the keys."""

    inodes: Annotated[tuple[SurveyedInode, ...], Limit(4096)]
    damaged: Annotated[tuple[Name, ...], Limit(4096)]
    next: U64  # `after` of the next page; 0: this was the last
    time_ns: I64  # the node's wall clock


class ListParts(NamedTuple):
    """The group's parts of directories at home elsewhere, by number."""

    after: U64
    share: U32  # as in ListInodes
    shares: U32


class ListEntries(NamedTuple):
    """The group's entries, by directory and name, whose inode or directory is of the share."""

    parent: U64  # with `after`: the last entry of the page before; 0: from the first
    after: Name
    share: U32  # as in ListInodes
    shares: U32


class SurveyedEntry(NamedTuple):
    """An entry as a check needs it."""

    parent: U64
    name: Name
    ino: U64
    type: U8
    lost: Bool  # this group has neither the directory nor a part of it
    held: Bool  # a rename or a removal of it is under way


class ListEntriesReply(NamedTuple):
    """A page of entries."""

    entries: Annotated[tuple[SurveyedEntry, ...], Limit(4096)]
    damaged: Annotated[tuple[Blob, ...], Limit(4096)]  # keys of rows that fail their check
    more: Bool
    parent: U64  # the next page is after this one
    after: Name


class ListChunks(NamedTuple):
    """The node's chunks, in whatever groups, by group, inode and number."""

    group: U16
    ino: U64  # with `chunk`: the last one of the page before; 0: from the group's first
    chunk: U32
    share: U32  # of inodes; as in ListInodes
    shares: U32


class SurveyedChunk(NamedTuple):
    """A chunk as a check needs it."""

    group: U16
    ino: U64
    chunk: U32
    length: U32
    truncation: U32  # the file's truncation epoch when it was last changed


class ListChunksReply(NamedTuple):
    """A page of chunks."""

    chunks: Annotated[tuple[SurveyedChunk, ...], Limit(4096)]
    damaged: Annotated[tuple[Name, ...], Limit(4096)]  # keys of records that fail their check
    more: Bool
    group: U16  # the next page is after this one
    ino: U64
    chunk: U32


class ListPending(NamedTuple):
    """What was begun in the group and is not finished."""

    after: Token  # the mark of the last one of the page before; empty: from the first


class PendingRecord(NamedTuple):
    """One of them."""

    kind: Text
    ino: U64  # what it is about
    mark: Token  # of no other in the cluster, now or later


class ListPendingReply(NamedTuple):
    """A page of them."""

    pending: Annotated[tuple[PendingRecord, ...], Limit(4096)]
    more: Bool


class ExamineInode(NamedTuple):
    """An inode at home in the group, or the group's part of a directory."""

    ino: U64
    counting: Bool  # count the entries in this group: 0.2 µs each


class ExamineInodeReply(NamedTuple):
    """What there is of it."""

    inode: SurveyedInode | None
    purging: Bool  # it is gone, and its chunks are being removed
    counted: U64
    parts: Annotated[tuple[U16, ...], Limit(4096)]  # groups that may have parts of it


class ExamineEntry(NamedTuple):
    """One entry."""

    parent: U64
    name: Name


class ExamineEntryReply(NamedTuple):
    """It, if it is there."""

    entry: SurveyedEntry | None


class FindEntries(NamedTuple):
    """The group's entries of these inodes, in one directory or (0) in all. Looks at each row."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]
    within: U64
    parent: U64  # with `after`: as in ListEntries
    after: Name


class VerifyChunks(NamedTuple):
    """Hold the node's next chunks, by group, inode and number, against their checks."""

    group: U16
    ino: U64  # as in ListChunks
    chunk: U32
    most: U32  # bytes: stop after these; at least one chunk is verified


class DamageRecord(NamedTuple):
    """Bytes that do not match their check, or cannot be read."""

    group: U16
    ino: U64
    chunk: U32
    offset: U32  # in the chunk
    length: U32  # 0: its record is damaged


class VerifyChunksReply(NamedTuple):
    """What was verified."""

    chunks: U32
    verified: U64  # bytes
    damaged: Annotated[tuple[DamageRecord, ...], Limit(4096)]
    more: Bool
    group: U16  # go on after this one
    ino: U64
    chunk: U32


class Repair(NamedTuple):
    """Put one thing right, unless it was changed since."""

    how: U8  # RepairHow
    ino: U64
    parent: U64
    name: Name
    value: U64
    change: U64  # of the inode when it was looked at, where that matters


class RepairReply(NamedTuple):
    """Whether it was done: not if what was wrong is so no longer."""

    done: Bool


class Operation(NamedTuple):
    """One operation: its number, its request and its reply."""

    op: Op
    request: type
    reply: type
    mutates: bool  # carries a slot and a sequence, and is executed exactly once


def _table(*rows: Operation) -> dict[int, Operation]:
    return {int(row.op): row for row in rows}


OPERATIONS = _table(
    Operation(Op.HELLO, Hello, HelloReply, False),
    Operation(Op.PROVE, Prove, Welcome, False),
    Operation(Op.GET_MAP, GetMap, MapReply, False),
    Operation(Op.GET_STATUS, GetStatus, StatusReply, False),
    Operation(Op.LOOKUP, Lookup, LookupReply, False),
    Operation(Op.OPEN, Open, OpenReply, True),
    Operation(Op.MAKE_DIRECTORY, MakeDirectory, AttributesReply, True),
    Operation(Op.UNLINK, Unlink, Empty, True),
    Operation(Op.REMOVE_DIRECTORY, RemoveDirectory, Empty, True),
    Operation(Op.RENAME, Rename, Empty, True),
    Operation(Op.READ_DIRECTORY, ReadDirectory, ReadDirectoryReply, False),
    Operation(Op.GET_PARTS, GetParts, PartsReply, False),
    Operation(Op.GET_ATTRIBUTES, GetAttributes, AttributesReply, False),
    Operation(Op.GET_MANY_ATTRIBUTES, GetManyAttributes, ManyAttributesReply, False),
    Operation(Op.SET_ATTRIBUTES, SetAttributes, AttributesReply, True),
    Operation(Op.RECORD_READS, RecordReads, Empty, False),  # a maximum: repeats do no harm
    Operation(Op.CHECK_ACCESS, CheckAccess, AttributesReply, False),
    Operation(Op.MAKE_SYMLINK, MakeSymlink, AttributesReply, True),
    Operation(Op.READ_LINK, ReadLink, ReadLinkReply, False),
    Operation(Op.MAKE_SPECIAL, MakeSpecial, AttributesReply, True),
    Operation(Op.LINK, Link, AttributesReply, True),
    Operation(Op.CHANGE_LINKS, ChangeLinks, AttributesReply, False),  # a token: as good as a slot
    Operation(Op.SETTLE_LINKS, SettleLinks, Empty, False),
    Operation(Op.GET_XATTR, GetXattr, XattrReply, False),
    Operation(Op.SET_XATTR, SetXattr, Empty, True),
    Operation(Op.LIST_XATTRS, ListXattrs, ListXattrsReply, False),
    Operation(Op.REMOVE_XATTR, RemoveXattr, Empty, True),
    Operation(Op.PRESENT, Present, Empty, False),
    Operation(Op.REPORT_SIZE, ReportSize, AttributesReply, False),  # a maximum: repeats do no harm
    Operation(Op.TRUNCATE, Truncate, AttributesReply, True),
    Operation(Op.MAKE_INODE, MakeInode, AttributesReply, True),
    Operation(Op.DROP_INODE, DropInode, Empty, True),
    # known by their tokens: repeats do no harm
    Operation(Op.PREPARE_NAME, PrepareName, PreparedName, False),
    Operation(Op.PREPARE_PARENT, PrepareParent, Empty, False),
    Operation(Op.SEAL_DIRECTORY, SealDirectory, SealedDirectory, False),
    Operation(Op.REGISTER_PART, RegisterPart, AttributesReply, False),
    Operation(Op.LOCK_MOVES, LockMoves, Empty, False),
    Operation(Op.CONCLUDE, Conclude, Empty, False),
    Operation(Op.GET_OUTCOME, GetOutcome, OutcomeReply, False),
    Operation(Op.DROP_LINK, DropLink, Empty, False),
    Operation(Op.GET_PART, GetPart, AttributesReply, False),
    Operation(Op.SET_PART, SetPart, Empty, False),
    Operation(Op.SET_QUOTA, SetQuota, QuotaReply, False),  # absolute: repeats do no harm
    Operation(Op.GET_QUOTA, GetQuota, QuotaReply, False),
    Operation(Op.CLEAR_QUOTA, ClearQuota, Empty, False),
    Operation(Op.MARK_INODES, MarkInodes, MarkInodesReply, False),
    Operation(Op.GRANT_ALLOWANCE, GrantAllowance, GrantAllowanceReply, False),  # a number
    Operation(Op.RECALL_ALLOWANCES, RecallAllowances, RecallAllowancesReply, False),
    Operation(Op.PREPARE_QUOTA, PrepareQuota, Empty, False),
    Operation(Op.READ_CHUNK, ReadChunk, ReadChunkReply, False),
    Operation(Op.WRITE_CHUNK, WriteChunk, WriteChunkReply, True),
    Operation(Op.SYNC_FILE, SyncFile, Empty, False),
    Operation(Op.CUT_FILE, CutFile, Empty, False),  # an epoch: repeats do no harm
    Operation(Op.PURGE_FILES, PurgeFiles, Empty, False),
    Operation(Op.LEND_CHUNK, LendChunk, LendChunkReply, False),
    Operation(Op.LEND_BOARD, LendBoard, LendBoardReply, False),
    Operation(Op.OPEN_INODE, OpenInode, AccessReply, False),  # a number: repeats do no harm
    Operation(Op.RELEASE, Release, Empty, False),
    Operation(Op.RENEW, Renew, RenewReply, False),
    Operation(Op.RESERVE_END, ReserveEnd, ReserveEndReply, True),
    Operation(Op.LOCK, Lock, Empty, False),
    Operation(Op.UNLOCK, Unlock, Empty, False),
    Operation(Op.FILE_END, FileEnd, FileEndReply, False),
    Operation(Op.MAP_DATA, MapData, MapDataReply, False),
    Operation(Op.ALLOCATE_CHUNK, AllocateChunk, WriteChunkReply, True),
    Operation(Op.PUNCH_CHUNK, PunchChunk, WriteChunkReply, True),
    Operation(Op.COPY_CHUNK, CopyChunk, WriteChunkReply, True),
    Operation(Op.LIST_INODES, ListInodes, ListInodesReply, False),
    Operation(Op.LIST_PARTS, ListParts, ListInodesReply, False),
    Operation(Op.LIST_ENTRIES, ListEntries, ListEntriesReply, False),
    Operation(Op.LIST_CHUNKS, ListChunks, ListChunksReply, False),
    Operation(Op.LIST_PENDING, ListPending, ListPendingReply, False),
    Operation(Op.EXAMINE_INODE, ExamineInode, ExamineInodeReply, False),
    Operation(Op.EXAMINE_ENTRY, ExamineEntry, ExamineEntryReply, False),
    Operation(Op.FIND_ENTRIES, FindEntries, ListEntriesReply, False),
    Operation(Op.VERIFY_CHUNKS, VerifyChunks, VerifyChunksReply, False),
    Operation(Op.REPAIR, Repair, RepairReply, False),  # looks before it acts
)
BY_REQUEST: dict[type, Operation] = {row.request: row for row in OPERATIONS.values()}

LENDING = frozenset({int(Op.LEND_CHUNK), int(Op.LEND_BOARD)})
"""Operations whose replies take a descriptor along."""
