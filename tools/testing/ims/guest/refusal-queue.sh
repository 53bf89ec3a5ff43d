#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: queue devices that the sample driver has to decline. Each argument is "SLOT ERROR": the device
# in that PCI slot must stay unbound, with this error and a line of the driver's own in the log.
driver=rust_driver_ims
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

unbound()
{
	[ -e "$1" ] && [ ! -e "$1/driver" ]
}

log()
{
	dmesg | grep "$driver 0000:00:$slot.0: "
}

echo "KTAP version 1"
echo "1..$(($# * 3 + 3))"
slot=
insmod modules/$driver.ko
report $? "the module loads"
for device; do
	slot=${device% *} error=${device#* }
	unbound "/sys/bus/pci/devices/0000:00:$slot.0"
	report $? "$slot: stays unbound"
	log | grep -q "failed with error $error\$"
	report $? "$slot: error $error"
	log | grep -v -q 'failed with error'
	report $? "$slot: the log says why"
done
left=$(ls -d /sys/kernel/debug/$driver-* /sys/kernel/debug/irq/domains/*QUEUE-IMS* 2> /dev/null
	grep $driver /proc/interrupts)
test -z "$left"
report $? "no debugfs directory, no domain, no interrupt"
rmmod $driver
report $? "the module unloads"
exit $failed
