"""One UCX worker on one event loop: progress, messages in, completions, endpoints.

UCX is progressed by the loop: its event descriptor wakes it, it works until nothing is left to do,
arms the descriptor and waits again, so an idle worker costs nothing. With progress "adaptive" it
looks for the answer to what it sent for a moment before it waits, while that pays (`lookout.py`).
With "poll" it never waits: a turn of the loop is a turn of UCX, which takes a core.

Callbacks from UCX only note what happened; whatever they lead to is done afterwards, since UCX must
not be progressed inside them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from weakref import WeakKeyDictionary

from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.transports.base import Buffer
from benchfs.rpc.transports.ucx import binding
from benchfs.rpc.transports.ucx.binding import Pointer, Ucx, check, pointer_status
from benchfs.rpc.transports.ucx.context import (
    Progress,
    context,
    printed,
    progress_setting,
    reads_memory_of_others,
    shares_memory,
)
from benchfs.rpc.transports.ucx.introduction import NUMBER_BYTES
from benchfs.rpc.transports.ucx.lookout import Lookout
from benchfs.rpc.transports.ucx.owners import Ends, Owner

MESSAGE_ID = 0xBF
# Rounds of progress in one turn of the loop: others want their turn, too.
ROUNDS = 64
# After this, an operation that should end at once is given up.
GIVE_UP_SECONDS = 1.0

Done = Callable[[int], None]  # gets the status


class Worker:
    """A UCX worker. Made by `hold`, destroyed when its last holder lets go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, progress: Progress) -> None:
        self.ucx: Ucx = binding.load()
        self.loop = loop
        self.name = name
        self.handles_failure = not shares_memory()
        # Whether a receive under way ends soon whatever the peer does.
        self.gets_buffers_back = self.handles_failure or reads_memory_of_others()
        self.buffers = BufferPool()
        # What every message needs, without looking it up.
        self._bytes: Callable[[Pointer, int], bytes] = self.ucx.ffi.unpack
        self._arm: Callable[[Pointer], int] = self.ucx.lib.ucp_worker_arm
        self._send = self.ucx.lib.ucp_am_send_nbx
        self._context = context(self.ucx)
        self._polls = progress == "poll"
        self._looks = progress == "adaptive"
        self._lookout = Lookout(time.perf_counter)
        self._holders = 0
        self._closed = False
        self._due = False
        self._links: dict[bytes, Ends] = {}  # by number
        self._owners: dict[int, Ends] = {}  # by endpoint
        self._paths: dict[int, str] = {}  # by endpoint, as far as they are known
        self._touched: dict[Owner, None] = {}  # whom something happened to, in order
        # by request, with what must stay alive
        self._operations: dict[int, tuple[Done, object]] = {}
        self._sends_done: deque[tuple[Done, int]] = deque()
        self._receives_done: deque[tuple[Done, int]] = deque()
        self._closing: list[Pointer] = []  # requests of endpoints that are being closed
        self._make()

    def _make(self) -> None:
        ffi, lib = self.ucx.ffi, self.ucx.lib
        parameters = ffi.new("ucp_worker_params_t *")
        parameters.field_mask = 1  # single threaded
        place = ffi.new("void **")
        check(lib.ucp_worker_create(self._context, parameters, place))
        self.handle = place[0]
        self._progress: Callable[[], int] = partial(lib.ucp_worker_progress, self.handle)
        self._on_message = ffi.callback(
            "ucs_status_t(void *, const char *, size_t, char *, size_t,"
            " const ucp_am_recv_param_t *)",
            self._message,
        )
        self._on_failure = ffi.callback("void(void *, void *, ucs_status_t)", self._failure)
        self._on_sent = ffi.callback("void(void *, ucs_status_t, void *)", self._sent)
        self._on_received = ffi.callback(
            "void(void *, ucs_status_t, size_t, void *)", self._received
        )
        handler = ffi.new("ucp_am_handler_param_t *")
        handler.field_mask = 1 | 4  # id and callback
        handler.id = MESSAGE_ID
        handler.cb = self._on_message
        check(lib.ucp_worker_set_am_recv_handler(self.handle, handler))
        self._send_parameters = {
            flags: self._operation_parameters(self._on_sent, flags)
            for flags in (
                binding.AM_SEND_EAGER,
                binding.AM_SEND_EAGER | binding.AM_SEND_REPLY,
                binding.AM_SEND_RENDEZVOUS,
            )
        }
        self._receive_parameters = self._operation_parameters(self._on_received, 0)
        descriptor = ffi.new("int *")
        check(lib.ucp_worker_get_efd(self.handle, descriptor))
        self._descriptor = int(descriptor[0])
        self.loop.add_reader(self._descriptor, self._wake)
        _of_loop.setdefault(self.loop, []).append(self)
        self.kick()

    def _operation_parameters(self, callback: Pointer, flags: int) -> Pointer:
        parameters = self.ucx.ffi.new("ucp_request_param_t *")
        parameters.op_attr_mask = binding.ATTR_CALLBACK | (binding.ATTR_FLAGS if flags else 0)
        parameters.cb = self.ucx.ffi.cast("void *", callback)
        parameters.flags = flags
        return parameters

    # ------------------------------------------------------------ what UCX calls

    def _message(
        self, _: Pointer, header: Pointer, header_size: int, data: Pointer, size: int, info: Pointer
    ) -> int:
        head = self._bytes(header, header_size) if header_size else b""
        owner = self._links.get(head[:NUMBER_BYTES])
        if owner is None:
            return binding.OK  # for nobody: dropped
        self._touched[owner] = None
        attributes = info.recv_attr
        if attributes & binding.AM_HAS_REPLY_EP:
            owner.reached(self._owners.get(self._key(info.reply_ep)))
        if attributes & binding.AM_RENDEZVOUS:
            owner.offered(head, data, size)
            return binding.IN_PROGRESS
        owner.arrived(head, self._bytes(data, size) if size else b"")
        return binding.OK

    def _failure(self, _: Pointer, endpoint: Pointer, status: int) -> None:
        owner = self._owners.get(self._key(endpoint))
        if owner is not None:
            self._touched[owner] = None
            owner.failed(status)

    def _sent(self, request: Pointer, status: int, _: Pointer) -> None:
        done, _ = self._operations.pop(self._key(request))
        self._sends_done.append((done, status))
        self.ucx.lib.ucp_request_free(request)

    def _received(self, request: Pointer, status: int, _size: int, _: Pointer) -> None:
        done, _ = self._operations.pop(self._key(request))
        self._receives_done.append((done, status))
        self.ucx.lib.ucp_request_free(request)

    def _key(self, pointer: Pointer) -> int:
        return int(self.ucx.ffi.cast("intptr_t", pointer))

    # ------------------------------------------------------------ progress

    def kick(self) -> None:
        """Progress in this turn of the loop."""
        if not self._due and not self._closed:
            self._due = True
            self.loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._due = False
        progress, lookout = self._progress, self._lookout
        active = False
        for _ in range(ROUNDS):
            if self._closed:
                return
            made = progress()
            if lookout.until and not made:
                made = lookout.look(progress)
                if lookout.until and not made:
                    self.kick()
                    return
            if self._touched or self._sends_done or self._receives_done:
                if lookout.until:
                    lookout.found()
                active = True
                self._dispatch()
            elif not made:
                if not self._holders:
                    self._end_if_unused()
                break
        else:
            self.kick()
            return
        # What was received may lead to sending in the next turn of the loop, and that to looking.
        may_look = active and self._looks and lookout.may_look()
        if may_look or self._polls or self._is_over():
            self.kick()
            return
        status = self._arm(self.handle)
        if status == binding.ERR_BUSY:
            self.kick()
        else:
            check(status)

    def _dispatch(self) -> None:
        """Do what callbacks noted."""
        try:
            if self._receives_done:
                self._tell_receives()
            while self._sends_done and not self._closed:
                done, status = self._sends_done.popleft()
                done(status)
            touched = self._touched
            while touched and not self._closed:
                owner = next(iter(touched))
                del touched[owner]
                owner.handle()
        except BaseException:  # a receiver's: the loop reports it, the others have their turn
            self.kick()
            raise

    def _tell_receives(self) -> None:
        while self._receives_done:
            done, status = self._receives_done.popleft()
            done(status)

    def touch(self, owner: Owner) -> None:
        """Have an owner's `handle` called in this turn of the loop."""
        self._touched[owner] = None
        self.kick()

    def progress_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Progress UCX without the loop, for a short time, until a condition holds.

        Workers of the same loop go on, too: one of them may be the other end. Receives that are
        done are told, all else waits for the loop.
        """
        until = time.monotonic() + seconds
        rounds = 0
        while not condition():
            for worker in _of_loop.get(self.loop, []):
                worker.ucx.lib.ucp_worker_progress(worker.handle)
                worker.kick()
            self._tell_receives()
            rounds += 1
            if rounds > ROUNDS and time.monotonic() > until:
                return False
        return True

    # ------------------------------------------------------------ operations

    def send(self, endpoint: Pointer, header: bytes, data: Buffer, flags: int, done: Done) -> int:
        """Send a message; `done` gets the status, at once or later. `data` stays as it is.

        `flags` is AM_SEND_EAGER, with AM_SEND_REPLY or without, or AM_SEND_RENDEZVOUS. Returns
        the operation's number, for `under_way`.
        """
        buffer = data if type(data) is bytes else self.ucx.ffi.from_buffer("char[]", data)
        parameters = self._send_parameters[flags]
        request = self._send(
            endpoint, MESSAGE_ID, header, len(header), buffer, len(data), parameters
        )
        if self._looks and self._lookout.sent():
            self.kick()
        if not request:  # it is sent
            done(binding.OK)
            return 0
        return self._began(request, done, (header, buffer))

    def receive(self, rendezvous: Pointer, into: Buffer, done: Done) -> None:
        """Receive an offered message into a writable buffer of its size."""
        buffer = self.ucx.ffi.from_buffer("char[]", into, require_writable=True)
        request = self.ucx.lib.ucp_am_recv_data_nbx(
            self.handle, rendezvous, buffer, len(into), self._receive_parameters
        )
        self._began(request, done, buffer)

    def _began(self, request: Pointer, done: Done, alive: object) -> int:
        status = pointer_status(self.ucx, request)
        if status != binding.IN_PROGRESS:
            done(status)
            return 0
        number = self._key(request)
        self._operations[number] = (done, alive)
        self.kick()
        return number

    def under_way(self, number: int) -> bool:
        """Whether UCX still uses the buffer of an operation."""
        return number in self._operations

    def drop(self, rendezvous: Pointer) -> None:
        """Refuse an offered message."""
        self.ucx.lib.ucp_am_data_release(self.handle, rendezvous)

    # ------------------------------------------------------------ endpoints

    def expect(self, number: bytes, owner: Ends) -> None:
        """Messages to this number are the owner's."""
        self._links[number] = owner

    def forget(self, number: bytes) -> None:
        """Nobody has this number any more."""
        owner = self._links.pop(number)
        self._touched.pop(owner, None)

    def connect(self, ip: str, port: int, owner: Ends) -> Pointer:
        """Begin to connect to a listener. Raises OSError."""
        raw = self.ucx.ffi.new("unsigned char[]", binding.pack_address(ip, port))
        parameters = self._endpoint_parameters()
        parameters.field_mask |= binding.EP_PARAM_SOCKADDR | binding.EP_PARAM_FLAGS
        parameters.flags = binding.EP_CLIENT_SERVER
        parameters.sockaddr.addr = raw
        parameters.sockaddr.addrlen = len(raw)
        return self._create_endpoint(parameters, owner)

    def accept(self, connection_request: Pointer, owner: Ends) -> Pointer:
        """Make the endpoint of a connection that a listener was told of. Raises OSError."""
        parameters = self._endpoint_parameters()
        parameters.field_mask |= binding.EP_PARAM_CONNECTION_REQUEST
        parameters.conn_request = connection_request
        return self._create_endpoint(parameters, owner)

    def _endpoint_parameters(self) -> Pointer:
        parameters = self.ucx.ffi.new("ucp_ep_params_t *")
        parameters.field_mask = binding.EP_PARAM_ERROR_MODE | binding.EP_PARAM_ERROR_HANDLER
        parameters.err_mode = int(self.handles_failure)
        parameters.err_cb = self._on_failure
        return parameters

    def _create_endpoint(self, parameters: Pointer, owner: Ends) -> Pointer:
        place = self.ucx.ffi.new("void **")
        check(self.ucx.lib.ucp_ep_create(self.handle, parameters, place))
        self._owners[self._key(place[0])] = owner
        self.kick()
        return place[0]

    def give(self, endpoint: Pointer, owner: Ends) -> None:
        """Somebody else owns an endpoint from now on."""
        self._owners[self._key(endpoint)] = owner

    def path(self, endpoint: Pointer) -> str:
        """The transports and devices that UCX chose for a connected endpoint, as `tcp/eth0`."""
        text = printed(self.ucx, self.ucx.lib.ucp_ep_print_info, endpoint)
        found = re.findall(r"lane\[\d+\]:\s+\d+:(\S+?)\.\d+ ", text)
        path = self._paths[self._key(endpoint)] = "+".join(dict.fromkeys(found)) or "self"
        return path

    def paths(self) -> Iterable[str]:
        """Of all links."""
        return self._paths.values()

    def close(self, endpoint: Pointer) -> None:
        """End an endpoint: its failure is told to nobody any more."""
        ucx = self.ucx
        key = self._key(endpoint)
        del self._owners[key]
        self._paths.pop(key, None)
        parameters = ucx.ffi.new("ucp_request_param_t *")
        if self.handles_failure:
            parameters.op_attr_mask = binding.ATTR_FLAGS
            parameters.flags = binding.EP_CLOSE_FORCE
        request = ucx.lib.ucp_ep_close_nbx(endpoint, parameters)
        if pointer_status(ucx, request) == binding.IN_PROGRESS:
            self._closing.append(request)
            if self.handles_failure:
                self.progress_until(self._all_closed, GIVE_UP_SECONDS)
        self.kick()

    def _all_closed(self) -> bool:
        check_status = self.ucx.lib.ucp_request_check_status
        for request in list(self._closing):
            if check_status(request) != binding.IN_PROGRESS:
                self._closing.remove(request)
                self.ucx.lib.ucp_request_free(request)
        return not self._closing

    # ------------------------------------------------------------ life

    def take_hold(self) -> None:
        """One more holder."""
        self._holders += 1

    def let_go(self) -> None:
        """The opposite of `hold`."""
        self._holders -= 1
        if not self._holders and not self._closed:
            self.progress_until(self._is_quiet, GIVE_UP_SECONDS if self.handles_failure else 0.05)
            self._end_if_unused()

    def _is_over(self) -> bool:
        return self._closed

    def _is_quiet(self) -> bool:
        return self._all_closed() and not self._operations

    def _end_if_unused(self) -> None:
        """Destroy the worker, unless UCX is not done yet: it aborts when something is under way.

        Without error handling a peer that has stopped can delay that as long as it likes.
        """
        if self._holders or self._closed or not self._is_quiet():
            return
        self._closed = True
        _of_loop[self.loop].remove(self)
        self.loop.remove_reader(self._descriptor)
        self.ucx.lib.ucp_worker_destroy(self.handle)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Worker]] = WeakKeyDictionary()


def paths_of_all() -> Counter[str]:
    """The paths of the running loop's links, with how many take them."""
    workers = _of_loop.get(asyncio.get_running_loop(), [])
    return Counter(path for worker in workers for path in worker.paths())


def hold(name: str = "") -> Worker:
    """The running loop's worker of that name, made if there is none. Pair with `let_go`.

    Raises OSError.
    """
    loop = asyncio.get_running_loop()
    for worker in _of_loop.get(loop, []):
        if worker.name == name:
            break
    else:
        worker = Worker(loop, name, progress_setting())
    worker.take_hold()
    return worker
