"""What `benchfs doctor` says to each finding."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from benchfs.cluster import NodeStatus
from benchfs.diagnosis import Check, Verdict, check_host, host, nodes, worst
from benchfs.errors import error
from benchfs.rpc import ring
from benchfs.rpc.messages import StatusReply

OK, WARNING, PROBLEM = Verdict
GIB = 1 << 30


def status_of(reply: StatusReply | None = None, **changes: object) -> StatusReply:
    plain = StatusReply(
        *("node-0", "0.1.0", "sockets", "writeback", 5000, 1, 1),
        *(100 * GIB, 50 * GIB, 0, 0, 1, 128, "host:1", 0),
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_this_host_can_be_checked_without_any_cluster_or_optional_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in ("uring_api", "pyfuse3"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    checks = check_host()

    assert [check.name for check in checks] == [
        *("kernel", "io_uring", "open files", "locked memory", "FUSE", "UCX", "RDMA devices")
    ]
    assert checks[1].verdict is WARNING
    assert "uring-api is missing" in checks[1].seen
    assert "benchfs[uring]" in checks[1].advice


def test_the_worst_verdict_is_that_of_the_whole() -> None:
    checks = [Check("a", verdict, "") for verdict in (OK, PROBLEM, WARNING)]

    assert worst(checks) is PROBLEM
    assert worst(checks[::2]) is WARNING
    assert worst([]) is OK


@pytest.mark.parametrize(
    ("release", "verdict"),
    [
        ("6.1.0-18-amd64", OK),
        ("5.3", OK),
        ("10.0.1+", OK),
        ("5.2.21", PROBLEM),
        ("4.18.0-513.el8.x86_64", PROBLEM),
        ("strange", PROBLEM),
    ],
)
def test_kernels_older_than_needed_are_a_problem(release: str, verdict: Verdict) -> None:
    found = host.kernel(release)

    assert found.verdict is verdict
    assert release in found.seen
    assert bool(found.advice) is (verdict is PROBLEM)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("the package uring-api is missing: x", "pip install 'benchfs[uring]'"),
        ("io_uring is denied by the sysctl kernel.io_uring_disabled (EPERM)", "sysctl"),
        ("io_uring is denied, as containers' seccomp profiles do (EPERM)", "seccomp profile"),
        ("kernel 4.18 has no io_uring (ENOSYS)", "Linux 5.19"),
    ],
)
def test_without_io_uring_it_is_said_why_and_that_sockets_serve(reason: str, advice: str) -> None:
    def probe() -> None:
        raise ring.RingUnavailableError(reason)

    found = host.io_uring(probe, lambda: pytest.fail("asked for features"))

    assert found.verdict is WARNING
    assert found.seen == reason
    assert advice in found.advice
    assert "sockets serve" in found.advice


def test_io_uring_lists_the_features_that_the_kernel_lacks() -> None:
    found = host.io_uring(lambda: None, lambda: {"A": True, "C": False, "B": False})

    assert found == Check("io_uring", OK, "allowed, with 1 of 3 features; not B, C")


@pytest.mark.parametrize(
    ("soft", "verdict"),
    [(1024, OK), (resource.RLIM_INFINITY, OK), (1023, WARNING), (639, PROBLEM)],
)
def test_few_open_files_are_a_warning_and_too_few_a_problem(soft: int, verdict: Verdict) -> None:
    assert host.open_files(soft, 4096).verdict is verdict


def test_locked_memory_matters_with_rdma_devices_only() -> None:
    assert host.locked_memory(8 << 20, has_rdma=False) == Check("locked memory", OK, "8192 KiB")
    assert host.locked_memory(8 << 20, has_rdma=True).verdict is WARNING
    assert host.locked_memory(resource.RLIM_INFINITY, has_rdma=True).verdict is OK


def test_all_that_a_mount_lacks_is_named() -> None:
    whole = host.fuse(device=True, allowed=True, fusermount="/usr/bin/fusermount3", package=True)
    nothing = host.fuse(device=False, allowed=False, fusermount=None, package=False)
    forbidden = host.fuse(device=True, allowed=False, fusermount="/bin/x", package=True)

    assert whole.verdict is OK
    assert nothing.verdict is WARNING
    assert nothing.seen == "no /dev/fuse; no fusermount3; no Python package pyfuse3"
    assert all(word in nothing.advice for word in ("modprobe fuse", "fuse3", "benchfs[fuse]"))
    assert forbidden.seen == "no right to use /dev/fuse"


def test_ucx_that_is_not_there_is_no_fault() -> None:
    assert host.ucx_version("libnothing.so.0") is None
    assert host.ucx_version("libc.so.6") is None  # a library, and not that one
    assert host.ucx_library(None).verdict is OK
    assert host.ucx_library((1, 13, 1)) == Check("UCX", OK, "version 1.13.1")


def test_ucx_that_is_too_old_is_a_warning() -> None:
    check = host.ucx_library((1, 12, 1))

    assert check.verdict is WARNING
    assert "1.13 or newer" in (check.advice or "")


def test_rdma_devices_without_ucx_are_a_warning(tmp_path: Path) -> None:
    assert host.rdma_devices(tmp_path / "none") == []
    for name in ("mlx5_1", "mlx5_0"):
        (tmp_path / name).mkdir()
    devices = host.rdma_devices(tmp_path)

    assert devices == ["mlx5_0", "mlx5_1"]
    assert host.rdma([], has_ucx=False).verdict is OK
    assert host.rdma(devices, has_ucx=True).verdict is OK
    assert host.rdma(devices, has_ucx=False).verdict is WARNING


def test_no_cluster_is_no_fault_and_a_stopped_one_is_a_warning() -> None:
    assert nodes.no_cluster([], []).verdict is OK
    stopped = nodes.no_cluster([], [Path("a"), Path("b")])
    assert (stopped.verdict, stopped.seen) == (WARNING, "stopped: a, b")
    assert "benchfs up --name a" in stopped.advice
    several = nodes.no_cluster([Path("a"), Path("b")], [Path("a"), Path("b")])
    assert several.verdict is WARNING
    assert "--cluster" in several.advice


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EKEYREJECTED, "secret"),
        (errno.EPROTONOSUPPORT, "same version"),
        (errno.ENODEV, "name a cluster"),
        (errno.ENOTCONN, "benchfs up"),
    ],
)
def test_a_cluster_that_cannot_be_talked_to_is_a_problem_with_its_way_out(
    code: int, advice: str
) -> None:
    found = nodes.unreachable(error(code, "connect", "c"))

    assert found.verdict is PROBLEM
    assert found.seen.startswith("down: connect c: ")
    assert advice in found.advice


def test_a_node_that_does_not_answer_is_a_problem_of_the_cluster_too() -> None:
    statuses = [
        NodeStatus("node-0", "tcp://a:1", status_of(), None),
        NodeStatus("node-1", "tcp://a:2", None, "status on node-1: no answer"),
    ]

    whole, checks = nodes.reachable("c", statuses), nodes.check_nodes(statuses)

    assert (whole.verdict, whole.seen) == (PROBLEM, "c: 1 of 2 nodes answer")
    assert [(check.node, check.name) for check in checks] == [
        *(("node-0", name) for name in ("answer", "version", "transport", "space", "clock")),
        ("node-1", "answer"),
    ]
    assert checks[-1].verdict is PROBLEM
    assert checks[-1].seen == "status on node-1: no answer"


def test_another_version_is_a_warning_that_names_both() -> None:
    assert nodes.version("1.0", "1.0").verdict is OK
    found = nodes.version("1.0", "1.1")
    assert (found.verdict, found.seen) == (WARNING, "1.0, and 1.1 here")


def test_an_engine_that_was_not_asked_for_is_a_warning() -> None:
    assert nodes.transport("sockets").verdict is OK
    found = nodes.transport("sockets, not uring: kernel 4.18 has no io_uring (ENOSYS)")
    assert found.verdict is WARNING
    assert "ENOSYS" in found.seen


@pytest.mark.parametrize(
    ("free", "verdict"), [(50 * GIB, OK), (5 * GIB, OK), (4 * GIB, WARNING), (0, PROBLEM)]
)
def test_little_space_is_a_warning_and_none_a_problem(free: int, verdict: Verdict) -> None:
    found = nodes.space(status_of(free_bytes=free))

    assert found.verdict is verdict
    assert found.seen == f"{free >> 30}.00 GiB free of 100.00 GiB on host:1"


@pytest.mark.parametrize(
    ("skew_ns", "round_trip_ns", "verdict"),
    [
        (-900_000_000, 1_000_000, OK),
        (-1_200_000_000, 1_000_000, WARNING),
        (1_200_000_000, 1_000_000, WARNING),
        (1_200_000_000, 1_000_000_000, OK),  # it may be 0.7 s only: the answer took too long
    ],
)
def test_clocks_that_surely_differ_by_a_second_are_a_warning(
    skew_ns: int, round_trip_ns: int, verdict: Verdict
) -> None:
    found = nodes.clock(skew_ns, round_trip_ns)

    assert found.verdict is verdict
    assert found.seen.startswith(f"{skew_ns / 1e9:+.3f} s")
