#!/bin/sh
# Runs UCX over RDMA without hardware: Debian's kernel under QEMU, with soft RoCE on a dummy
# interface, this machine's files read-only over 9p, and tests/rdma/guest.sh as its only program.
#
# The kernel and busybox are unpacked into build/rdma and never installed; the log is there, too.
# Arguments are pytest's, in place of the contract suites. RDMA_ACCEL is kvm or tcg (emulation:
# any machine, fifteen to thirty-five minutes); RDMA_SECONDS is the longest that the guest may take.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/build/rdma
missing=
need() { # WHAT FROM-WHERE COMMAND...
  what="$1 ($2)"
  shift 2
  "$@" >/dev/null 2>&1 || missing="$missing
  $what"
}
need qemu-system-x86_64 "Debian: qemu-system-x86" command -v qemu-system-x86_64
need apt-get "a Debian for amd64, whose kernel runs in QEMU" command -v apt-get
need dpkg-deb "Debian: dpkg" command -v dpkg-deb
need rdma "Debian: iproute2" command -v rdma
need libucp.so.0 "Debian: libucx0" sh -c "ls /usr/lib/*/libucp.so.0 /usr/lib64/libucp.so.0 | grep -q libucp"
need librxe "Debian: ibverbs-providers" sh -c "ls /usr/lib/*/libibverbs/librxe-*.so"
if [ -n "$missing" ]; then
  echo "NOT TESTED: a run over soft RoCE needs what is missing here:$missing" >&2
  exit 2
fi

mkdir -p "$cache"
cd "$cache"
if [ ! -d tree ]; then
  echo "downloading Debian's kernel and busybox" >&2
  package=$(apt-cache depends linux-image-amd64 |
    sed -n 's/.*Depends: *\(linux-image-[0-9].*\)/\1/p')
  apt-get -qq download "$package" busybox-static
  rm -rf unpacking
  for archive in ./*.deb; do dpkg-deb --extract "$archive" unpacking; done
  rm ./*.deb
  mv unpacking tree
fi
kernel=$(ls tree/lib/modules)
busybox=$cache/tree/bin/busybox
"$busybox" depmod -b tree "$kernel"

rm -rf initramfs
mkdir -p initramfs/bin initramfs/dev initramfs/proc initramfs/sys initramfs/host
cp "$busybox" initramfs/bin/
cp "$root/tests/rdma/init.sh" initramfs/init
chmod +x initramfs/init
modules=tree/lib/modules/$kernel
for name in virtio_pci 9pnet_virtio 9p dummy crc32_generic rdma_rxe rdma_ucm; do
  # A module stands behind what it depends on, which modules.dep lists last first.
  sed -n "s|^\(.*/$name\.ko\): *\(.*\)|\2 \1|p" "$modules/modules.dep"
done | while read -r line; do
  own=${line##* }
  order=$own
  for file in $line; do [ "$file" = "$own" ] || order="$file $order"; done
  echo "$order"
done | tr ' ' '\n' | awk 'NF && !seen[$0]++' >initramfs/modules
while read -r file; do
  mkdir -p "initramfs/$(dirname "$file")"
  cp "$modules/$file" "initramfs/$file"
done <initramfs/modules
(cd initramfs && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >initramfs.gz

# /dev/kvm alone does not say that an ordinary kernel runs: without hardware support it may not.
accel=${RDMA_ACCEL:-tcg}
if [ -z "${RDMA_ACCEL:-}" ] && [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
  accel=kvm
fi
cpu=max
[ "$accel" = tcg ] || cpu=host
echo "starting the guest ($accel)" >&2
timeout "${RDMA_SECONDS:-3600}" qemu-system-x86_64 \
  -machine q35 -cpu $cpu -accel "$accel" -smp 2 -m 3072 \
  -display none -nodefaults -no-reboot -serial stdio \
  -kernel "tree/boot/vmlinuz-$kernel" -initrd initramfs.gz \
  -append "console=ttyS0 quiet loglevel=2 no_timer_check panic=-1 benchfs=$root -- $*" \
  -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
  </dev/null | sed -u 's|\r$||' | tee log
grep -q '^guest: exit status 0' log
