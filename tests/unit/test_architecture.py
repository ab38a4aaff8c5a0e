"""The arrows between the parts point one way, and pure logic stays pure."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Logic that must run in a simulation exactly as it runs in a daemon: what time it is, what chance
# brings, and what the disk and the network do comes in through arguments.
PURE_MODULES = (
    "benchfs/clustermap.py",
    "benchfs/fsck/findings.py",
    "benchfs/fsck/rules.py",
    "benchfs/layout.py",
    "benchfs/paths.py",
    "benchfs/placement.py",
    "benchfs/rpc/frames.py",
    "benchfs/rpc/handshake.py",
    *sorted(f"benchfs/rpc/messages/{path.name}" for path in (ROOT / "rpc/messages").glob("*.py")),
    "benchfs/rpc/schema.py",
)
IMPURE = frozenset(
    {
        *("aiofiles", "anyio", "asyncio", "concurrent", "fcntl", "io", "lmdb", "mmap"),
        *("multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors", "shutil"),
        *(
            "signal",
            "socket",
            "subprocess",
            "tempfile",
            "threading",
            "time",
            "trio",
            "uuid",
            "uvloop",
        ),
    }
)
# Pure parts of impure modules.
HARMLESS = frozenset({"os.PathLike", "os.fsdecode", "os.fsencode", "os.fspath"})


def test_imports_point_one_way() -> None:
    # A process of its own: in this one it would silence every logger there is.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", ["benchfs/rpc", "benchfsd"])
def test_nothing_is_taken_from_the_package_root(part: str) -> None:
    """`from benchfs import Client` draws in the whole client, past what import-linter sees."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for name in imported_names(path)
        if is_name_in_package_root(name)
    ]

    assert found == []


@pytest.mark.parametrize("module", PURE_MODULES)
def test_pure_logic_imports_no_clock_chance_or_input(module: str) -> None:
    found = [
        name
        for name in imported_names(ROOT / module)
        if name.partition(".")[0] in IMPURE and name not in HARMLESS
    ]

    assert found == []


def test_impure_imports_are_seen_in_every_form(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "import time\n"
        "import os, asyncio.events as events\n"
        "from socket import AF_UNIX, socket\n"
        "def late():\n"
        "    from random import Random\n"
        "    return os.fsencode(os.path.sep)\n"
    )

    assert sorted(imported_names(source)) == [
        "asyncio.events",
        "os.fsencode",
        "os.path",
        "random.Random",
        "socket.AF_UNIX",
        "socket.socket",
        "time",
    ]


def imported_names(path: Path) -> list[str]:
    """Return the dotted names that a module imports anywhere: `from a import b` is "a.b".

    Of `import os`, what is used of it counts, since some of os is harmless.
    """
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names if alias.name != "os" or alias.asname]
            case ast.ImportFrom():
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            case ast.Attribute(value=ast.Name(id="os")):
                names.append(f"os.{node.attr}")
    return names


def is_name_in_package_root(dotted_name: str) -> bool:
    """Tell whether this is `benchfs` itself, or a name in it that is no module."""
    package, _, name = dotted_name.partition(".")
    path = ROOT / package / name
    return package == "benchfs" and not (
        "." in name or (name and (path.is_dir() or path.with_suffix(".py").exists()))
    )
