"""Run a command as a container does whose seccomp profile denies io_uring.

`python deny_io_uring.py COMMAND ARGUMENT...`: io_uring_setup fails with EPERM for it and for all
that it starts. The filter needs no privilege and no package.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF_0000
SECCOMP_RET_ERRNO = 0x0005_0000
IO_URING_SETUP = 425  # on every architecture

# Classic BPF over struct seccomp_data, whose first word is the number of the system call.
LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K


class Program(ctypes.Structure):
    """struct sock_fprog: the number of instructions, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    """One struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def deny() -> None:
    """Deny io_uring to this process from now on. Raises OSError."""
    instructions = b"".join(
        [
            instruction(LOAD_WORD, 0, 0, 0),
            instruction(JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
            instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
            instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW),
        ]
    )
    program = Program(len(instructions) // 8, instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    address = ctypes.addressof(program)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0),
    ):
        if prctl(*call):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), f"prctl{call}")


if __name__ == "__main__":
    deny()
    os.execvp(sys.argv[1], sys.argv[1:])
