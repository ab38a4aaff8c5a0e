"""From mounting to unmounting, with all that may befall a mount in between."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.fuse import mounts
from tests.mount.conftest import Mount, benchfs_command, mounted, tool

PATIENCE_SECONDS = 40


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
def mount(cluster: benchfs.LocalCluster) -> Iterator[Mount]:
    """A mount of this test's own."""
    with mounted(cluster, "--timeout", "40") as made:
        yield made


def wait_until_unmounted(path: Path) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while mounts.is_mounted(path):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_mount_tells_where_its_process_and_log_are(
    cluster: benchfs.LocalCluster, short_tmp: Path
) -> None:
    done = benchfs_command("mount", short_tmp, "--cluster", str(cluster.directory), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (short_tmp / "f").write_text("1")
    assert told["path"] == str(short_tmp)
    assert Path(f"/proc/{told['pid']}").exists()
    assert "mounted at" in Path(told["log"]).read_text()

    (short_tmp / "f").unlink()
    done = benchfs_command("umount", short_tmp, "--json")
    assert (done.returncode, json.loads(done.stdout)["mounted"]) == (0, False)
    assert mounts.wait_for_end(told["pid"], PATIENCE_SECONDS)
    assert not Path(told["log"]).exists()


@pytest.mark.parametrize(
    ("path", "cluster_name", "reason"),
    [
        ("missing", None, "No such file or directory"),
        ("file", None, "Not a directory"),
        (".", "no-such-instance", "No such cluster"),
    ],
)
def test_mount_fails_with_the_reason(
    cluster: benchfs.LocalCluster,
    short_tmp: Path,
    path: str,
    cluster_name: str | None,
    reason: str,
) -> None:
    (short_tmp / "file").touch()
    done = benchfs_command(
        "mount", short_tmp / path, "--cluster", cluster_name or str(cluster.directory)
    )
    assert done.returncode == 1
    assert reason in done.stderr
    assert not mounts.record(short_tmp / path).log.exists()


def test_a_path_is_mounted_once(cluster: benchfs.LocalCluster, mount: Mount) -> None:
    done = benchfs_command("mount", mount.path, "--cluster", str(cluster.directory))
    assert done.returncode == 1
    assert "mounted already" in done.stderr


def test_what_is_not_mounted_is_not_unmounted(short_tmp: Path) -> None:
    done = benchfs_command("umount", short_tmp)
    assert done.returncode == 1
    assert "no BenchFS is mounted there" in done.stderr


def test_a_mount_in_use_is_not_unmounted_unless_lazily(mount: Mount) -> None:
    with (mount.path / "f").open("w") as file:
        file.write("1")
        done = benchfs_command("umount", mount.path)
        assert done.returncode == 1
        assert "busy" in done.stderr
        assert mounts.is_mounted(mount.path)
    mount.unmount()
    assert not mounts.is_mounted(mount.path)


def test_what_was_written_is_there_after_unmounting(mount: Mount, fs: benchfs.Client) -> None:
    (mount.path / "f").write_bytes(b"1" * 3_000_000)
    mount.unmount()
    assert fs.read_bytes("/f") == b"1" * 3_000_000
    fs.unlink("/f")


def test_umount_of_the_system_ends_the_process(mount: Mount) -> None:
    umount = shutil.which("umount") or pytest.skip("needs umount")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    pid = mount.pid
    subprocess.run([umount, str(mount.path)], check=True)
    assert mounts.wait_for_end(pid, PATIENCE_SECONDS)
    assert "unmounted from" in mount.log


def test_sigterm_unmounts_and_keeps_what_was_written(mount: Mount, fs: benchfs.Client) -> None:
    (mount.path / "f").write_bytes(b"1" * 3_000_000)
    pid = mount.pid
    os.kill(pid, signal.SIGTERM)
    assert mounts.wait_for_end(pid, PATIENCE_SECONDS)
    assert not mounts.is_mounted(mount.path)
    assert fs.read_bytes("/f") == b"1" * 3_000_000
    fs.unlink("/f")


def test_sigterm_keeps_what_an_open_file_has_written(mount: Mount, fs: benchfs.Client) -> None:
    descriptor = os.open(mount.path / "f", os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, b"1" * 100_000)
        pid = mount.pid
        os.kill(pid, signal.SIGTERM)
        assert mounts.wait_for_end(pid, PATIENCE_SECONDS)
        assert not mounts.is_mounted(mount.path)
        with pytest.raises(OSError) as cut_off:
            os.write(descriptor, b"2")
        assert cut_off.value.errno == errno.ENOTCONN
    finally:
        with pytest.raises(OSError):
            os.close(descriptor)
    assert fs.read_bytes("/f") == b"1" * 100_000
    fs.unlink("/f")


def test_with_writeback_sigterm_keeps_what_an_open_file_has_written(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    with mounted(cluster, "--writeback") as made:
        descriptor = os.open(made.path / "f", os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, b"1" * 100_000)
            pid = made.pid
            os.kill(pid, signal.SIGTERM)
            assert mounts.wait_for_end(pid, PATIENCE_SECONDS)
        finally:
            with pytest.raises(OSError):
                os.close(descriptor)
    assert fs.read_bytes("/f") == b"1" * 100_000
    fs.unlink("/f")


@pytest.fixture
def other_namespace() -> Iterator[subprocess.Popen[str]]:
    """A process that has a mount of its own of everything that is mounted now: made by a test."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with subprocess.Popen(
        [tool("unshare"), "--mount", "sh", "-c", "echo; read end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def end_by_signal(mount: Mount) -> None:
    os.kill(mount.pid, signal.SIGTERM)


@pytest.mark.parametrize("end", [end_by_signal, Mount.unmount])
def test_a_mount_ends_although_another_namespace_has_it_too(
    mount: Mount,
    fs: benchfs.Client,
    request: pytest.FixtureRequest,
    end: Callable[[Mount], None],
) -> None:
    (mount.path / "f").write_text("1")
    pid = mount.pid
    other: subprocess.Popen[str] = request.getfixturevalue("other_namespace")
    end(mount)
    assert mounts.wait_for_end(pid, PATIENCE_SECONDS)
    assert other.poll() is None
    assert not mounts.is_mounted(mount.path)
    assert fs.read_bytes("/f") == b"1"
    fs.unlink("/f")


def test_umount_cleans_up_after_a_killed_process(
    cluster: benchfs.LocalCluster, mount: Mount
) -> None:
    (mount.path / "f").write_text("1")
    pid = mount.pid
    descriptor = os.open(mount.path / "f", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    mounts.wait_for_end(pid, PATIENCE_SECONDS)
    for call in (lambda: os.listdir(mount.path), lambda: os.read(descriptor, 1)):
        with pytest.raises(OSError) as dead:
            call()
        assert dead.value.errno == errno.ENOTCONN
    mount.unmount()
    with pytest.raises(OSError):
        os.close(descriptor)
    assert not mounts.is_mounted(mount.path)
    assert os.listdir(mount.path) == []
    done = benchfs_command("mount", mount.path, "--cluster", str(cluster.directory))
    assert done.returncode == 0, done.stderr
    assert (mount.path / "f").read_text() == "1"
    (mount.path / "f").unlink()


def test_a_mount_outlives_the_restart_of_a_daemon(
    cluster: benchfs.LocalCluster, mount: Mount
) -> None:
    files = [mount.path / f"f{number}" for number in range(12)]
    for file in files:
        file.write_bytes(b"1" * 100_000)
    descriptor = os.open(files[0], os.O_RDWR)
    for node in cluster.nodes:
        node.kill()
        node.start()
    assert [file.read_bytes() for file in files] == [b"1" * 100_000] * len(files)
    os.pwrite(descriptor, b"2", 0)
    os.fsync(descriptor)
    os.close(descriptor)
    assert files[0].read_bytes()[:2] == b"21"
    for file in files:
        file.unlink()


def test_an_operation_waits_for_a_daemon_that_comes_back(
    cluster: benchfs.LocalCluster, mount: Mount
) -> None:
    (mount.path / "f").write_text("1")
    for node in cluster.nodes:
        node.stop()
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((mount.path / "f").read_text()))
    reader.start()
    for node in cluster.nodes:
        node.start()
    reader.join(PATIENCE_SECONDS)
    assert found == ["1"]
    (mount.path / "f").unlink()


@pytest.fixture
def hasty_mount(cluster: benchfs.LocalCluster) -> Iterator[Mount]:
    """A mount whose operations give up soon."""
    with mounted(cluster, "--timeout", "3") as made:
        yield made


def test_operations_end_in_an_error_when_nodes_hang(
    cluster: benchfs.LocalCluster, hasty_mount: Mount
) -> None:
    mount = hasty_mount
    file = (mount.path / "f").open("wb", buffering=0)
    for node in cluster.nodes:
        node.pause()
    try:
        file.write(b"1" * 100_000)
        with pytest.raises(OSError) as of_close:
            file.close()
        with pytest.raises(OSError) as of_open:
            os.listdir(mount.path)
    finally:
        for node in cluster.nodes:
            node.resume()
    for failed in (of_close, of_open):
        assert failed.value.errno in {errno.ETIMEDOUT, errno.EIO}
    assert "on node-" in mount.log  # the whole reason
    (mount.path / "f").unlink()


def test_in_the_foreground_it_tells_the_service_manager(
    cluster: benchfs.LocalCluster, short_tmp: Path
) -> None:
    path = short_tmp / "mnt"
    path.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_tmp / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        service = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchfs.cli.main"),
                *("mount", str(path), "--foreground", "--cluster", str(cluster.directory)),
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(short_tmp / "notify")},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert manager.recv(100) == b"READY=1"
    (path / "f").touch()
    (path / "f").unlink()
    service.terminate()
    _, said = service.communicate(timeout=PATIENCE_SECONDS)
    assert service.returncode == 0, said
    assert "unmounted from" in said
    wait_until_unmounted(path)


def test_a_read_only_mount_refuses_changes(cluster: benchfs.LocalCluster) -> None:
    with mounted(cluster, "--read-only") as made, pytest.raises(OSError) as refused:
        (made.path / "f").touch()
    assert refused.value.errno == errno.EROFS


def test_with_writeback_the_kernel_gathers_writes(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    with mounted(cluster, "--writeback") as made:
        with (made.path / "f").open("wb", buffering=0) as file:
            for _ in range(1000):
                file.write(b"1" * 100)
        with (made.path / "f").open("ab") as file:
            file.write(b"2")
        made.unmount()
    assert fs.read_bytes("/f") == b"1" * 100_000 + b"2"
    fs.unlink("/f")
