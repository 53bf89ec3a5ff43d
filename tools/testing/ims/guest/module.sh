#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# KTAP: loading the module runs its tests, and fails. $1: its name, $2: number of tests
echo "KTAP version 1"
echo "1..$2"
# A driver that is built in has the device already.
for device in /sys/bus/pci/drivers/idxd_ims/0*; do
	[ ! -e "$device" ] || echo "${device##*/}" >"${device%/*}/unbind"
done
insmod "/mnt/modules/$1.ko" 2>/tmp/insmod.err
dmesg | sed -n "s/^\(\[[^]]*\] \)\{0,1\}$1: \(.*ok \)/\2/p" | grep . || cat /tmp/insmod.err
