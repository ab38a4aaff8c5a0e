"""Sizes as people and IOR write them: 4096, 64k, 1m, 2g, 1MiB; powers of 1024."""

from __future__ import annotations

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError."""
    number = text.lower().removesuffix("ib").removesuffix("b")
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number.removesuffix(unit)
    if unit not in _UNITS or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is not a size like 4096, 64k or 1m")
    return int(digits) * _UNITS[unit]
