"""Say which path UCX takes for a link at BENCHFS_TEST_UCX_IP; fail unless it is the one asked for.

python -m tests.rdma.show_path rc_verbs/rxe0:1
"""

from __future__ import annotations

import asyncio
import sys

from benchfs.rpc.transports.ucx.link import UcxLink
from tests.contract.links import Recorder, engine_of


async def _path() -> tuple[str, str]:
    """The path of a link, and what UCX had to choose from."""
    async with engine_of("ucx") as engine:
        far, near = Recorder(), Recorder()
        listener = await engine.transport.listen(engine.address(), lambda: far)
        link = await engine.transport.connect(listener.address, near)
        assert isinstance(link, UcxLink)
        link.abort()
        await far.until(lambda far: bool(far.lost_reasons))
        listener.close()
        return link.path, engine.transport.summary


def main() -> None:
    """Exit with 1 if the path begins otherwise."""
    wanted = sys.argv[1]
    path, summary = asyncio.run(_path())
    sys.stdout.write(f"{summary} chose {path}\n")
    if not path.startswith(wanted):
        sys.exit(f"the path is not {wanted}")


if __name__ == "__main__":
    main()
