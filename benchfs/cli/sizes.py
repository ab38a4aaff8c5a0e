"""Sizes as people write them: 4096, 64k, 1m, 2g (powers of 1024)."""

from __future__ import annotations

import typer

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes. Raises BadParameter, which is wrong usage."""
    number = text.lower().removesuffix("ib").removesuffix("b")
    unit = number[-1:] if number[-1:].isalpha() else ""
    try:
        size = int(number.removesuffix(unit)) * _UNITS[unit]
    except (ValueError, KeyError):
        raise typer.BadParameter(f"{text!r} is not a size like 4096, 64k or 1m") from None
    if size < 0:
        raise typer.BadParameter(f"{text!r} is negative")
    return size
