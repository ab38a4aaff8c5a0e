"""Links in one group and between two, step by step, with every step repeated and cut short."""

import errno
from collections.abc import Callable

import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    ChangeLinks,
    Code,
    DropLink,
    LayoutRecord,
    Link,
    Lookup,
    MakeInode,
    MakeSpecial,
    MakeSymlink,
    Open,
    ReadLink,
    Rename,
    RenameHow,
    SealDirectory,
    SettleLinks,
    SetXattr,
    Unlink,
)
from benchfsd.links import LINKS_MOST, Links
from benchfsd.namespace import Namespace
from benchfsd.renaming import RenamingNamespace
from benchfsd.rows import IntentKind
from benchfsd.xattrs import Xattrs
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(chunk_size=65536, first=0, stripe=())
HERE, THERE = 0, 3


class Groups:
    """Two groups: a directory in each, the links of both, and a file that is at home THERE."""

    def __init__(self) -> None:
        self.env: FixedEnv = fixed_env(1)
        self.rows = MemoryRows()
        self.here = RenamingNamespace(HERE, self.rows, self.env)
        self.there = RenamingNamespace(THERE, self.rows, self.env)
        self.here.inodes.format_root(10, 20)
        made = self.there.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 10, 20, 1))
        self.directory = made.attributes.ino
        self.links = Links(self.here, self.rows, self.env)
        self.home = Links(self.there, self.rows, self.env)
        self.file = self.create(self.there, self.directory, b"file")

    def create(self, names: Namespace, parent: int, name: bytes) -> Attributes:
        made = names.open(Open(parent, name, True, True, 0o640, 10, 20, LAYOUT)).attributes
        assert made is not None
        return made

    def nlink(self) -> int | None:
        inode = self.there.inodes.find(self.file.ino)
        return None if inode is None else inode.nlink


@pytest.fixture
def groups() -> Groups:
    return Groups()


def refused(code: int, groups: Groups, call: Callable[[], object]) -> None:
    """The call raises this code, and has written nothing."""
    before = groups.rows.snapshot()
    with pytest.raises(RemoteError) as caught:
        call()
    assert caught.value.code == code
    assert groups.rows.snapshot() == before


def link_across(groups: Groups, name: bytes = b"link") -> None:
    intent = groups.links.begin_link(Link(ROOT_INO, name, groups.file.ino))
    groups.home.change_links(ChangeLinks(groups.file.ino, intent.token))
    groups.links.finish_link(intent, FileType.FILE)
    groups.home.settle_links(SettleLinks(groups.file.ino, intent.token, True))
    groups.links.forget(intent._replace(kind=IntentKind.SETTLE))


# ------------------------------------------------------- symbolic links and special files


def test_a_symbolic_link_says_what_it_was_made_with(groups: Groups) -> None:
    made = groups.links.make_symlink(MakeSymlink(ROOT_INO, b"s", b"../a\xff", 5, 6)).attributes

    assert (made.type, made.mode, made.size, made.uid, made.nlink) == (
        FileType.SYMLINK,
        0o777,
        5,
        5,
        1,
    )
    assert groups.links.read_link(ReadLink(made.ino)).target == b"../a\xff"
    assert groups.here.lookup(Lookup(ROOT_INO, b"s")).attributes == made


@pytest.mark.parametrize(
    ("target", "code"),
    [(b"", errno.ENOENT), (b"a\0b", errno.EINVAL), (b"a" * 4096, errno.ENAMETOOLONG)],
)
def test_a_target_that_cannot_be_is_refused(groups: Groups, target: bytes, code: int) -> None:
    message = MakeSymlink(ROOT_INO, b"s", target, 5, 6)
    refused(code, groups, lambda: groups.links.make_symlink(message))


def test_a_taken_name_is_not_linked(groups: Groups) -> None:
    groups.links.make_symlink(MakeSymlink(ROOT_INO, b"s", b"x", 5, 6))

    again = MakeSymlink(ROOT_INO, b"s", b"y", 5, 6)
    refused(errno.EEXIST, groups, lambda: groups.links.make_symlink(again))
    link = Link(ROOT_INO, b"s", groups.file.ino)
    refused(errno.EEXIST, groups, lambda: groups.links.begin_link(link))


def test_only_symbolic_links_are_read_as_such(groups: Groups) -> None:
    refused(errno.EINVAL, groups, lambda: groups.home.read_link(ReadLink(groups.file.ino)))
    refused(errno.ENOENT, groups, lambda: groups.home.read_link(ReadLink(groups.file.ino + 9)))


def test_a_removed_inode_leaves_no_row(groups: Groups) -> None:
    before = groups.rows.snapshot().keys()
    groups.links.make_symlink(MakeSymlink(ROOT_INO, b"s", b"x", 5, 6))
    made = groups.create(groups.here, ROOT_INO, b"f")
    xattrs = Xattrs(groups.here.inodes, groups.rows, groups.env)
    xattrs.set(SetXattr(made.ino, b"user.a", b"1", 0), None)

    groups.here.unlink(Unlink(ROOT_INO, b"s"))
    purge = groups.here.unlink(Unlink(ROOT_INO, b"f")).purge
    assert purge is not None
    groups.here.intents.finish(purge)

    left = groups.rows.snapshot().keys() - before
    assert [key[2] for key in left] == [5]  # the counter of inode numbers


def test_a_replaced_directory_leaves_no_row(groups: Groups) -> None:
    before = groups.rows.snapshot().keys()
    made = groups.there.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 10, 20, 1)).attributes
    xattrs = Xattrs(groups.there.inodes, groups.rows, groups.env)
    xattrs.set(SetXattr(made.ino, b"user.a", b"1", 0), None)

    groups.there.seal_directory(SealDirectory(b"token", HERE, made.ino))
    groups.there.conclude(b"token", commit=True)

    assert groups.rows.snapshot().keys() == before


@pytest.mark.parametrize("file_type", [FileType.FIFO, FileType.SOCKET])
def test_special_files_are_inodes_of_their_type(groups: Groups, file_type: FileType) -> None:
    message = MakeSpecial(ROOT_INO, b"p", file_type, 0o640, 5, 6)

    made = groups.links.make_special(message).attributes

    assert (made.type, made.mode, made.uid, made.size) == (file_type, 0o640, 5, 0)


def test_no_other_type_is_made_as_special(groups: Groups) -> None:
    message = MakeSpecial(ROOT_INO, b"p", FileType.FILE, 0o640, 5, 6)
    refused(errno.EINVAL, groups, lambda: groups.links.make_special(message))


# ------------------------------------------------------------------ hard links in one group


def test_a_link_is_one_more_name_of_the_same_inode(groups: Groups) -> None:
    groups.env.clock.advance(1)

    linked = groups.home.link(Link(groups.directory, b"two", groups.file.ino)).attributes

    assert linked.nlink == 2
    assert linked.ctime_ns == groups.env.clock.time_ns() > groups.file.ctime_ns
    assert groups.there.lookup(Lookup(groups.directory, b"two")).attributes == linked
    assert groups.there.unlink(Unlink(groups.directory, b"file")).purge is None
    assert groups.nlink() == 1
    assert groups.there.unlink(Unlink(groups.directory, b"two")).purge is not None
    assert groups.nlink() is None


def test_directories_and_missing_inodes_are_not_linked(groups: Groups) -> None:
    directory = Link(groups.directory, b"x", groups.directory)
    missing = Link(groups.directory, b"x", groups.file.ino + 9)

    refused(errno.EPERM, groups, lambda: groups.home.link(directory))
    refused(errno.ENOENT, groups, lambda: groups.home.link(missing))


def test_a_file_has_no_more_names_than_the_limit(groups: Groups) -> None:
    groups.there.inodes.put(groups.file._replace(nlink=LINKS_MOST))

    link = Link(groups.directory, b"x", groups.file.ino)
    refused(errno.EMLINK, groups, lambda: groups.home.link(link))
    change = ChangeLinks(groups.file.ino, 7)
    refused(errno.EMLINK, groups, lambda: groups.home.change_links(change))


# ---------------------------------------------------------------- hard links across groups


def test_an_entry_can_point_to_another_group(groups: Groups) -> None:
    link_across(groups)

    found = groups.here.lookup(Lookup(ROOT_INO, b"link"))
    assert (found.ino, found.type, found.attributes) == (groups.file.ino, FileType.FILE, None)
    assert groups.nlink() == 2
    assert groups.here.intents.pending() == []


def test_each_name_counts_once_however_often_it_comes(groups: Groups) -> None:
    for _ in range(3):
        linked = groups.home.change_links(ChangeLinks(groups.file.ino, 1))

    assert linked.attributes.nlink == groups.nlink() == 2


def test_a_link_that_was_cut_short_is_undone(groups: Groups) -> None:
    intent = groups.links.begin_link(Link(ROOT_INO, b"link", groups.file.ino))
    groups.home.change_links(ChangeLinks(groups.file.ino, intent.token))

    (found,) = groups.here.intents.pending()
    for _ in range(2):
        assert groups.home.settle_links(SettleLinks(found.ino, found.token, False)) is None
    groups.links.abort_link(found)

    assert groups.nlink() == 1
    assert groups.here.find_entry(ROOT_INO, b"link") is None
    assert groups.here.intents.pending() == []


def test_a_file_whose_other_name_went_meanwhile_goes_with_the_undone_link(groups: Groups) -> None:
    intent = groups.links.begin_link(Link(ROOT_INO, b"link", groups.file.ino))
    groups.home.change_links(ChangeLinks(groups.file.ino, intent.token))
    groups.there.unlink(Unlink(groups.directory, b"file"))
    assert groups.nlink() == 1

    purge = groups.home.settle_links(SettleLinks(groups.file.ino, intent.token, False))

    assert purge is not None
    assert groups.nlink() is None


def test_a_settled_change_is_kept_and_its_token_forgotten(groups: Groups) -> None:
    before = groups.rows.snapshot().keys()
    link_across(groups)

    added = groups.rows.snapshot().keys() - before
    assert [key[2] for key in added] == [1]  # the entry


def test_one_link_of_an_inode_is_made_at_a_time_in_a_group(groups: Groups) -> None:
    intent = groups.links.begin_link(Link(ROOT_INO, b"one", groups.file.ino))
    again = Link(ROOT_INO, b"two", groups.file.ino)
    refused(Code.NOT_READY, groups, lambda: groups.links.begin_link(again))

    groups.home.change_links(ChangeLinks(groups.file.ino, intent.token))
    groups.links.finish_link(intent, FileType.FILE)
    refused(Code.NOT_READY, groups, lambda: groups.links.begin_link(again))


def test_a_name_that_was_taken_meanwhile_refuses_the_link(groups: Groups) -> None:
    intent = groups.links.begin_link(Link(ROOT_INO, b"link", groups.file.ino))
    groups.create(groups.here, ROOT_INO, b"link")

    refused(errno.EEXIST, groups, lambda: groups.links.finish_link(intent, FileType.FILE))


def test_a_name_elsewhere_is_removed_before_its_count_once_for_each_token(groups: Groups) -> None:
    link_across(groups)

    drop = groups.here.unlink(Unlink(ROOT_INO, b"link")).drop

    assert drop is not None
    assert drop.drop == groups.file.ino
    assert groups.here.find_entry(ROOT_INO, b"link") is None
    assert groups.nlink() == 2
    for _ in range(3):
        groups.there.drop_link(DropLink(drop.token, HERE, groups.file.ino))
    assert groups.nlink() == 1


def test_a_name_elsewhere_is_replaced_and_its_count_goes_down(groups: Groups) -> None:
    link_across(groups)
    groups.create(groups.here, ROOT_INO, b"other")

    removed = groups.here.rename(
        Rename(ROOT_INO, b"other", ROOT_INO, b"link", HERE, RenameHow.REPLACE)
    )

    assert removed is not None
    assert removed.drop is not None
    groups.there.drop_link(DropLink(removed.drop.token, HERE, groups.file.ino))
    assert groups.nlink() == 1
    assert groups.here.find_entry(ROOT_INO, b"other") is None


def test_two_names_elsewhere_of_one_inode_are_removed_at_once(groups: Groups) -> None:
    link_across(groups, b"one")
    link_across(groups, b"two")

    drops = [groups.here.unlink(Unlink(ROOT_INO, name)).drop for name in (b"one", b"two")]

    for drop in drops:
        assert drop is not None
        groups.there.drop_link(DropLink(drop.token, HERE, groups.file.ino))
    assert groups.nlink() == 1


class OpenByAll:
    """Everything is open, and what lost its last name is noted."""

    def __init__(self) -> None:
        self.orphans: list[int] = []

    def is_held(self, ino: int) -> bool:
        return True

    def drop_chunks(self, inode: Attributes) -> bool:
        return False

    def orphaned(self, ino: int) -> None:
        self.orphans.append(ino)


def test_an_open_file_loses_its_last_name_of_another_group_and_stays_an_orphan() -> None:
    groups, holders = Groups(), OpenByAll()
    there = RenamingNamespace(THERE, groups.rows, groups.env, holders)
    home = Links(there, groups.rows, groups.env)
    ino = groups.file.ino
    home.change_links(ChangeLinks(ino, 1))
    assert there.unlink(Unlink(groups.directory, b"file")).purge is None
    assert holders.orphans == []

    for _ in range(2):  # a repetition counts once
        assert there.drop_link(DropLink(b"token", HERE, ino)).purge is None
        inode = there.inodes.find(ino)
        assert inode is not None
        assert inode.nlink == 0

    assert (holders.orphans, there.orphans()) == ([ino], [ino])
    purge = there.drop_orphan(ino)
    assert purge is not None
    assert purge.kind is IntentKind.PURGE
    assert there.inodes.find(ino) is None


def test_an_open_file_without_names_gets_no_new_one() -> None:
    groups = Groups()
    there = RenamingNamespace(THERE, groups.rows, groups.env, OpenByAll())
    there.unlink(Unlink(groups.directory, b"file"))
    home = Links(there, groups.rows, groups.env)

    with pytest.raises(RemoteError) as caught:
        home.link(Link(groups.directory, b"new", groups.file.ino))
    assert caught.value.code == errno.ENOENT
    with pytest.raises(RemoteError) as caught:
        home.change_links(ChangeLinks(groups.file.ino, 1))
    assert caught.value.code == errno.ENOENT
