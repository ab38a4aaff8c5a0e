"""`benchfs fsck`: check the structure of all files while the cluster serves, and repair it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say, say_json, with_client
from benchfs.cli.sizes import parse_size
from benchfs.fsck import Found, Options, Report
from benchfs.fsck.check import AGE_SECONDS, PATIENCE_SECONDS


def fsck(
    cluster: ClusterOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be.")] = False,
    data: Annotated[bool, typer.Option("--data", help="Verify all chunks, too.")] = False,
    rate: Annotated[
        str | None, typer.Option(help="With --data: bytes a second of each node, as 100m.")
    ] = None,
    age: Annotated[
        float, typer.Option(help="Leave alone what changed in the last so many seconds.")
    ] = AGE_SECONDS,
    patience: Annotated[
        float, typer.Option(help="Seconds after which what is unfinished counts as stuck.")
    ] = PATIENCE_SECONDS,
    json: JsonOption = False,
) -> None:
    """Check names, links, directories and chunks; exit status 1 if something is (still) wrong."""
    options = Options(repair, data, bytes_a_second(rate), age, patience)
    report = with_client(cluster, lambda fs: fs.fsck(options))
    if json:
        say_json(document(report))
    else:
        for one in report.found:
            say(line(one))
        wrong = sum(not one.repaired for one in report.found)
        repaired = len(report.found) - wrong
        say(f"{report.inodes} inodes: {wrong} things wrong, {repaired} repaired")
    if not report.clean:
        raise typer.Exit(1)


def bytes_a_second(text: str | None) -> int | None:
    """The option --rate. Raises BadParameter."""
    if text is None:
        return None
    rate = parse_size(text)
    if not rate:
        raise typer.BadParameter("a rate of 0 never ends")
    return rate


def line(one: Found) -> str:
    """A finding for people."""
    path = "" if one.path is None else f"{one.path}: "
    done = ": repaired" if one.repaired else f": not repaired: {one.failure}" if one.failure else ""
    return f"{path}{one.finding.words()}{done}"


def document(report: Report) -> dict[str, object]:
    """The report as JSON has it."""
    return {
        "inodes": report.inodes,
        "clean": report.clean,
        "found": [
            {
                "kind": one.finding.kind.value,
                "inode": one.finding.ino,
                "group": one.finding.group,
                "node": one.finding.node or None,
                "path": one.path,
                "text": one.finding.words(),
                "repaired": one.repaired,
                "failure": one.failure or None,
            }
            for one in report.found
        ],
    }
