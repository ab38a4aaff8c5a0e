"""The chunk store: where the bytes of files are kept on a node.

`store.py` answers requests; `state.py` and `record.py` are its pure parts, `files.py` and
`loans.py` touch the system.
"""

from benchfsd.chunks.files import ChunkFiles, DiskChunkFiles
from benchfsd.chunks.loans import Loan, LoanBoard
from benchfsd.chunks.recovery import VerifyReport
from benchfsd.chunks.ring_files import RingChunkFiles
from benchfsd.chunks.store import ChunkStore, ReadResult

__all__ = [
    "ChunkFiles",
    "ChunkStore",
    "DiskChunkFiles",
    "Loan",
    "LoanBoard",
    "ReadResult",
    "RingChunkFiles",
    "VerifyReport",
]
