"""Listing page by page: each name once, in order, and no page too long."""

import msgpack
import pytest

from benchfs.inode import ROOT_INO, FileType, make_ino
from benchfs.rpc.messages import (
    Attributes,
    EntryRecord,
    LayoutRecord,
    ReadDirectory,
    ReadDirectoryReply,
    Unlink,
)
from benchfsd import rows
from benchfsd.renaming import RenamingNamespace as Namespace
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import BODY_LIMIT, ELSEWHERE, create, listed, make_directory, root


def pages(names: Namespace, most: int) -> list[ReadDirectoryReply]:
    found = [names.read_directory(ReadDirectory(ROOT_INO, b"", most))]
    while found[-1].more:
        after = found[-1].entries[-1].name
        found.append(names.read_directory(ReadDirectory(ROOT_INO, after, most)))
    return found


@pytest.mark.parametrize("most", [1, 3, 7, 10, 11, 65535])
def test_pages_hold_each_entry_once_in_order(names: Namespace, most: int) -> None:
    wanted = sorted(b"%d" % number for number in range(10))
    for name in wanted:
        create(names, name)

    found = pages(names, most)

    assert [entry.name for page in found for entry in page.entries] == wanted
    assert all(len(page.entries) == most for page in found[:-1])
    assert len(found) == -(-10 // most)


def test_an_empty_directory_is_one_empty_page(names: Namespace) -> None:
    assert pages(names, 10) == [ReadDirectoryReply((), more=False, searchable=True)]


def test_a_page_of_no_entries_would_never_end(names: Namespace) -> None:
    create(names, b"file")

    assert [len(page.entries) for page in pages(names, 0)] == [1]


def test_entries_come_with_the_attributes_that_are_here(names: Namespace) -> None:
    made = create(names, b"file")
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)

    assert pages(names, 10)[0].entries == (
        EntryRecord(b"far", ELSEWHERE, FileType.DIRECTORY, None, 0),
        EntryRecord(b"file", made.ino, FileType.FILE, made, 0),
    )


def test_a_listing_goes_on_after_a_name_that_is_gone(names: Namespace) -> None:
    for name in (b"a", b"b", b"c"):
        create(names, name)
    first = names.read_directory(ReadDirectory(ROOT_INO, b"", 2))
    names.unlink(Unlink(ROOT_INO, b"b"))

    second = names.read_directory(ReadDirectory(ROOT_INO, b"b", 2))

    assert [entry.name for entry in first.entries + second.entries] == [b"a", b"b", b"c"]


def test_directories_do_not_see_each_others_entries(names: Namespace) -> None:
    one, other = make_directory(names, b"one"), make_directory(names, b"other")
    create(names, b"file", one)

    assert listed(names, one) == [b"file"]
    assert listed(names, other) == []


@pytest.mark.parametrize("stripe", [(), tuple(range(60_000, 64_096))], ids=["plain", "striped"])
def test_a_page_is_no_longer_than_a_body_may_be(
    names: Namespace, memory: MemoryRows, stripe: tuple[int, ...]
) -> None:
    """All fields at their largest, and names of 255 bytes."""
    greatest, big = 2**64 - 1, 2**32 - 1
    largest = Attributes(
        *(0, 1, 0o7777, big, big, big, greatest, big, -(2**63), -(2**63), -(2**63), greatest),
        *(greatest, greatest, 65535, LayoutRecord(2**24, 65535, stripe)),
    )
    count = 200 if stripe else 5000
    directory = root(names)
    for number in range(count):
        ino = make_ino(0, 65535, 2**31 + number)
        memory.put(rows.inode_key(0, ino), rows.encode_inode(largest._replace(ino=ino)))
        key = rows.entry_key(0, ROOT_INO, b"%0255d" % number)
        memory.put(key, rows.encode_entry(ino, FileType.FILE))
    names.inodes.put(directory._replace(entries=count))

    found = pages(names, 65535)

    assert sum(len(page.entries) for page in found) == count
    sizes = [len(msgpack.packb((26, *page))) for page in found]
    assert max(sizes) <= 900_000 < BODY_LIMIT
    assert min(sizes[:-1]) > 700_000  # and not needlessly short
