"""The numbers of operations and of errors. A number is never reused for something else.

Numbers that are told apart by subject (what a rename does, what a repair does) stand with it.
"""

from __future__ import annotations

from enum import IntEnum


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
    WRITE_EXTENTS = 57
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
