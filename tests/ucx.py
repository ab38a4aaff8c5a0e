"""Whether the tests of the ucx transport can run here, and if not, why."""

import pytest

from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.ucx import binding


def _reason() -> str | None:
    try:
        binding.load()
    except TransportUnavailableError as exc:
        return exc.strerror
    return None


WITHOUT_UCX = _reason()
needs_ucx = pytest.mark.skipif(WITHOUT_UCX is not None, reason=f"NOT TESTED: {WITHOUT_UCX}")
