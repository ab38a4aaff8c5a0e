"""Where the cluster map and the nodes' leases are kept, so that all agree on them."""

from benchfs.registry.base import ABSENT, MAX_VALUE, Registry, Versioned
from benchfs.registry.directory import DirectoryRegistry

__all__ = ["ABSENT", "MAX_VALUE", "DirectoryRegistry", "Registry", "Versioned"]
