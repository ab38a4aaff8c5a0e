"""Checking a cluster that serves: its structure (`check`), its chunks' bytes (`scrub`)."""

from benchfs.fsck.check import Check, Found, Options, Report
from benchfs.fsck.findings import Finding, Kind
from benchfs.fsck.scrub import Damage, NodeScrub

__all__ = ["Check", "Damage", "Finding", "Found", "Kind", "NodeScrub", "Options", "Report"]
