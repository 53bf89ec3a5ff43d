#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: if the kernel has idxd, its own driver for DSA, this driver binds only to devices that are given to
# it. There are two devices. The CPU says that it has MOVDIR64B, which idxd wants.
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

pci=/sys/bus/pci

log()
{
	dmesg | tail -n 10
}

# drivers: those of the two devices
drivers()
{
	for dev in "$first" "$second"; do
		driver=$(readlink "$dev/driver") || driver=none
		echo "${driver##*/}"
	done | xargs
}

# give DEVICE DRIVER
give()
{
	bdf=${1##*/}
	[ ! -e "$1/driver" ] || echo "$bdf" >"$1/driver/unbind"
	echo "$2" >"$1/driver_override"
	echo "$bdf" >$pci/drivers_probe
}

set --
for file in "$pci"/devices/*/device; do
	[ "$(cat "$file")" != 0x0b25 ] || set -- "$@" "${file%/device}"
done
first=$1 second=$2
for dev; do
	echo >"$dev/driver_override"
done
ims='insmod modules/idxd_ims.ko emulated=1'

echo "KTAP version 1"
echo "1..8"
$ims
check "alone, this driver takes nothing" "none none" "$(drivers)"
insmod modules/idxd_bus.ko && insmod modules/idxd.ko
check "idxd takes both" "idxd idxd" "$(drivers)"
give "$second" idxd_ims
check "this driver gets the one that is given to it" "idxd idxd_ims" "$(drivers)"
rmmod idxd_ims && $ims
check "it has it again when it is loaded again" "idxd idxd_ims" "$(drivers)"
selftests/ims/imsctl "/dev/idxd_ims/${second##*/}.wq0" 'alloc 1' 'noop 0 100' >/tmp/out 2>&1
report $? "it delivers there"
for setting in engine0.0/group_id=0 wq0.0/group_id=0 wq0.0/mode=dedicated wq0.0/size=16 \
	wq0.0/type=kernel wq0.0/name=coexist wq0.0/driver_name=dmaengine wq0.0/priority=10; do
	echo "${setting#*=}" >"/sys/bus/dsa/devices/dsa0/${setting%=*}"
done
echo dsa0 >/sys/bus/dsa/drivers/idxd/bind
check "idxd enables the other one" enabled "$(cat /sys/bus/dsa/devices/dsa0/state)"
echo dsa0 >/sys/bus/dsa/drivers/idxd/unbind
give "$second" ''
check "idxd gets it back" "idxd idxd" "$(drivers)"
rmmod idxd_ims idxd
report $? "the modules unload"
exit $failed
