"""Sizes as people write them: 4096, 64k, 1m, 2g (powers of 1024)."""

from __future__ import annotations

import typer

from benchfs.bench import sizes


def parse_size(text: str) -> int:
    """Bytes. Raises BadParameter, which is wrong usage."""
    try:
        return sizes.parse_size(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
