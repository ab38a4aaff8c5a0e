#!/bin/sh
# Inside the guest, in the host's files: a soft RoCE adapter, ucx_perftest over it, and the contract
# suites of transports and calls with their bytes on reliable connections. Arguments, if there are
# any, are pytest's, and run in place of the suites.
root=$1
shift
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LANG=C.UTF-8 TERM=dumb
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/run/hypothesis
ip=10.99.0.1
ip link set lo up
ip link add rdma0 type dummy
ip address add $ip/24 dev rdma0
ip link set rdma0 mtu 4200 up
rdma link add rxe0 type rxe netdev rdma0 || exit 90
cd "$root" || exit 91
echo "guest: Linux $(uname -r), $(rdma link show)"

export BENCHFS_TEST_UCX_IP=$ip
# Soft RoCE fills in the addresses of datagrams otherwise than adapters do: UCX drops them all,
# unless told not to look. A worker of 4096 receives takes long to make on an emulated processor.
export UCX_UD_VERBS_ETH_DGID_CHECK=n UCX_RC_VERBS_RX_QUEUE_LEN=256 UCX_WARN_UNUSED_ENV_VARS=n
failed=0
# A connection by UCX has six descriptors at each end, and both ends of 200 are in one process here.
ulimit -n 20000

say() { # TEXT COMMAND...: runs it, and says what came of it
  echo "guest: $1"
  text=$1
  shift
  if "$@"; then echo "guest: $text: passed"; else
    echo "guest: $text: FAILED ($?)"
    failed=1
  fi
}

perftest() { # TEST SIZE COUNT
  timeout -s KILL 60 ucx_perftest -p 13400 >/run/server.log 2>&1 &
  server=$!
  while ! ss -Hltn 'sport = 13400' | grep -q .; do
    kill -0 $server || return 1
  done
  timeout -s KILL 60 ucx_perftest -p 13400 $ip -t "$1" -s "$2" -n "$3" -w 20 -f
  status=$?
  wait $server
  return $status
}

# One test allows a second for two connections, another 100 s for 200 handshakes: an emulated processor
# does not keep the one, and on a busy machine not the other.
too_fast="swallows_everything or two_hundred_clients"

suites() {
  timeout -s KILL 1500 .venv/bin/python -X faulthandler -m pytest -q --color=no -ra \
    -p no:cacheprovider -p no:randomly -p tests.rdma.patience -o timeout=300 \
    -k "not ($too_fast)" "$@"
}

export UCX_TLS=rc_verbs,ud_verbs,self
if command -v ucx_perftest >/dev/null; then
  say "ucx_perftest, 64 bytes there and back over $UCX_TLS" perftest ucp_am_lat 64 500
  say "ucx_perftest, 1 MiB one way over $UCX_TLS" perftest ucp_am_bw 1048576 50
else
  echo "guest: no ucx_perftest (Debian: ucx-utils)"
fi
# How connections are made, and what the bytes may take.
for choice in tcp:rc_verbs,tcp,self rdmacm:rc_verbs,ud_verbs,self rdmacm:rc_verbs,tcp,self; do
  export UCX_SOCKADDR_TLS_PRIORITY=${choice%%:*} UCX_TLS=${choice#*:}
  say "a link over $UCX_TLS, connected by $UCX_SOCKADDR_TLS_PRIORITY" \
    timeout -s KILL 120 .venv/bin/python -X faulthandler -m tests.rdma.show_path rc_verbs/rxe0
done
if [ $# -gt 0 ]; then
  say "pytest $*" suites "$@"
else
  for choice in rc_verbs,tcp,self rc_verbs,ud_verbs,self; do
    export UCX_TLS=$choice
    say "the suites over $UCX_TLS, connected by $UCX_SOCKADDR_TLS_PRIORITY" \
      suites tests/contract/test_transport.py tests/contract/test_cancelled_buffers.py \
      tests/contract/test_rpc.py tests/contract/test_rpc_handshake.py \
      tests/contract/test_rpc_limits.py
  done
fi
for counter in sent_pkts rcvd_pkts rdma_sends rdma_recvs; do
  echo "guest: rxe0 $counter $(cat /sys/class/infiniband/rxe0/ports/1/hw_counters/$counter)"
done
exit $failed
