"""`benchfs bench compare`: two runs' results as ratios."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench.compare import compare as compare_samples
from benchfs.cli.bench_output import columns
from benchfs.cli.output import JsonOption, note, say_json


def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="Results, from --json.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Others.")],
    json: JsonOption = False,
) -> None:
    """Print B's figures as ratios of A's, with the spread over the repetitions."""
    from benchfs.bench.report.read import load, samples  # noqa: PLC0415 (slow to import)

    documents = load(first), load(second)
    for path, document in zip((first, second), documents, strict=True):
        if document.details.failure:
            note(f"{path} is incomplete: {document.details.failure}")
    found = compare_samples(*map(samples, documents))
    if json:
        say_json(asdict(found))
        return
    columns(
        ("phase", "A", "B", "B/A", "spread", "differs"),
        [
            (
                one.name,
                f"{one.first:,.1f} {one.unit}",
                f"{one.second:,.1f} {one.unit}",
                f"{one.ratio:.3f}",
                f"{one.least:.3f} to {one.most:.3f}",
                "yes" if one.differs else "no" if min(one.repetitions) > 1 else "",
            )
            for one in found.ratios
        ],
    )
    for which, names in (("A", found.only_first), ("B", found.only_second)):
        if names:
            note(f"only in {which}: {', '.join(names)}")
