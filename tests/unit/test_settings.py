"""A client's settings: where each comes from, and what is said when one is wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import benchfs
from benchfs.settings import ClientSettings, config_file, load

EXAMPLES = {
    "cluster": ('"some"', "some", "other"),
    "secret_file": ('"/run/secret"', Path("/run/secret"), "/run/other"),
    "transport": ('"sockets"', "sockets", "auto"),
    "timeout": ("2.5", 2.5, 3),
    "cache_bytes": ("0", 0, 4096),
    "in_flight_bytes": ("4096", 4096, 8192),
    "attribute_seconds": ("0", 0.0, 7.0),
    "local_reads": ("false", False, True),
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.touch()
    monkeypatch.setenv("BENCHFS_CONFIG", str(path))
    return path


def message(arguments: dict[str, object] | None = None) -> str:
    with pytest.raises(OSError) as caught:
        load(arguments or {})
    assert caught.value.errno == errno.EINVAL
    return str(caught.value)


def test_without_anything_there_are_defaults() -> None:
    assert load({}) == ClientSettings()


def test_there_is_an_example_of_every_setting() -> None:
    assert set(EXAMPLES) == set(ClientSettings.__dataclass_fields__)


@pytest.mark.parametrize("key", EXAMPLES)
def test_argument_over_environment_over_file_over_default(
    key: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml, value, other = EXAMPLES[key]
    file.write_text(f"{key} = {toml}\n")
    assert getattr(load({}), key) == value != getattr(ClientSettings(), key)

    monkeypatch.setenv(f"BENCHFS_{key.upper()}", str(other))
    assert str(getattr(load({}), key)) == str(type(value)(other))

    assert getattr(load({key: value}), key) == value
    monkeypatch.setenv(f"BENCHFS_{key.upper()}", "")
    file.write_text("")
    assert load({}) == ClientSettings()


def test_an_unknown_key_of_the_file_is_an_error(file: Path) -> None:
    file.write_text('cluster = "a"\ncache-byte = 1\n')
    assert str(file) in message()
    assert "unknown key 'cache-byte': did you mean 'cache_bytes'?" in message()
    file.write_text("x = 1\n")
    assert "unknown key 'x': there are: cluster, secret_file" in message()


@pytest.mark.parametrize(
    "line",
    [
        *('cluster = ""', "cluster = 7", "secret_file = true", 'transport = "tin can"'),
        *("timeout = 0", "timeout = nan", 'timeout = "10"', "timeout = true", "timeout = 1e9"),
        *("cache_bytes = -1", "cache_bytes = 1.5", "in_flight_bytes = 0", "cache_bytes = true"),
        *("attribute_seconds = -1", 'local_reads = "no"', "local_reads = 2", "[timeout]"),
    ],
)
def test_a_wrong_value_of_the_file_is_an_error_that_names_its_key(file: Path, line: str) -> None:
    file.write_text(line + "\n")
    key = line.strip("[]").partition(" ")[0]
    assert str(file) in message()
    assert repr(key) in message()


@pytest.mark.parametrize("content", [b"cluster", b"cluster = \xff", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_an_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert str(file) in message()


def test_a_wrong_value_of_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCHFS_TIMEOUT", "soon")
    assert "$BENCHFS_TIMEOUT" in message()
    assert "'soon' is not a number of seconds" in message()


def test_a_wrong_argument_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nothing moves"):
        benchfs.AsyncClient(in_flight_bytes=0)
    with pytest.raises(ValueError, match="there is no transport"):
        benchfs.Client(transport="tin can")


def test_variables_of_the_daemon_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHFS_MODE", "volatile")
    assert load({}) == ClientSettings()


@pytest.mark.parametrize(
    ("text", "value"), [("no", False), ("0", False), ("False", False), ("on", True), ("1", True)]
)
def test_truth_is_written_in_many_ways(
    monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    monkeypatch.setenv("BENCHFS_LOCAL_READS", text)
    assert load({}).local_reads is value


def test_a_cluster_may_be_called_like_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHFS_CLUSTER", "007")
    assert load({}).cluster == "007"


def test_a_secret_beside_the_file_is_found(file: Path) -> None:
    file.write_text('secret_file = "secret"\n')
    assert load({}).secret_file == file.parent / "secret"


def test_the_file_is_where_the_user_has_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_file() == tmp_path / "benchfs/config.toml"
    (tmp_path / "benchfs").mkdir()
    config_file().write_text("timeout = 3\n")
    assert load({}).timeout == 3.0


def test_a_file_that_is_named_and_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHFS_CONFIG", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="BENCHFS_CONFIG"):
        load({})
