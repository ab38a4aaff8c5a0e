"""The part of libucp that BenchFS uses, through cffi's ABI mode: no compiler, no wheel of UCX.

Declarations as in UCX 1.13 (`ucp/api/ucp.h`); later versions append fields to the structs of
parameters, and read only those that `field_mask` names, so the tails are padded. The library is
loaded once a process, at first use: what is missing is said by `TransportUnavailableError`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import cache
from typing import Any, NamedTuple, cast

from benchfs.rpc.transports.base import TransportUnavailableError

# Names a library instead of the system's, as one that was built for the cluster's fabric.
LIBRARY_VARIABLE = "BENCHFS_UCX_LIBRARY"
DEFAULT_LIBRARY = "libucp.so.0"
OLDEST = (1, 13)
# Where to get it, for the texts of errors.
HOW_TO_INSTALL = "install Debian's libucx0, Fedora's and RHEL's ucx, or openucx.org's packages"

FEATURE_WAKEUP = 1 << 4
FEATURE_AM = 1 << 6
OK, IN_PROGRESS = 0, 1
ERR_NO_MEMORY, ERR_INVALID_PARAM, ERR_UNREACHABLE, ERR_NO_DEVICE = -4, -5, -6, -14
ERR_BUSY, ERR_CANCELED, ERR_TIMED_OUT = -15, -16, -20
ERR_REJECTED, ERR_NOT_CONNECTED, ERR_CONNECTION_RESET = -23, -24, -25
ERR_ENDPOINT_TIMEOUT, ERR_LAST = -80, -100
EP_PARAM_ERROR_MODE, EP_PARAM_ERROR_HANDLER = 1 << 1, 1 << 2
EP_PARAM_SOCKADDR, EP_PARAM_FLAGS, EP_PARAM_CONNECTION_REQUEST = 1 << 4, 1 << 5, 1 << 6
EP_CLIENT_SERVER = 1
EP_CLOSE_FORCE = 1
ATTR_CALLBACK, ATTR_FLAGS = 1 << 1, 1 << 4
AM_SEND_REPLY, AM_SEND_EAGER, AM_SEND_RENDEZVOUS = 1, 2, 4
AM_HAS_REPLY_EP, AM_RENDEZVOUS = 1, 1 << 17

# A status is a one-byte enum. `pad` is room for what later versions append.
_DECLARATIONS = """
typedef signed char ucs_status_t;
typedef struct { const void *addr; uint32_t addrlen; } ucs_sock_addr_t;
typedef struct { uint64_t field_mask, features; size_t request_size; void *init, *cleanup;
  uint64_t sender_mask; int mt_shared; size_t n_eps, n_ppn; const char *name; uint64_t pad[8];
} ucp_params_t;
typedef struct { uint64_t field_mask; int thread_mode; uint64_t cpu_mask[16]; unsigned events;
  void *user_data; int event_fd; uint64_t flags; const char *name; size_t am_align;
  uint64_t client_id; uint64_t pad[8]; } ucp_worker_params_t;
typedef struct { uint64_t field_mask; ucs_sock_addr_t sockaddr; void *acb, *aarg;
  void (*ccb)(void *, void *); void *carg; uint64_t pad[8]; } ucp_listener_params_t;
typedef struct { uint64_t field_mask; unsigned char address[128]; uint64_t pad[8]; }
  ucp_listener_attr_t;
typedef struct { uint64_t field_mask; unsigned char address[128]; uint64_t pad[8]; }
  ucp_conn_request_attr_t;
typedef struct { uint64_t field_mask; const void *address; int err_mode;
  void (*err_cb)(void *, void *, ucs_status_t); void *err_arg; void *user_data; unsigned flags;
  ucs_sock_addr_t sockaddr; void *conn_request; const char *name; ucs_sock_addr_t local;
  uint64_t pad[8]; } ucp_ep_params_t;
typedef struct { uint32_t op_attr_mask, flags; void *request; void *cb; uint64_t datatype;
  void *user_data, *reply; int mem_type; void *recv_info; void *memh; uint64_t pad[8];
} ucp_request_param_t;
typedef struct { uint64_t recv_attr; void *reply_ep; } ucp_am_recv_param_t;
typedef struct { uint64_t field_mask; unsigned id; uint32_t flags;
  ucs_status_t (*cb)(void *, const char *, size_t, char *, size_t, const ucp_am_recv_param_t *);
  void *arg; uint64_t pad[8]; } ucp_am_handler_param_t;

void ucp_get_version(unsigned *, unsigned *, unsigned *);
ucs_status_t ucp_init_version(unsigned, unsigned, const ucp_params_t *, const void *, void **);
ucs_status_t ucp_config_read(const char *, const char *, void **);
ucs_status_t ucp_config_modify(void *, const char *, const char *);
void ucp_config_release(void *);
void ucp_context_print_info(void *, void *);
ucs_status_t ucp_worker_create(void *, const ucp_worker_params_t *, void **);
void ucp_worker_destroy(void *);
unsigned ucp_worker_progress(void *);
ucs_status_t ucp_worker_get_efd(void *, int *);
ucs_status_t ucp_worker_arm(void *);
ucs_status_t ucp_worker_set_am_recv_handler(void *, const ucp_am_handler_param_t *);
ucs_status_t ucp_listener_create(void *, const ucp_listener_params_t *, void **);
ucs_status_t ucp_listener_query(void *, ucp_listener_attr_t *);
ucs_status_t ucp_listener_reject(void *, void *);
void ucp_listener_destroy(void *);
ucs_status_t ucp_conn_request_query(void *, ucp_conn_request_attr_t *);
ucs_status_t ucp_ep_create(void *, const ucp_ep_params_t *, void **);
void *ucp_ep_close_nbx(void *, const ucp_request_param_t *);
void ucp_ep_print_info(void *, void *);
void *ucp_am_send_nbx(void *, unsigned, const void *, size_t, const void *, size_t,
  const ucp_request_param_t *);
void *ucp_am_recv_data_nbx(void *, void *, void *, size_t, const ucp_request_param_t *);
void ucp_am_data_release(void *, void *);
ucs_status_t ucp_request_check_status(void *);
void ucp_request_cancel(void *, void *);
void ucp_request_free(void *);

void *open_memstream(char **, size_t *);
int fclose(void *);
void free(void *);
"""


Pointer = Any  # a C pointer: cffi ships no types


class Ucx(NamedTuple):
    """The loaded library. `ffi`, `lib` (libucp) and `libc` have no types: cffi ships none."""

    ffi: Any
    lib: Any
    libc: Any
    status_text: Any  # ucs_status_string
    version: tuple[int, int, int]


# What UCX does unless told otherwise: it logs to standard output, also what is no more than a peer
# that has gone, and takes the signals of crashes for itself.
_MANNERS = {"UCX_LOG_FILE": "stderr", "UCX_LOG_LEVEL": "fatal", "UCX_ERROR_SIGNALS": ""}


@cache
def load() -> Ucx:
    """Load cffi and libucp, once. Raises TransportUnavailableError."""
    try:
        from cffi import FFI  # noqa: PLC0415 (an optional package)
    except ImportError as exc:
        raise _unavailable(f"the extra of that name is not installed ({exc}): {_PIP}") from None
    for variable, value in _MANNERS.items():
        os.environ.setdefault(variable, value)  # libucs reads them as it is loaded
    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    name = os.environ.get(LIBRARY_VARIABLE, DEFAULT_LIBRARY)
    try:
        lib = ffi.dlopen(name)
        libc = ffi.dlopen(None)
        strings = FFI()
        strings.cdef("const char *ucs_status_string(signed char);")
        # libucp depends on libucs: the name finds the one that was loaded with it.
        ucs = strings.dlopen("libucs.so.0")
    except OSError as exc:
        raise _unavailable(f"{str(exc).partition('.  ')[0]}: {HOW_TO_INSTALL}") from None
    numbers = [ffi.new("unsigned *") for _ in range(3)]
    lib.ucp_get_version(*numbers)
    version = (int(numbers[0][0]), int(numbers[1][0]), int(numbers[2][0]))
    if version[:2] < OLDEST:
        text = ".".join(map(str, version))
        oldest = ".".join(map(str, OLDEST))
        raise _unavailable(f"UCX {text} is too old, {oldest} is needed: {HOW_TO_INSTALL}")

    def status_text(status: int) -> str:
        return cast(bytes, strings.string(ucs.ucs_status_string(status))).decode()

    return Ucx(ffi, lib, libc, status_text, version)


_PIP = "pip install 'benchfs[ucx]'"


def _unavailable(reason: str) -> TransportUnavailableError:
    return TransportUnavailableError(errno.EOPNOTSUPP, f"transport ucx: {reason}")


_ERRNOS = {
    ERR_NO_MEMORY: errno.ENOMEM,
    ERR_INVALID_PARAM: errno.EINVAL,
    ERR_UNREACHABLE: errno.ECONNREFUSED,
    ERR_NO_DEVICE: errno.ENODEV,
    ERR_BUSY: errno.EADDRINUSE,
    ERR_CANCELED: errno.ECANCELED,
    ERR_TIMED_OUT: errno.ETIMEDOUT,
    ERR_REJECTED: errno.ECONNREFUSED,
    ERR_NOT_CONNECTED: errno.ENOTCONN,
    ERR_CONNECTION_RESET: errno.ECONNRESET,
    ERR_ENDPOINT_TIMEOUT: errno.ETIMEDOUT,
}


def failure(status: int, address: str | None = None) -> OSError:
    """The OSError of a status below zero."""
    return OSError(_ERRNOS.get(status, errno.EIO), f"UCX: {load().status_text(status)}", address)


def check(status: int, address: str | None = None) -> None:
    """Raise OSError for a status that is an error."""
    if status < 0:
        raise failure(status, address)


def pointer_status(ucx: Ucx, request: Pointer) -> int:
    """What an operation returned: OK, IN_PROGRESS (it is a request then), or an error."""
    if not request:
        return OK
    value = int(ucx.ffi.cast("intptr_t", request))
    return value if ERR_LAST <= value < 0 else IN_PROGRESS


def pack_address(ip: str, port: int) -> bytes:
    """A sockaddr_in or sockaddr_in6."""
    if ":" in ip:
        packed = socket.inet_pton(socket.AF_INET6, ip)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + packed + bytes(4)
    packed = socket.inet_pton(socket.AF_INET, ip)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + packed + bytes(8)


def unpack_address(raw: bytes) -> tuple[str, int]:
    """The IP and port of a sockaddr."""
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET6:
        return socket.inet_ntop(family, raw[8:24]), port
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
