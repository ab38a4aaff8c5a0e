"""What every test gets: a place of its own, and a check that nothing is left behind.

The session works below one short temporary directory: TMPDIR and the XDG directories point there,
so no test sees or touches the instances and settings of the person who runs it. When the last test
is done there may be no process, no mount and no file left of this session; what is left is removed
and reported as an error. Processes are known by an environment variable that they inherit.
"""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import disks

SESSION_VARIABLE = "BENCHFS_TEST_SESSION"
# The engine that daemons and clients of the tests use: the suite passes with each.
ENGINE_VARIABLE = "BENCHFS_TRANSPORT"
SESSION_ID = uuid.uuid4().hex
# A process that was just told to stop may need a moment until it is gone.
EXIT_GRACE_S = 20.0
XDG_VARIABLES = (
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)

# The same examples in every run: what draws new ones is the thorough profile.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile(
    "thorough", deadline=None, derandomize=False, print_blob=True, max_examples=2000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Where no bytecode may be written beside the sources, let all processes share a place for it.

    Otherwise each of the thousand daemons and commands that tests start compiles all it imports,
    which takes longer than what it does. Workers inherit the place from the process before them.
    """
    if not sys.dont_write_bytecode or hasattr(config, "workerinput"):
        return
    place = tempfile.mkdtemp(prefix="bfs-bytecode-")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPYCACHEPREFIX", place)
    patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    config.add_cleanup(patch.undo)
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


def pytest_collection_finish() -> None:
    """What is there before the first test stays: each garbage collection would look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """Return a directory with a path short enough for unix sockets (108 bytes), removed after."""
    path = Path(tempfile.mkdtemp(prefix="bfs-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 48 MiB, where a test has the right to mount one."""
    with disks.small(tmp_path, mib=48) as disk:
        yield disk


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    pytest_base = tmp_path_factory.getbasetemp()  # asked for before TMPDIR changes: it stays
    session_base = Path(tempfile.mkdtemp(prefix="bfs-"))
    homes = session_base / "xdg"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BENCHFS_")]:
            if name != ENGINE_VARIABLE:
                patch.delenv(name)
        patch.setenv(SESSION_VARIABLE, SESSION_ID)
        patch.setenv("TMPDIR", str(session_base))
        patch.setattr(tempfile, "tempdir", None)  # so that it asks the environment again
        patch.setenv("MPLCONFIGDIR", str(pytest_base / "matplotlib"))  # its list of fonts
        for name in XDG_VARIABLES:
            home = homes / name.lower()
            home.mkdir(mode=0o700, parents=True)
            patch.setenv(name, str(home))
        yield
        left = [
            *end_processes_left(),
            *unmount_what_is_left_below(session_base, pytest_base),
            *files_left(session_base, homes),
        ]
        shutil.rmtree(session_base, ignore_errors=True)
    if left:
        pytest.fail("the test session left behind:\n  " + "\n  ".join(left), pytrace=False)


def end_processes_left() -> list[str]:
    """Kill the processes of this session that do not end by themselves, and describe them."""
    give_up_at = time.monotonic() + EXIT_GRACE_S
    while (pids := processes_of_session()) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    left = []
    for pid in pids:
        left.append(f"process {pid}: {describe_process(pid)}")
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # the child of somebody else, who waits for it
    return left


def processes_of_session() -> list[int]:
    """Return the processes that inherited the session's variable, and all children of this one."""
    mark = f"{SESSION_VARIABLE}={SESSION_ID}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            # The name, in parentheses, may hold anything: the fields after it are read.
            fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            environment = []  # it has ended, though maybe nobody waited for it, or is not ours
        is_child = int(fields[1]) == os.getpid()
        if (mark in environment or is_child) and not is_helper_of_python(entry.path):
            found.append(int(entry.name))
    return found


def is_helper_of_python(process: str) -> bool:
    """Tell whether this is the resource tracker of multiprocessing, which ends with its parent."""
    try:
        return b"multiprocessing.resource_tracker" in Path(process, "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def describe_process(pid: int) -> str:
    """Return the command line of a process, or what is known of one that has ended."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "ended meanwhile"
    return command.decode(errors="replace") or "ended, but nobody waited for it"


def unmount_what_is_left_below(*bases: Path) -> list[str]:
    """Unmount all that is mounted below the given directories, the innermost first."""
    mounted = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        # Spaces and the like are written as octal escapes: our own names have none.
        mount_point = Path(line.split(" ")[4])
        if any(mount_point.is_relative_to(base) for base in bases):
            mounted.append(mount_point)
    for mount_point in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(mount_point)], check=False)
    return [f"mount: {mount_point}" for mount_point in mounted]


def files_left(session_base: Path, homes: Path) -> list[str]:
    """Describe what is in the session's directory; in the XDG directories folders may stay."""
    left = [f"file: {path}" for path in session_base.iterdir() if path != homes]
    left += [f"file: {path}" for path in homes.rglob("*") if path.is_symlink() or not path.is_dir()]
    return left
