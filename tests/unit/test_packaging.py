"""What a user installs: built as for a release, installed into an environment of its own.

Works without a network: the build tool is the one of the environment that runs the tests, and the
new environment borrows that one's dependencies.
"""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("rpc", "fuse", "bench")

# Run in the new environment. Entry points are loaded, so each command's imports are tried too.
IMPORT_EVERYTHING = """
import importlib, importlib.metadata, pathlib, sys
here = pathlib.Path(sys.prefix).resolve()
for name in ("benchfs", "benchfs.rpc", "benchfs.fuse", "benchfs.bench", "benchfsd"):
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).resolve().is_relative_to(here), module.__file__
scripts = importlib.metadata.distribution("benchfs").entry_points.select(group="console_scripts")
assert {script.name for script in scripts} == {"benchfs", "benchfsd"}, scripts
for script in scripts:
    assert callable(script.load()), script
"""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"), "*.tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unpacked = tmp_path_factory.mktemp("unpacked")
    run("tar", "--extract", "--file", sdist, cwd=unpacked)
    (source,) = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"), "*.whl")


def build(target: str, source: Path, destination: Path, pattern: str) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", destination, cwd=source)
    (product,) = destination.glob(pattern)
    return product


def run(*command: str | Path, cwd: Path) -> None:
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def test_sdist_holds_what_is_needed_to_build_test_and_read(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        top_level = {PurePosixPath(name).parts[1] for name in archive.getnames()}

    assert top_level == {
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO", "README.md"),
        *("benchfs", "benchfsd", "constraints.txt", "docs", "pyproject.toml", "tests"),
        ".gitignore",  # put there by the build tool, which obeys it
    }


def test_wheel_adds_the_names_benchfs_and_benchfsd_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top_level = {PurePosixPath(name).parts[0] for name in archive.namelist()}

    assert {name for name in top_level if not name.endswith(".dist-info")} == {
        "benchfs",
        "benchfsd",
    }


def test_wheel_holds_every_module_of_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith((".py", "py.typed"))}

    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in ("benchfs", "benchfsd", *(f"benchfs/{part}" for part in PARTS))
        for pattern in ("*.py", "py.typed")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert packed == wanted


def test_installed_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")

    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--no-index", "--no-deps", "--no-cache-dir", wheel),
        cwd=tmp_path,
    )
    dependencies = [path for path in sys.path if path.endswith("-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(dependencies))

    # Isolated (-I): neither the current directory nor PYTHONPATH may help.
    run(python, "-I", "-c", IMPORT_EVERYTHING, cwd=tmp_path)
    assert (environment / "bin" / "benchfs").exists()
    assert (environment / "bin" / "benchfsd").exists()
