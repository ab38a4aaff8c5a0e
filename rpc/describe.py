"""Writes the operations' part of docs/PROTOCOL.md from their declarations.

`python -m benchfs.rpc.describe docs/PROTOCOL.md` replaces what stands between the two markers.
The comments and docstrings of `messages/` are the text: a field says its meaning and its unit
once, where it is declared.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated, TypeVar

from benchfs.rpc import messages
from benchfs.rpc.messages import LENDING, OPERATIONS, Code, Envelope, Failure, Op, Operation
from benchfs.rpc.schema import Limit, Range

Declared = TypeVar("Declared")

BEGIN = "<!-- operations: written by `python -m benchfs.rpc.describe docs/PROTOCOL.md` -->"
END = "<!-- end of operations -->"

_INTEGERS = {
    Range(0, 2**8 - 1): "u8",
    Range(0, 2**16 - 1): "u16",
    Range(0, 2**32 - 1): "u32",
    Range(0, 2**64 - 1): "u64",
    Range(-(2**63), 2**63 - 1): "i64",
}


def described(document: str) -> str:
    """The document with its generated part as it must be now. Raises ValueError: no markers."""
    head, _, rest = document.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"the document lacks the markers {BEGIN} and {END}")
    return head + BEGIN + "\n\n" + "\n".join(_lines()) + "\n" + END + tail


def type_name(hint: object) -> str:
    """A field's declared type in the words of the document."""
    base, bounds = hint, None
    if typing.get_origin(hint) is Annotated:
        base, bounds = typing.get_args(hint)[:2]
    if isinstance(bounds, Range):
        return _INTEGERS[bounds]
    if typing.get_origin(base) in {typing.Union, types.UnionType}:
        inner = next(a for a in typing.get_args(base) if a is not type(None))
        return f"{type_name(inner)} or nil"
    if isinstance(bounds, Limit):
        if typing.get_origin(base) is tuple:
            inner = type_name(typing.get_args(base)[0])
            return f"array of at most {bounds.length}: {inner}"
        return f"{'bin' if base is bytes else 'str'} ≤ {bounds.length}"
    assert isinstance(base, type)
    return base.__name__


def _lines() -> Iterator[str]:
    comments = _comments()
    yield "| number | operation | request | reply | mutates | bytes beside the messages |"
    yield "|---|---|---|---|---|---|"
    beside = {
        10: "the reply's payload",
        50: "the reply's payload",
        51: "the request's payload",
        57: "the request's payload",
    }
    for number, row in sorted(OPERATIONS.items()):
        extra = "a descriptor with the reply" if number in LENDING else beside.get(number, "")
        mutates = "yes" if row.mutates else ""
        yield (
            f"| {number} | {row.op.name} | {row.request.__name__} | {row.reply.__name__} "
            f"| {mutates} | {extra} |"
        )
    yield ""
    yield "### Error codes"
    yield ""
    yield "Below 1000: errno values of Linux. Above:"
    yield ""
    yield "| code | name | meaning |"
    yield "|---|---|---|"
    for code in Code:
        yield f"| {int(code)} | {code.name} | {comments.get(('Code', code.name), '')} |"
    yield ""
    yield "### Envelope and failure"
    yield ""
    yield from _record(Envelope, comments)
    yield from _record(Failure, comments)
    yield "### Requests and replies"
    yield ""
    done: set[type] = {Envelope, Failure}
    for _, row in sorted(OPERATIONS.items()):
        for record in (row.request, row.reply):
            if record not in done:
                done.add(record)
                yield from _record(record, comments)
    yield "### Records inside messages"
    yield ""
    for record in _declared(tuple):
        if record not in done and record is not Operation:
            yield from _record(record, comments)
    yield "### Numbers inside messages"
    yield ""
    for numbers in _declared(IntEnum):
        if numbers not in {Op, Code}:
            yield from _enumeration(numbers, comments)


def _declared(kind: type[Declared]) -> Iterator[type[Declared]]:
    """What the package declares of a kind, by name."""
    for name in messages.__all__:
        value: object = getattr(messages, name)
        if isinstance(value, type) and issubclass(value, kind):
            yield value


def _enumeration(numbers: type[IntEnum], comments: dict[tuple[str, str], str]) -> Iterator[str]:
    yield f"**{numbers.__name__}**: {' '.join((numbers.__doc__ or '').split())}"
    yield ""
    yield "| number | name | meaning |"
    yield "|---|---|---|"
    for number in numbers:
        comment = comments.get((numbers.__name__, number.name), "")
        yield f"| {int(number)} | {number.name} | {comment} |"
    yield ""


def _record(record: type, comments: dict[tuple[str, str], str]) -> Iterator[str]:
    yield f"**{record.__name__}**: {' '.join((record.__doc__ or '').split())}"
    yield ""
    hints = typing.get_type_hints(record, include_extras=True)
    if not hints:
        return
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for name, hint in hints.items():
        yield f"| {name} | {type_name(hint)} | {comments.get((record.__name__, name), '')} |"
    yield ""


def _comments() -> dict[tuple[str, str], str]:
    """What stands behind `#` on the lines of fields: (class, field) to text."""
    found: dict[tuple[str, str], str] = {}
    for module in pkgutil.iter_modules(messages.__path__, messages.__name__ + "."):
        source = inspect.getsource(importlib.import_module(module.name))
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found |= {
                    (node.name, field): comment for field, comment in _field_comments(node, lines)
                }
    return found


def _field_comments(record: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, str]]:
    for item in record.body:
        if isinstance(item, ast.AnnAssign):
            target: ast.expr = item.target
        elif isinstance(item, ast.Assign):
            target = item.targets[0]
        else:
            continue
        if isinstance(target, ast.Name):
            _, _, comment = lines[item.lineno - 1].partition("  # ")
            if not comment.startswith("type: ignore"):
                yield target.id, comment.replace("|", "\\|")


def main() -> None:
    """Rewrite the file given as argument."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/PROTOCOL.md")
    path.write_text(described(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
