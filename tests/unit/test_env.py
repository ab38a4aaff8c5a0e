"""The environment: the real one works, the fixed one repeats."""

import time

import pytest

from benchfs.env import FixedEnv, Rng, fixed_env, system_env


def test_system_clock_goes_forward_and_knows_the_date() -> None:
    clock = system_env().clock

    first, second = clock.monotonic(), clock.monotonic()

    assert second >= first
    assert abs(clock.time_ns() - time.time_ns()) < 60_000_000_000


def test_system_random_bytes_differ() -> None:
    rng = system_env().rng

    assert len(rng.token_bytes(16)) == 16
    assert rng.token_bytes(16) != rng.token_bytes(16)


@pytest.mark.parametrize("rng", [system_env().rng, fixed_env().rng])
def test_randrange_reaches_every_number_below_its_stop(rng: Rng) -> None:
    assert {rng.randrange(3) for _ in range(200)} == {0, 1, 2}
    with pytest.raises(ValueError, match="at least 1"):
        rng.randrange(0)


def test_fixed_clock_moves_only_when_told() -> None:
    clock = fixed_env().clock
    start_ns = clock.time_ns()

    clock.advance(1.5)
    clock.advance(0.25)

    assert clock.monotonic() == 1.75
    assert clock.time_ns() - start_ns == 1_750_000_000


def test_fixed_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        fixed_env().clock.advance(-1)


def test_fixed_random_numbers_depend_on_the_seed_only() -> None:
    def drawn(env: FixedEnv) -> tuple[bytes, int, bytes]:
        return env.rng.token_bytes(8), env.rng.randrange(1000), env.rng.token_bytes(3)

    assert drawn(fixed_env(7)) == drawn(fixed_env(7))
    assert drawn(fixed_env(7)) != drawn(fixed_env(8))
