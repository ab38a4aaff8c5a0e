"""Which BenchFS this is."""

from __future__ import annotations

from functools import cache


@cache
def installed_version() -> str:
    """The version of the package that is installed, such as 0.1.0."""
    from importlib import metadata  # noqa: PLC0415 (slow to import, and few ask)

    return metadata.version("benchfs")
