"""A check: what was looked at, the verdict, what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """How it is. A warning is something that is slower or missing; a problem stops BenchFS."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    seen: str
    advice: str = ""  # what to do; empty where nothing is to be done
    node: str | None = None  # None: it is about this host, or the cluster as a whole


def ok(name: str, seen: str, advice: str = "") -> Check:
    """Nothing is wrong."""
    return Check(name, Verdict.OK, seen, advice)


def warning(name: str, seen: str, advice: str) -> Check:
    """BenchFS works, and something could be better."""
    return Check(name, Verdict.WARNING, seen, advice)


def problem(name: str, seen: str, advice: str) -> Check:
    """Something that BenchFS needs is wrong."""
    return Check(name, Verdict.PROBLEM, seen, advice)


_ORDER = list(Verdict)


def worst(checks: Iterable[Check]) -> Verdict:
    """The worst of all verdicts; OK without checks."""
    return max((check.verdict for check in checks), key=_ORDER.index, default=Verdict.OK)
