"""A daemon's settings: where each comes from, and what is said when one is wrong."""

import dataclasses
import socket
from pathlib import Path

import pytest

from benchfsd.config import ConfigError, NodeConfig, load
from benchfsd.mode import Mode

GOOD = """
node_id = "node-1"
registry_dir = "/srv/benchfs/registry"
data_dir = "/srv/benchfs/node-1"
secret_file = "/srv/benchfs/secret"
"""


@pytest.fixture(autouse=True)
def _no_engine_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that the whole suite may run on is no setting of these tests."""
    monkeypatch.delenv("BENCHFS_TRANSPORT", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    return path


def loaded(file: Path, more: str) -> NodeConfig:
    file.write_text(GOOD + more)
    return load(file)


def message(file: Path, content: str) -> str:
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    return str(caught.value)


def test_four_settings_are_enough(file: Path) -> None:
    config = load(file)

    assert config.node_id == "node-1"
    assert config.registry_dir == Path("/srv/benchfs/registry")
    assert config.listen == ("tcp://127.0.0.1:0",)  # nobody else's machine, unless told so
    assert config.mode is Mode.WRITEBACK
    assert config.host == socket.gethostname()
    assert config.reserve_bytes is None
    assert config.metrics_listen is None
    assert config.log_file is None
    assert (config.log_level, config.transport) == ("info", "auto")


def test_everything_can_be_set(file: Path) -> None:
    config = loaded(
        file,
        """
        listen = ["tcp://0.0.0.0:7000", "tcp://[::1]:0", "unix:///run/benchfs/node-1.sock"]
        mode = "durable"
        host = "rack1-node7"
        reserve_bytes = 0
        lease_seconds = 5
        superuser = 1000
        root = "trusted"
        metrics_listen = "tcp://127.0.0.1:9100"
        log_level = "debug"
        log_file = "/var/log/benchfsd.log"
        transport = "sockets"
        """,
    )

    assert len(config.listen) == 3
    assert config.mode is Mode.DURABLE
    assert config.reserve_bytes == 0
    assert config.lease_seconds == 5.0
    assert config.superusers == {0, 1000}


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ('"tcp://127.0.0.1:7000"', ("tcp://127.0.0.1:7000", "ucx://127.0.0.1:0")),
        ('"unix:///run/a", "tcp://[::1]:7"', ("unix:///run/a", "tcp://[::1]:7", "ucx://[::1]:0")),
        ('"tcp://10.0.0.1:7", "ucx://10.0.0.1:8"', ("tcp://10.0.0.1:7", "ucx://10.0.0.1:8")),
        ('"unix:///run/a"', ("unix:///run/a",)),
    ],
)
def test_with_ucx_a_node_listens_by_ucx_beside_tcp(
    file: Path, listen: str, addresses: tuple[str, ...]
) -> None:
    config = loaded(file, f'transport = "ucx"\nlisten = [{listen}]\n')

    assert config.addresses() == addresses


def test_the_environment_goes_before_the_file(file: Path, monkeypatch) -> None:
    monkeypatch.setenv("BENCHFS_MODE", "volatile")
    monkeypatch.setenv("BENCHFS_LISTEN", "tcp://127.0.0.1:1, unix:///run/a.sock")
    monkeypatch.setenv("BENCHFS_RESERVE_BYTES", "123")
    monkeypatch.setenv("BENCHFS_LEASE_SECONDS", "1.5")
    monkeypatch.setenv("BENCHFS_POLLING", "false")

    config = loaded(file, 'mode = "durable"\nlisten = ["tcp://127.0.0.1:9"]\n')

    assert config.mode is Mode.VOLATILE
    assert config.listen == ("tcp://127.0.0.1:1", "unix:///run/a.sock")
    assert config.reserve_bytes == 123
    assert config.lease_seconds == 1.5
    assert not config.polling


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in GOOD.split("\n")[1:-1]:
        key, _, value = line.partition(" = ")
        monkeypatch.setenv(f"BENCHFS_{key.upper()}", value.strip('"'))
    monkeypatch.setenv("BENCHFS_CLUSTER", "of the client, and none of our business")

    assert load().node_id == "node-1"


def test_an_unknown_key_is_named_with_the_nearest_that_exists(file: Path) -> None:
    text = message(file, GOOD + 'data-dirs = "/x"\nlistn = []\nzzz = 1\n')

    assert f"{file}: unknown key 'data-dirs': did you mean 'data_dir'?" in text
    assert "unknown key 'listn': did you mean 'listen'?" in text
    assert "unknown key 'zzz' (there are: node_id, registry_dir," in text


def test_all_that_is_missing_is_named(file: Path) -> None:
    lines = message(file, 'node_id = "a"\n').splitlines()

    assert [line.split("'")[1] for line in lines] == ["registry_dir", "data_dir", "secret_file"]
    assert "BENCHFS_DATA_DIR" in lines[1]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('mode = "safe"', "'mode'"),
        ("listen = []", "'listen'"),
        ('listen = ["ucx://10.0.0.1"]', "'ucx://10.0.0.1' is not an address like ucx://"),
        ('listen = ["127.0.0.1:7000"]', "'127.0.0.1:7000' is not an address like tcp://"),
        ('listen = ["tcp://127.0.0.1"]', "is not an address"),
        ('listen = ["tcp://127.0.0.1:70000"]', "is not an address"),
        ('listen = ["tcp://a@b:1"]', "is not an address"),
        ('listen = ["tcp://a:1/x"]', "is not an address"),
        ('listen = ["unix://relative"]', "is not an address like unix://"),
        (f'listen = ["unix:///{"x" * 107}"]', "107 bytes at most"),
        ('metrics_listen = "unix:///a"', "is not an address"),
        ("reserve_bytes = -1", "'reserve_bytes'"),
        ("reserve_bytes = 1.5", "'reserve_bytes'"),
        ("lease_seconds = 0.1", "0.1 is not a number of seconds from 0.5 to 3600"),
        ("lease_seconds = true", "'lease_seconds'"),
        ("superuser = 4294967295", "4294967295 is not a uid"),
        ('root = "free"', "'free' is none of squashed, trusted"),
        ('log_level = "loud"', "'log_level'"),
        ('log_file = "here"', "'here' is not an absolute path"),
        ('transport = "tin can"', "'transport'"),
        ('host = "two words"', "'host'"),
        ('polling = "maybe"', "'maybe' is neither true nor false"),
        ("polling = 1", "'polling'"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(file: Path, setting: str, told: str) -> None:
    text = message(file, GOOD + setting + "\n")

    assert told in text
    assert "\n" not in text
    assert setting.split(" ", maxsplit=1)[0] in text


def test_a_node_id_is_a_plain_name(file: Path) -> None:
    for name in ("", "../x", "a b", "ä", "-a", "x" * 65):
        assert "'node_id'" in message(file, GOOD.replace("node-1", name, 1))


def test_what_is_no_toml_file_is_named(file: Path, tmp_path: Path) -> None:
    assert f"{file}: not a TOML file" in message(file, "node_id = ")
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not a TOML file"):
        load(file)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "missing.toml")


def test_the_settings_do_not_change_afterwards(file: Path) -> None:
    config = load(file)

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.node_id = "node-2"
