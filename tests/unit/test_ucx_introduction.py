"""How two ends over UCX come to know one another: whole, in pieces, and with peers that lie."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.rpc.transports.ucx.introduction import (
    MAGIC,
    NONCE_BYTES,
    NUMBER_BYTES,
    PROOF_BYTES,
    Card,
    Introduction,
    IntroductionError,
)

SECRET = b"the cluster's"
NEAR = Card(b"n" * NUMBER_BYTES, 0)
FAR = Card(b"f" * NUMBER_BYTES, 40_000)


def pair(far_secret: bytes = SECRET) -> tuple[Introduction, Introduction]:
    """The side that connects, and the side that listens."""
    return (
        Introduction(SECRET, os.urandom(NONCE_BYTES), lambda: NEAR, connects=True),
        Introduction(far_secret, os.urandom(NONCE_BYTES), lambda: FAR, connects=False),
    )


def talk(near: Introduction, far: Introduction, piece: int) -> None:
    """Pass what each says to the other, in pieces of that many bytes, until both are silent."""
    to_far, to_near = near.opening(), far.opening()
    while to_far or to_near:
        said, to_far = to_far[:piece], to_far[piece:]
        if said:
            to_near += far.receive(said)
        said, to_near = to_near[:piece], to_near[piece:]
        if said:
            to_far += near.receive(said)


@pytest.mark.parametrize("piece", [1, 7, 40, 10_000])
def test_both_sides_learn_the_others_card(piece: int) -> None:
    near, far = pair()

    talk(near, far, piece)

    assert near.peer == FAR
    assert far.peer == NEAR


def test_the_listening_side_shows_its_card_only_to_who_knows_the_secret() -> None:
    near, far = pair(far_secret=b"another")
    opening = far.opening()

    with pytest.raises(IntroductionError, match="does not know this cluster's secret"):
        far.receive(near.opening() + near.receive(opening))

    assert opening == MAGIC + opening[len(MAGIC) :]
    assert far.peer is None


def test_a_card_cannot_be_played_back_to_who_showed_it() -> None:
    """The roles are part of the proof, so a side's own card is not proof of another's secret."""
    near, _ = pair()
    mirror = Introduction(SECRET, near.opening()[len(MAGIC) :], lambda: NEAR, connects=True)
    card = near.receive(mirror.opening())

    with pytest.raises(IntroductionError, match="secret"):
        near.receive(card)


@pytest.mark.parametrize("place", range(0, PROOF_BYTES + NUMBER_BYTES + 2, 3))
def test_a_changed_card_is_not_believed(place: int) -> None:
    near, far = pair()
    card = bytearray(near.receive(far.opening()))
    card[place] ^= 1
    far.receive(near.opening())

    try:
        far.receive(bytes(card))
    except IntroductionError:
        pass

    assert far.peer is None


def test_more_than_was_asked_for_is_an_error() -> None:
    near, far = pair()
    card = near.receive(far.opening())

    with pytest.raises(IntroductionError, match="more than"):
        far.receive(near.opening() + card + b"x")


@given(st.binary(min_size=1, max_size=300), st.integers(0, 120))
def test_whatever_a_stranger_says_is_an_error_or_waited_for(said: bytes, honest: int) -> None:
    near, far = pair()
    whole = near.opening() + near.receive(far.opening())

    try:
        far.receive(whole[:honest])
        far.receive(said)
    except IntroductionError:
        pass

    assert far.peer in {None, NEAR}
    assert far.peer is None or honest + len(said) >= len(whole)
