"""io_uring is denied, as by the seccomp profiles of containers: all works, and it is said why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchfs import instancedir

LAUNCHER = Path(__file__).with_name("deny_io_uring.py")
DENIED = "io_uring is denied, as containers' seccomp profiles do (EPERM)"
REASON = f"sockets, not uring: {DENIED}"
OF_A_NODE = f"{REASON}; chunk files: threads ({DENIED})"


def denied(*command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command to which io_uring is denied, and to all that it starts."""
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), sys.executable, *command],
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done


def benchfs(*arguments: str) -> bytes:
    return denied("-m", "benchfs.cli.main", *arguments).stdout


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("BENCHFS_TRANSPORT", "uring")
    benchfs("up", "--name", "denied", "--nodes", "2")
    yield "denied"
    benchfs("down", "--name", "denied")


def test_the_launcher_denies_io_uring_and_nothing_else() -> None:
    script = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(425, 8, ctypes.create_string_buffer(256)) == -1
assert ctypes.get_errno() == errno.EPERM, ctypes.get_errno()
assert libc.syscall(426, -1, 0, 0, 0, 0, 0) == -1  # io_uring_enter
assert ctypes.get_errno() != errno.EPERM
os.close(os.open("/", os.O_RDONLY))
"""
    denied("-c", script)


def test_daemons_and_clients_work_on_sockets_and_say_why(instance: str, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * 40_000)

    benchfs("put", "--verify", str(source), "/file", "--cluster", instance)
    benchfs("get", "--verify", "/file", str(copy), "--cluster", instance)

    assert copy.read_bytes() == source.read_bytes()
    status = json.loads(benchfs("status", "--cluster", instance, "--json"))
    assert [node["transport"] for node in status["nodes"]] == [OF_A_NODE, OF_A_NODE]
    for node in ("node-0", "node-1"):
        log = (instancedir.home() / instance / node / "log").read_text()
        messages = [json.loads(line)["message"] for line in log.splitlines()]
        assert f"transport: {REASON}" in messages


def test_the_doctor_names_the_reason_and_the_way_out(instance: str) -> None:
    document = json.loads(benchfs("doctor", "--cluster", instance, "--json"))

    checks = {(check["node"], check["name"]): check for check in document["checks"]}
    assert document["verdict"] == "warning"
    assert "seccomp" in checks[None, "io_uring"]["seen"]
    assert "io_uring_setup" in checks[None, "io_uring"]["advice"]
    for node in (None, "node-0", "node-1"):
        assert checks[node, "transport"]["seen"] == (REASON if node is None else OF_A_NODE)
        assert checks[node, "transport"]["verdict"] == "warning"
