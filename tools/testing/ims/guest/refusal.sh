#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: devices that the driver has to decline. Each argument is "SLOT ERROR PATTERN": the device in
# that PCI slot must stay unbound, with this error and one line in the log that matches the pattern.
module=modules/idxd_ims.ko
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

log()
{
	dmesg | grep "idxd_ims 0000:00:$slot.0: "
}

unbound()
{
	[ -e "$1" ] && [ ! -e "$1/driver" ]
}

echo "KTAP version 1"
echo "1..$(($# * 3 + 4))"
slot=
insmod $module emulated=1
report $? "the module loads"
for device; do
	slot=${device%% *} rest=${device#* }
	error=${rest%% *} pattern=${rest#* }
	unbound "/sys/bus/pci/devices/0000:00:$slot.0"
	report $? "$slot: stays unbound"
	test "$(log | grep -c "$pattern")" = 1
	report $? "$slot: the log says once: $pattern"
	log | grep -q "failed with error $error\$"
	report $? "$slot: error $error"
done
! ls -d /sys/kernel/debug/idxd_ims-* /sys/kernel/debug/irq/domains/*IDXD* 2> /dev/null
report $? "no debugfs directory, no domain"
! grep idxd /proc/interrupts
report $? "no interrupt"
rmmod idxd_ims
report $? "the module unloads"
exit $failed
