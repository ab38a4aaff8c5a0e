#!/bin/sh
# Inside the guest, in the host's files: a soft RoCE adapter, and the contract suites over it.
root=$1
shift
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LANG=C.UTF-8 TERM=dumb
export PYTHONDONTWRITEBYTECODE=1
ip link set lo up
ip link add rdma0 type dummy
ip address add 10.99.0.1/24 dev rdma0
ip link set rdma0 up
rdma link add rxe0 type rxe netdev rdma0 || exit 90
cd "$root" || exit 91
echo "guest: Linux $(uname -r), $(rdma link show)"

path='import asyncio
from benchfs.rpc.transports.ucx import transport
from tests.contract.links import Recorder, engine_of
transport.GREETING_SECONDS = 100.0  # the guest is slow
async def main():
    async with engine_of("ucx") as engine:
        far, near = Recorder(), Recorder()
        listener = await engine.transport.listen(engine.address(), lambda: far)
        link = await engine.transport.connect(listener.address, near)
        print("guest:", engine.transport.summary, "chose", link.path, flush=True)
        assert link.path.startswith("rc_verbs/")
        link.abort()
        await far.until(lambda far: bool(far.lost_reasons))
        listener.close()
asyncio.run(main())'
export BENCHFS_TEST_UCX_IP=10.99.0.1
# The bytes go over reliable connections; these are made over TCP, or by the fabric.
for priority in rdmacm tcp; do
  export UCX_TLS=rc_verbs,tcp,self UCX_SOCKADDR_TLS_PRIORITY=$priority
  echo "guest: connections by $priority"
  timeout -s KILL 120 .venv/bin/python -X faulthandler -c "$path" && break
done || exit 92
[ $# -gt 0 ] || set -- tests/contract/test_transport.py tests/contract/test_cancelled_buffers.py \
  tests/contract/test_rpc.py tests/contract/test_rpc_limits.py
exec .venv/bin/python -X faulthandler -c 'import sys, pytest
from benchfs.rpc.transports.ucx import transport
transport.GREETING_SECONDS = 100.0
sys.exit(pytest.main(sys.argv[1:]))' -q --color=no -p no:cacheprovider "$@"
