"""A mount by a user who is not root, from `benchfs mount` to `benchfs umount`, by fusermount3.

If root runs the tests, that user is `nobody`. Where /dev/fuse is for root only, as in containers,
he is shown another one, in a mount namespace that ends with his process.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import tool

NOBODY = 65534
SECONDS = 100

AS_USER = """
import os, subprocess, sys, tempfile
from pathlib import Path

import benchfs
from benchfs.fuse import mounts

def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr

assert os.getuid() == int(sys.argv[1]) != 0
with benchfs.LocalCluster(nodes=1) as cluster, tempfile.TemporaryDirectory() as place:
    path = mounts.canonical(Path(place))
    command("mount", path, "--cluster", cluster.directory)
    try:
        options = [line.split()[-1] for line in mounts.TABLE.read_text().splitlines()
                   if f" {path} " in line]
        assert len(options) == 1 and f"user_id={os.getuid()}" in options[0], options
        assert "allow_other" not in options[0], options
        (path / "d").mkdir()
        (path / "d/f").write_bytes(b"1" * 100_000)
        (path / "d/f").chmod(0o600)
        found = (path / "d/f").stat()
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
        assert (path / "d/f").read_bytes() == b"1" * 100_000
        try:
            os.chown(path / "d/f", 0, 0)
        except PermissionError:
            pass
        else:
            sys.exit("gave a file away")
        with benchfs.Client(str(cluster.directory)) as fs:
            assert fs.read_bytes("/d/f") == b"1" * 100_000
    finally:
        command("umount", path)
    assert not mounts.is_mounted(path)
    assert list(path.iterdir()) == []
print("done")
"""
CAN_START_PROGRAMS = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import benchfs, pyfuse3"], check=True)
"""
WITH_OWN_DEVICE = """
mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse || exit 1
rm "$1/fuse"
shift
exec "$@"
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of that user's, with a short path."""
    path = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def test_a_user_who_is_not_root_mounts_uses_and_unmounts(home: Path) -> None:
    if not Path(tool("fusermount3")).stat().st_mode & stat.S_ISUID:
        pytest.skip("needs fusermount3 to be setuid root")
    user = NOBODY if os.geteuid() == 0 else os.getuid()
    command = [sys.executable, "-c", AS_USER, str(user)]
    if os.geteuid() == 0:
        drop = [tool("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        attempt = [*drop, sys.executable, "-c", CAN_START_PROGRAMS]
        if subprocess.run(attempt, capture_output=True, check=False).returncode:
            pytest.skip("needs an interpreter and a checkout that others than root may use")
        command = [*drop, *command]
        if not Path("/dev/fuse").stat().st_mode & stat.S_IWOTH:
            namespace = [tool("unshare"), "--mount", "sh", "-c", WITH_OWN_DEVICE, "sh"]
            command = [*namespace, str(home), *command]
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(
        command,
        env={name: value for name, value in environment.items() if not name.startswith("XDG_")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
