"""How far the chunks of a file reach on this node: for a size that was not reported yet."""

from __future__ import annotations

from benchfsd import rows
from benchfsd.chunks.table import ChunkTable


def file_end(table: ChunkTable, ino: int, chunk_size: int) -> tuple[int, int]:
    """The truncation epoch that this node knows, and where the file's bytes on it end, 0 for none.

    Looks at the last chunk of each group: one row a group. RemoteError if a row is damaged.
    """
    file = table.file(ino)
    end = 0
    for group in file.groups:
        for key, _ in table.database.scan(rows.chunk_prefix(group, ino), reverse=True):
            index = rows.chunk_of_key(key)[2]
            state = table.find(group, ino, index)
            if state is not None and state.length:
                end = max(end, index * chunk_size + state.length)
                break
    return file.truncation, end
