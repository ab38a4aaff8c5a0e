"""What `benchfs doctor` looks at: this host, and the nodes of a cluster."""

from benchfs.diagnosis.check import Check, Verdict, worst
from benchfs.diagnosis.host import check_host
from benchfs.diagnosis.nodes import check_cluster

__all__ = ["Check", "Verdict", "check_cluster", "check_host", "worst"]
