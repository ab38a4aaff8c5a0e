"""GlusterFS: its daemon, a volume of three bricks that files are distributed over, its mount.

All settings are those of the package but the address. The paths that are compiled in are laid
over with directories of the measurement, in its own mount namespace.
"""

from __future__ import annotations

from pathlib import Path

from benchfs.bench.backends.choose import POSIX, Target
from benchfs.bench.peers.system import ADDRESS, command, is_mount, unmount, wait_until

BRICKS = 3
VOLUME = "peer"
DAEMON = f"""volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.address-family inet
    option transport.socket.bind-address {ADDRESS}
end-volume
"""


class GlusterFS:
    """One host with three bricks."""

    target = Target(POSIX)
    directory = ""

    def start(self, place: Path) -> None:
        """As in `System`."""
        for name, target in (("state", "/var/lib/glusterd"), ("logs", "/var/log/glusterfs")):
            (place / name).mkdir()
            command("mount", "--bind", place / name, target)
        Path("/run/gluster").mkdir()
        daemon = place / "glusterd.vol"
        daemon.write_text(DAEMON, encoding="ascii")
        command("glusterd", "-f", daemon, "-p", place / "glusterd.pid")
        bricks = [place / f"brick{number}" for number in range(BRICKS)]
        for brick in bricks:
            brick.mkdir()
        control = ("gluster", "--mode=script", "volume")
        addresses = [f"{ADDRESS}:{brick}" for brick in bricks]
        # It refuses bricks on the disk of / unless told that this is meant.
        command(*control, "create", VOLUME, *addresses, "force")
        command(*control, "start", VOLUME)
        self._point = place / "mount"
        self._point.mkdir()
        self.directory = f"{self._point}/work"
        self._mount()

    def forget(self) -> None:
        """As in `System`."""
        unmount(self._point)
        self._mount()

    def _mount(self) -> None:
        server = (f"--volfile-server={ADDRESS}", f"--volfile-id={VOLUME}")
        command("glusterfs", *server, self._point)
        wait_until("GlusterFS is mounted", lambda: is_mount(self._point))
