#!/bin/busybox sh
# The guest's first program: modules, the host's files, and then tests/rdma/guest.sh.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r file; do $b insmod "/$file" || echo "guest: cannot load $file"; done </modules
root=$($b sed -n 's/.*benchfs=\([^ ]*\).*/\1/p' /proc/cmdline)

$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host
$b mount --move /proc /host/proc
$b mount --move /sys /host/sys
$b mount --move /dev /host/dev
$b mkdir -p /host/dev/shm /host/dev/pts
$b mount -t tmpfs tmpfs /host/dev/shm
$b mount -t tmpfs tmpfs /host/run
$b chroot /host /bin/sh "$root/tests/rdma/guest.sh" "$root" "$@"
echo "guest: exit status $?"
$b poweroff -f
