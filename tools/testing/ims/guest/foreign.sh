#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: devices of others that somebody gives to the driver. It declines each with one line of its own, and
# goes on with what it has. new_id is for drivers that have ids, which this one has not where the kernel
# has idxd as well. The arguments are the PCI slots of the devices.
pci=/sys/bus/pci
driver=$pci/drivers/idxd_ims
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

log()
{
	dmesg | grep "idxd_ims $bdf: "
}

resources()
{
	grep -c idxd_ims /proc/iomem
}

unbound()
{
	[ ! -e "$pci/devices/$bdf/driver" ]
	report $? "$slot, $1: stays unbound"
}

delivers()
{
	selftests/ims/imsctl /dev/idxd_ims/*.wq0 'alloc 1' 'noop 0 100' >/tmp/out 2>&1
	report $? "the driver's own device delivers"
}

echo "KTAP version 1"
echo "1..$(($# * 4 + 4))"
insmod modules/idxd_ims.ko emulated=1
report $? "the module loads"
mine=$(resources)
delivers
dmesg -c >/tmp/log
for slot; do
	bdf=0000:00:$slot.0
	echo idxd_ims >"$pci/devices/$bdf/driver_override"
	echo "$bdf" >$pci/drivers_probe
	unbound driver_override
	# The core says that probing has failed.
	check "$slot: the driver says why" 1 "$(log | grep -vc 'failed with error')"
	check "$slot: no resource is left" "$mine" "$(resources)"
	dmesg -c >/tmp/log
	echo >"$pci/devices/$bdf/driver_override"

	ids=$(sed 's/^0x//' "$pci/devices/$bdf/vendor" "$pci/devices/$bdf/device" | tr '\n' ' ')
	echo "$ids" >$driver/new_id
	unbound new_id
done
delivers
rmmod idxd_ims
report $? "the module unloads"
exit $failed
