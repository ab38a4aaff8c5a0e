"""What a group has promised to changes that concern several groups: holds, kept over crashes.

The group of the entry that goes drives such a change: it writes a `Move` with its first
transaction and commits it with the one that takes the entry away. The others write a `Prepared`
before they answer, and keep it until they are told the outcome, or have asked for it. Meanwhile
names are held and directories sealed: who needs them raises `Held` and tries again after the
release. The rows are authoritative; what is in memory is an index of them.
"""

from __future__ import annotations

import typing
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

import msgpack

from benchfs.inode import FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, Outcome
from benchfsd.rows import Kind, Rows, kind_prefix

TOKEN_BYTES = 16


class Role(IntEnum):
    """What was prepared. Stored."""

    NAME = 1  # a name is held for an inode
    DIRECTORY = 2  # an empty directory is sealed
    PARENT = 4  # a directory is about to get another parent
    MOVES = 5  # nobody else may move directories
    DROPPED = 6  # a name was taken from an inode: not to be done again
    QUOTA = 7  # an inode is about to count to another quota


# What is kept until the change is over for everybody, however it ended.
_TO_THE_END = frozenset({Role.MOVES, Role.DROPPED})


class Prepared(NamedTuple):
    """A promise. (token, role, ino) is unique in its group."""

    token: bytes
    role: Role
    coordinator: int  # the group to ask for the outcome
    ino: int  # NAME: what the name is to stand for; else the inode it is about
    type: int = 0  # NAME: of the inode
    fanout: int = 0  # NAME: of the inode
    parent: int = 0  # NAME: the directory; PARENT: the new parent; QUOTA: the new quota
    name: bytes = b""
    exchange: bool = False  # NAME: what has the name gets the other one
    size: int = 0  # QUOTA: bytes that count to the new one already


class Move(NamedTuple):
    """A change as the group sees it that drives it."""

    token: bytes
    committed: bool = False
    parent: int = 0  # the entry that goes, until it is committed
    name: bytes = b""
    groups: tuple[int, ...] = ()  # committed: who is to be told
    moves: bool = False  # committed: a directory was moved
    drop: int = 0  # committed: an inode of another group that lost a name here


class Held(RemoteError):
    """Somebody else is changing this: NOT_READY, until `token` is released in `group`."""

    def __init__(self, group: int, token: bytes, text: str, name: bytes = b"") -> None:
        super().__init__(Code.NOT_READY, text, name)
        self.group = group
        self.token = token


class Holds:
    """The promises of one group."""

    __slots__ = (
        *("_arriving", "_group", "_moves", "_prepared", "_rows", "_waiting"),
        *("mover", "names", "version", "sealed"),
    )

    def __init__(self, group: int, rows: Rows) -> None:
        self._group = group
        self._rows = rows
        self._moves: dict[bytes, Move] = {}
        self._prepared: dict[bytes, list[Prepared]] = {}  # by token
        self._arriving: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        self._waiting: dict[bytes, list[Callable[[], None]]] = {}
        # (directory, name) -> token: what is about to go or to come. Empty nearly always, which
        # is what operations on names look at first.
        self.names: dict[tuple[int, bytes], bytes] = {}
        self.sealed: dict[int, bytes] = {}  # directory -> token
        self.version = 0  # of what a registration under way must not have missed
        self.mover: bytes | None = None
        for _, value in rows.scan(kind_prefix(group, Kind.MOVE)):
            self._index_move(_decode_move(value))
        for _, value in rows.scan(kind_prefix(group, Kind.PREPARED)):
            self._index_prepared(_decode_prepared(value))

    # ------------------------------------------------------------------------- asking

    def require_visible(self, parent: int, name: bytes) -> None:
        """Raise Held while it is open whether something is about to come to this name."""
        token = self._arriving[parent].get(name) if parent in self._arriving else None
        if token is not None:
            raise Held(self._group, token, "something is being renamed to this name", name)

    def require_free(self, parent: int, name: bytes) -> None:
        """Raise Held while the name is part of somebody else's change."""
        token = self.names.get((parent, name))
        if token is not None:
            raise Held(self._group, token, "this name is being changed: try again", name)

    def require_unsealed(self, ino: int, name: bytes = b"") -> None:
        """Raise Held while the directory is being removed or replaced."""
        token = self.sealed.get(ino)
        if token is not None:
            raise Held(self._group, token, f"directory {ino:#x} is being removed", name)

    def require_no_arrivals(self, ino: int, name: bytes = b"") -> None:
        """Raise Held while something is about to come to a name of this directory."""
        for token in self._arriving.get(ino, {}).values():
            raise Held(self._group, token, f"something is coming to directory {ino:#x}", name)

    def arriving(self, ino: int) -> set[bytes]:
        """The tokens under which names of this directory are held for what is to come."""
        return set(self._arriving.get(ino, {}).values())

    def prepared(self, token: bytes, role: Role | None = None) -> list[Prepared]:
        """What is promised under a token, or what of it has this role."""
        return [p for p in self._prepared.get(token, ()) if role is None or p.role is role]

    def all_prepared(self) -> list[Prepared]:
        """All promises, for the recovery."""
        return [prepared for held in self._prepared.values() for prepared in held]

    def move(self, token: bytes) -> Move | None:
        """The change that this group drives under a token."""
        return self._moves.get(token)

    def moves(self) -> list[Move]:
        """All changes that this group drives, for the recovery."""
        return list(self._moves.values())

    def outcome(self, token: bytes) -> Outcome:
        """What became of a change that this group drives, or drove."""
        move = self._moves.get(token)
        if move is None:
            return Outcome.UNKNOWN
        return Outcome.COMMITTED if move.committed else Outcome.PENDING

    def when_released(self, token: bytes, callback: Callable[[], None]) -> None:
        """Call back when something under this token is released; at once if nothing is held."""
        if token in self._prepared or token in self._moves:
            self._waiting.setdefault(token, []).append(callback)
        else:
            callback()

    # ------------------------------------------------------------------------ changing

    def put_move(self, move: Move) -> None:
        """Write a change down as it is now. Committed, it holds its name no longer."""
        self._rows.put(_move_key(self._group, move.token), _encode_move(move))
        known = self._moves.get(move.token)
        self._index_move(move)
        if known is not None and move.committed:
            self._release(move.token)

    def forget_move(self, token: bytes) -> None:
        """The change was given up, or is carried out everywhere."""
        move = self._moves.pop(token, None)
        if move is not None:
            self._rows.delete(_move_key(self._group, token))
            self._free_name(move.parent, move.name, token)
            self._release(token)

    def prepare(self, prepared: Prepared) -> None:
        """Write a promise down. Twice is once."""
        if prepared not in self._prepared.get(prepared.token, ()):
            self._rows.put(_prepared_key(self._group, prepared), _encode_prepared(prepared))
            self._index_prepared(prepared)

    def conclude(self, token: bytes, *, commit: bool) -> list[Prepared]:
        """Take back what was promised under a token, and return it.

        With `commit`, what is to be kept until the change is over for everybody stays.
        """
        held = self._prepared.pop(token, [])
        stay = [one for one in held if commit and one.role in _TO_THE_END]
        if stay:
            self._prepared[token] = stay
        concluded = [one for one in held if one not in stay]
        for prepared in concluded:
            self._rows.delete(_prepared_key(self._group, prepared))
            if prepared.role is Role.NAME:
                self._free_name(prepared.parent, prepared.name, token)
                arriving = self._arriving[prepared.parent]
                arriving.pop(prepared.name, None)
                if not arriving:
                    del self._arriving[prepared.parent]
            elif _seals(prepared):
                self.sealed.pop(prepared.ino, None)
                self.version += 1
            elif prepared.role is Role.MOVES:
                self.mover = None
        if concluded:
            self._release(token)
        return concluded

    # -------------------------------------------------------------------------- inside

    def _index_move(self, move: Move) -> None:
        self._moves[move.token] = move
        if move.committed:
            self._free_name(move.parent, move.name, move.token)
        else:
            self.names[move.parent, move.name] = move.token

    def _index_prepared(self, prepared: Prepared) -> None:
        self._prepared.setdefault(prepared.token, []).append(prepared)
        if prepared.role is Role.NAME:
            self.names[prepared.parent, prepared.name] = prepared.token
            self._arriving[prepared.parent][prepared.name] = prepared.token
        elif _seals(prepared):
            self.sealed[prepared.ino] = prepared.token
        elif prepared.role is Role.MOVES:
            self.mover = prepared.token

    def _free_name(self, parent: int, name: bytes, token: bytes) -> None:
        if self.names.get((parent, name)) == token:  # else somebody else holds it by now
            del self.names[parent, name]

    def _release(self, token: bytes) -> None:
        for callback in self._waiting.pop(token, ()):
            callback()


def _seals(prepared: Prepared) -> bool:
    """Whether nothing may be made in a directory meanwhile."""
    moves = prepared.role is Role.QUOTA and prepared.type == FileType.DIRECTORY
    return moves or prepared.role is Role.DIRECTORY


def _move_key(group: int, token: bytes) -> bytes:
    return kind_prefix(group, Kind.MOVE) + token


def _prepared_key(group: int, prepared: Prepared) -> bytes:
    prefix = kind_prefix(group, Kind.PREPARED) + prepared.token
    return prefix + bytes([prepared.role]) + prepared.ino.to_bytes(8, "big")


def _encode_move(move: Move) -> bytes:
    packed: bytes = msgpack.packb(move)
    return packed


def _decode_move(value: bytes) -> Move:
    token, committed, parent, name, groups, moves, drop = _unpack(value)
    return Move(token, committed, parent, name, tuple(groups), moves, drop)


def _encode_prepared(prepared: Prepared) -> bytes:
    packed: bytes = msgpack.packb(prepared)
    return packed


def _decode_prepared(value: bytes) -> Prepared:
    token, role, *rest = _unpack(value)
    return Prepared(token, Role(role), *rest)


def _unpack(value: bytes) -> Iterable[typing.Any]:
    fields: list[typing.Any] = msgpack.unpackb(value)
    return fields
