"""Typed messages over MessagePack: one declaration gives encoding, checked decoding and docs.

A message is a NamedTuple whose fields are annotated with the types below; it travels as an
array of its fields. Decoding checks the type and the range of every field, and nothing else
is ever built from a peer's bytes. The decoder of a class is compiled once from its
declaration, as `dataclasses` does: checking fields in a loop cost 2.1 µs a message, the
compiled form 0.5 µs (eight integers and one name).
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeVar

import msgpack

from benchfs.rpc.errors import ProtocolError

Record = TypeVar("Record", bound=tuple[object, ...])
Second = TypeVar("Second", bound=tuple[object, ...])
Decoder = Callable[[object], tuple[object, ...]]

_decoders: dict[type, Decoder] = {}

# A NamedTuple made by `build(Record, (a, b))` takes 0.1 µs, by `Record(a, b)` 0.25: hot paths
# that make one per frame or call use this. The values are all given, in the fields' order.
build = tuple.__new__
_unpackb = msgpack.unpackb

# `unpackb` reserves room for what an array announces, by default for as many items as the body
# has bytes. Nested arrays in a longer body announce no more than this.
ITEMS_MOST = 65_536


class Range(NamedTuple):
    """An integer's least and greatest value, both allowed."""

    least: int
    greatest: int


class Limit(NamedTuple):
    """The greatest length: of bytes in bytes, of text in characters, of a list in items."""

    length: int


Bool = bool
U8 = Annotated[int, Range(0, 2**8 - 1)]
U16 = Annotated[int, Range(0, 2**16 - 1)]
U32 = Annotated[int, Range(0, 2**32 - 1)]
U64 = Annotated[int, Range(0, 2**64 - 1)]
I64 = Annotated[int, Range(-(2**63), 2**63 - 1)]
Text = Annotated[str, Limit(1024)]
Name = Annotated[bytes, Limit(255)]
Path = Annotated[bytes, Limit(4096)]
Token = Annotated[bytes, Limit(64)]
Blob = Annotated[bytes, Limit(900_000)]


def unpack(body: bytes | bytearray | memoryview) -> list[object]:
    """Decode a body: an array, with every limit set. Raises ProtocolError."""
    try:
        # One per frame: every further keyword costs 0.05 µs of 0.3, so the defaults are unsaid.
        if len(body) <= ITEMS_MOST:
            value = _unpackb(body, max_map_len=0, max_ext_len=0)
        else:
            value = _unpackb(body, max_map_len=0, max_ext_len=0, max_array_len=ITEMS_MOST)
    except (ValueError, msgpack.UnpackException) as exc:
        raise ProtocolError(f"the body is not valid MessagePack: {exc}") from None
    if type(value) is not list or not value:
        raise ProtocolError("the body is not a MessagePack array that starts with an operation")
    return value


def decoder(record: type[Record]) -> Callable[[object], Record]:
    """The checked decoder of a NamedTuple class, compiled at first use."""
    found = _decoders.get(record)
    if found is None:
        found = _decoders[record] = _compile((record,))
    # Quoted: building the type at every call took 2.0 µs, more than all the rest of it.
    return typing.cast("Callable[[object], Record]", found)


def decoder_behind(record: type[Record], skipped: int) -> Callable[[object], Record]:
    """A decoder of arrays whose first `skipped` values are the caller's to look at."""
    return typing.cast("Callable[[object], Record]", _compile((record,), skipped))


def decoder_of_both(
    first: type[Record], second: type[Second]
) -> Callable[[object], tuple[Record, Second]]:
    """A decoder of arrays that hold the fields of `first` and then those of `second`.

    One pass takes 0.8 µs where two decoders on two slices of the array take 1.4.
    """
    both = _compile((first, second))
    return typing.cast("Callable[[object], tuple[Record, Second]]", both)


def _compile(records: tuple[type, ...], skipped: int = 0) -> Decoder:
    """Compile the decoder of arrays of `skipped` values and then the fields of `records`.

    It returns the record; of several, the tuple of them.
    """
    scope: dict[str, object] = {"ProtocolError": ProtocolError, "build": build}
    values = ["_"] * skipped
    checks, built = [], []
    for number, record in enumerate(records):
        hints = typing.get_type_hints(record, include_extras=True)
        scope[f"record{number}"] = record
        fields = []
        for name in getattr(record, "_fields"):  # noqa: B009 (a NamedTuple class, untyped here)
            value = f"v{len(values)}"
            values.append(value)
            check, convert = _rules(value, hints[name], scope)
            checks.append(f" if not ({check}):")
            checks.append(f"  raise ProtocolError('{record.__name__}.{name} is out of its range')")
            fields.append(convert)
        built.append(f"build(record{number}, ({''.join(f'{field}, ' for field in fields)}))")
    names = " and ".join(record.__name__ for record in records)
    lines = [
        "def decode(values):",
        f" if type(values) is not list or len(values) != {len(values)}:",
        f"  raise ProtocolError('{names} takes {len(values) - skipped} fields')",
        f" {', '.join(values)}, = values" if values else "",
        *checks,
        f" return {', '.join(built)}",
    ]
    exec("\n".join(lines), scope)  # noqa: S102 (source is made of declarations only)
    return typing.cast(Decoder, scope["decode"])


def _rules(value: str, hint: object, scope: dict[str, object]) -> tuple[str, str]:
    """Source of the check of the expression `value`, and source of its conversion."""
    base, bounds = hint, None
    if typing.get_origin(hint) is Annotated:
        base, bounds = typing.get_args(hint)[:2]
    origin = typing.get_origin(base)
    if origin in {typing.Union, types.UnionType}:
        inner = next(a for a in typing.get_args(base) if a is not type(None))
        check, convert = _rules(value, inner, scope)
        if convert != value:
            convert = f"None if {value} is None else {convert}"
        return f"{value} is None or ({check})", convert
    if origin in {tuple, list}:
        inner = typing.get_args(base)[0]
        check, convert = _rules("item", inner, scope)
        most = bounds.length if isinstance(bounds, Limit) else ITEMS_MOST
        whole = f"type({value}) is list and len({value}) <= {most}"
        if not (isinstance(inner, type) and issubclass(inner, tuple)):
            whole += f" and all({check} for item in {value})"
        return whole, f"tuple([{convert} for item in {value}])"
    if isinstance(base, type) and issubclass(base, tuple):
        key = f"decode_{base.__name__}"
        scope[key] = decoder(base)
        return "True", f"{key}({value})"
    if base is bool:
        return f"{value} is True or {value} is False", value
    if base is int and isinstance(bounds, Range):
        return f"type({value}) is int and {bounds.least} <= {value} <= {bounds.greatest}", value
    if base in {bytes, str} and isinstance(bounds, Limit):
        kind = typing.cast(type, base).__name__
        return f"type({value}) is {kind} and len({value}) <= {bounds.length}", value
    raise TypeError(f"a message field cannot be declared as {hint!r}")
