"""Which engine is chosen, and what is said when it is not the one that was asked for."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchfs.rpc import ring
from benchfs.rpc.transports.choose import choose

RELEASE = os.uname().release
ALL = dict.fromkeys(("IORING_ACCEPT_MULTISHOT", "IORING_RECVSEND_POLL_FIRST"), True)


class Ring:
    """A ring that can be made."""

    def __init__(self, entries: int, flags: int) -> None:
        self.entries = entries

    def close(self) -> None:
        pass


def install(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[int, int], object] = Ring,
    features: dict[str, bool] | None = None,
) -> None:
    """Put a package in place of uring-api whose rings and features are the test's."""
    fake = SimpleNamespace(
        Ring=make, IORING_SETUP_COOP_TASKRUN=0, probe=lambda: ALL if features is None else features
    )
    monkeypatch.setitem(sys.modules, "uring_api", fake)


def failing(code: int) -> Callable[[int, int], object]:
    def make(entries: int, flags: int) -> object:
        raise OSError(code, os.strerror(code))

    return make


def disabled_is(monkeypatch: pytest.MonkeyPatch, file: Path, text: str | None) -> None:
    """Have the sysctl kernel.io_uring_disabled read from `file`."""
    if text is not None:
        file.write_text(text)
    real = Path
    monkeypatch.setattr(
        ring, "Path", lambda name: file if str(name).endswith("io_uring_disabled") else real(name)
    )


def test_auto_is_sockets_and_an_engine_that_works_is_named_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)

    assert choose().summary == "sockets"
    assert choose("sockets").summary == "sockets"
    engines = choose("uring")
    assert engines.summary == "uring"
    assert engines.transport("tcp").name == engines.transport("unix").name == "uring"


def test_a_name_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="no transport 'pigeon'; there are auto, uring, sockets"):
        choose("pigeon")
    with pytest.raises(OSError, match="no transport serves mem://"):
        choose().transport("mem")


def test_without_the_package_sockets_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uring_api", None)

    engines = choose("uring")

    assert engines.transport("tcp").name == "sockets"
    assert engines.summary.startswith("sockets, not uring: the package uring-api is missing: ")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSYS, f"kernel {RELEASE} has no io_uring (ENOSYS)"),
        (errno.EINVAL, f"kernel {RELEASE} is too old for this use of io_uring (EINVAL)"),
        (errno.ENOMEM, "no io_uring can be made: Cannot allocate memory"),
    ],
)
def test_a_ring_that_cannot_be_made_is_explained(
    monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    install(monkeypatch, failing(code))

    assert choose("uring").summary == f"sockets, not uring: {reason}"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("2\n", "io_uring is denied by the sysctl kernel.io_uring_disabled (EPERM)"),
        ("0\n", "io_uring is denied, as containers' seccomp profiles do (EPERM)"),
        (None, "io_uring is denied, as containers' seccomp profiles do (EPERM)"),
    ],
)
def test_who_denies_io_uring_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, setting: str | None, reason: str
) -> None:
    install(monkeypatch, failing(code))
    disabled_is(monkeypatch, tmp_path / "setting", setting)

    assert choose("uring").summary == f"sockets, not uring: {reason}"


def test_a_kernel_whose_io_uring_lacks_something_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, features={**ALL, "IORING_ACCEPT_MULTISHOT": False})

    assert choose("uring").summary == (
        f"sockets, not uring: kernel {RELEASE} is too old: it lacks IORING_ACCEPT_MULTISHOT"
    )


def test_a_probe_that_fails_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)

    def probe() -> dict[str, bool]:
        raise OSError(errno.ENOSYS, "no")

    monkeypatch.setattr(sys.modules["uring_api"], "probe", probe)

    assert "has no io_uring (ENOSYS)" in choose("uring").summary
