"""Which engine serves which scheme, and which of a node's addresses a pool uses."""

import os
from typing import cast

import pytest

from benchfs.bench.rpc import FLOOR, cases
from benchfs.rpc.pool import Credentials, Pool
from benchfs.rpc.transports.base import Transport
from benchfs.rpc.transports.choose import choose
from tests.ucx import needs_ucx

ADDRESSES = ["tcp://h:1", "ucx://h:2", "unix:///s"]


def pool(schemes: set[str], prefers: str) -> Pool:
    def transports(scheme: str) -> Transport:
        if scheme not in schemes:
            raise OSError
        return cast(Transport, None)

    return Pool(transports, Credentials(b"", b"", "", 0, 0, os.urandom), prefers)


def in_order(pool: Pool) -> list[str]:
    return sorted(filter(pool._serves, ADDRESSES), key=pool._preference)


def test_a_pool_tries_what_it_prefers_then_unix_sockets_then_the_rest() -> None:
    everything = {"tcp", "ucx", "unix"}

    assert in_order(pool(everything, "ucx")) == ["ucx://h:2", "unix:///s", "tcp://h:1"]
    assert in_order(pool(everything, "unix")) == ["unix:///s", "tcp://h:1", "ucx://h:2"]


def test_a_pool_leaves_out_addresses_that_it_has_no_transport_for() -> None:
    assert in_order(pool({"tcp", "unix"}, "unix")) == ["unix:///s", "tcp://h:1"]


def test_an_address_of_ucx_without_ucx_says_what_to_set() -> None:
    with pytest.raises(OSError, match=r'no transport serves ucx://.*transport = "ucx"'):
        choose().transport("ucx")


@needs_ucx
def test_with_ucx_there_are_sockets_too() -> None:
    engines = choose("ucx")

    assert [engines.transport(scheme).name for scheme in ("ucx", "tcp", "unix")] == [
        "ucx",
        "sockets",
        "sockets",
    ]
    assert engines.prefers == "ucx"
    assert engines.summary.startswith("ucx 1.")
    assert "tcp/lo" in engines.summary


def test_ucx_is_measured_over_its_own_scheme_only() -> None:
    found = cases(["sockets", "ucx"], ["tcp", "ucx"], [1], [64])

    assert [(case.transport, case.scheme) for case in found if case.transport != FLOOR] == [
        ("sockets", "tcp"),
        ("ucx", "ucx"),
    ]
