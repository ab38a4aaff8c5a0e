#!/bin/sh
# Inside the guest, in the host's files: a soft RoCE adapter, and the contract suites over it.
root=$1
shift
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LANG=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1
ip link set lo up
ip link add rdma0 type dummy
ip address add 10.99.0.1/24 dev rdma0
ip link set rdma0 up
rdma link add rxe0 type rxe netdev rdma0 || exit 90
cd "$root" || exit 91
echo "guest: Linux $(uname -r), $(rdma link show)"
export UCX_TLS=${RDMA_TLS:-rc_verbs,self}
ucx_info -v | head -2
ucx_info -d | grep -E "Transport|Device:" | paste - - | grep -E "rxe|tcp"
exec .venv/bin/python -m pytest -q -p no:cacheprovider "${@:-tests/contract/test_transport.py}"
