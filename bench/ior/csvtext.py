"""IOR's CSV: the columns of its table, with the number of tasks before the iteration."""

from __future__ import annotations

import csv
import io

from benchfs.bench.ior.phase import CHECK
from benchfs.bench.ior.result import Outcome

COLUMNS = (
    *("access", "bw(MiB/s)", "IOPS", "Latency", "block(KiB)", "xfer(KiB)"),
    *("open(s)", "wr/rd(s)", "close(s)", "total(s)", "numTasks", "iter"),
)


def csv_text(outcome: Outcome) -> str:
    """A header and a line a phase."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    settings = outcome.settings
    for phase in outcome.phases:
        if phase.access != CHECK:
            figures = (phase.mib_s, phase.operations_s, phase.latency_s)
            sizes = (settings.block / 1024, settings.transfer / 1024)
            times = (phase.open_s, phase.move_s, phase.close_s, phase.total_s)
            row = [f"{value:.6f}" for value in (*figures, *sizes, *times)]
            writer.writerow([phase.access, *row, len(outcome.hosts), phase.iteration])
    return out.getvalue()
