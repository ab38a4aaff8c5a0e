#!/bin/sh
# Runs UCX over RDMA without hardware: Debian's kernel under QEMU, with soft RoCE on a dummy
# interface, this machine's files read-only over 9p, and tests/rdma/guest.sh as its only program.
#
# Needs apt-get with Debian's packages. The kernel is unpacked into build/rdma, never installed;
# QEMU is installed if it is missing. Arguments are passed on to guest.sh.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/build/rdma
seconds=${RDMA_SECONDS:-1500}
mkdir -p "$cache"
cd "$cache"

if ! command -v qemu-system-x86_64 >/dev/null; then
  echo "installing QEMU" >&2
  DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends qemu-system-x86 >/dev/null
fi
if [ ! -d tree ]; then
  echo "downloading Debian's kernel and busybox" >&2
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: *\(linux-image-[0-9].*\)/\1/p')
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
  set -- ${line% *}
  order=$own
  for file; do [ "$file" = "$own" ] || order="$file $order"; done
  echo "$order"
done | tr ' ' '\n' | awk 'NF && !seen[$0]++' >initramfs/modules
while read -r file; do
  mkdir -p "initramfs/$(dirname "$file")"
  cp "$modules/$file" "initramfs/$file"
done <initramfs/modules
(cd initramfs && find . | "$busybox" cpio -o -H newc | gzip -1) >initramfs.gz

echo "starting the guest" >&2
nice -n 10 timeout "$seconds" qemu-system-x86_64 \
  -machine q35 -cpu "${RDMA_CPU:-max}" -accel "${RDMA_ACCEL:-tcg}" -smp 2 -m 3072 \
  -display none -nodefaults -no-reboot -serial stdio \
  -kernel "tree/boot/vmlinuz-$kernel" -initrd initramfs.gz \
  -append "console=ttyS0 quiet no_timer_check panic=-1 benchfs=$root -- $*" \
  -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
  </dev/null | tee log
grep -q '^guest: exit status 0' log
