#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For a guest that sleeps: 9p does not come back from hibernation, and the kernel cannot shut it down then.
# What runs from here on, the arguments, has its root in memory, and 9p is gone.
root=/tmp/root
drivers=/sys/bus/virtio/drivers

# copy PROGRAM...: with the libraries that each is linked with
copy()
{
	for program; do
		file=$(command -v "$program")
		for each in "$file" $(ldd "$file" | grep -o '/[^ ]*'); do
			mkdir -p "$root/${each%/*}"
			cp -L "$each" "$root/$each"
		done
	done
}

mkdir $root
busybox mount -o bind $root $root
mkdir $root/bin $root/mnt $root/tmp $root/run $root/old
busybox --install -s $root/bin
copy busybox lspci
cp -r guest modules selftests $root/mnt
cp /tmp/run $root/tmp
for mounted in dev proc sys; do
	mkdir $root/$mounted
	busybox mount -o rbind /$mounted $root/$mounted
done
# To hibernate to.
busybox mkswap /dev/vda >/dev/null && busybox swapon /dev/vda
cd $root && busybox pivot_root . old || exit
# shellcheck disable=SC2016 # its own arguments
exec busybox chroot . /bin/sh -c '
	busybox umount -l /old
	for device in "$1"/virtio*; do
		echo "${device##*/}" >"$1/unbind"
	done
	shift
	exec "$@"' sh $drivers/9pnet_virtio "$@"
