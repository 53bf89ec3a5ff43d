#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: the kernel's own C driver for DSA and this one take turns with the device, while files of both
# are open. The CPU says that it has MOVDIR64B, which the C driver wants and the emulator does not
# execute: nothing is submitted.
turns=10
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

pci=/sys/bus/pci
for file in "$pci"/devices/*/device; do
	[ "$(cat "$file")" != 0x0b25 ] || dev=${file%/device}
done
bdf=${dev##*/}

log()
{
	dmesg | tail -n 10
}

driver()
{
	basename "$(readlink "$dev/driver")"
}

# give DRIVER: the device is bound to that one, and to no other
give()
{
	# Unbound while it has the device enabled, the C driver of this series follows a null pointer.
	if [ -e /sys/bus/dsa/devices/dsa0 ] && [ "$(cat /sys/bus/dsa/devices/dsa0/state)" = enabled ]; then
		echo wq0.0 >/sys/bus/dsa/drivers/dmaengine/unbind
		echo dsa0 >/sys/bus/dsa/drivers/idxd/unbind
	fi
	[ ! -e "$dev/driver" ] || echo "$bdf" >"$dev/driver/unbind"
	echo "$1" >"$dev/driver_override"
	echo "$bdf" >$pci/drivers_probe
	[ "$(driver)" = "$1" ]
}

# in_use_by_idxd: a work queue is enabled, and files are open
in_use_by_idxd()
{
	dsa=/sys/bus/dsa/devices/dsa0
	exec 5<$dsa/state 6<$dsa/errors
	for setting in engine0.0/group_id=0 wq0.0/group_id=0 wq0.0/mode=dedicated wq0.0/size=16 \
		wq0.0/type=kernel wq0.0/name=handover wq0.0/driver_name=dmaengine wq0.0/priority=10; do
		echo "${setting#*=}" >"$dsa/${setting%=*}"
	done
	echo dsa0 >/sys/bus/dsa/drivers/idxd/bind
	echo wq0.0 >/sys/bus/dsa/drivers/dmaengine/bind
	[ "$(cat $dsa/state $dsa/wq0.0/state)" = "enabled
enabled" ]
}

# in_use_by_ims: a program has interrupts, and files are open
in_use_by_ims()
{
	exec 7<>"/dev/idxd_ims/$bdf.wq0" 8<"/sys/kernel/debug/idxd_ims-$bdf/slots"
	[ "$(selftests/ims/imsctl "/dev/idxd_ims/$bdf.wq0" 'alloc 3' | grep -c virq)" = 3 ]
}

echo "KTAP version 1"
echo "1..$((4 * turns + 3))"
insmod modules/idxd_bus.ko && insmod modules/idxd.ko && insmod modules/idxd_ims.ko emulated=1
report $? "both modules load"
turn=0
while [ $turn -lt $turns ]; do
	turn=$((turn + 1))
	give idxd
	report $? "$turn: the C driver gets the device"
	in_use_by_idxd
	report $? "$turn: enables it"
	give idxd_ims
	report $? "$turn: this driver gets the device"
	in_use_by_ims
	report $? "$turn: allocates interrupts"
done
echo "$bdf" >"$dev/driver/unbind"
exec 5<&- 6<&- 7<&- 8<&-
rmmod idxd_ims idxd
report $? "the modules unload"
left=$(ls -d /sys/kernel/debug/idxd_ims-* /sys/kernel/debug/irq/domains/*IDXD-IMS* 2>/dev/null
	grep -i idxd /proc/interrupts)
check "nothing is left" "" "$left"
exit $failed
