#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: the kernel of the package runs, and an owner loads its driver. $1: the kernel's release
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

# Use the package's module, not the clone's.
unset IMS_MODULE
driver=/sys/bus/pci/drivers/idxd_ims
set -- "$1" "$(lspci -Dn -d 8086:0b25 | cut -d ' ' -f 1)"

ready()
{
	hardware/report -s selftests/ims -t "$3" "/tmp/$1" | grep '^# ready' >/tmp/ready
	check "$1: the owner's script says that all is ready" "$2" "$(cat /tmp/ready)"
}

echo "KTAP version 1"
echo "1..7"
check "the kernel is that of the package" "$1" "$(uname -r)"
check "so is the driver" "/lib/modules/$1/kernel/drivers/dma/idxd_ims/idxd_ims.ko" "$(modinfo -n idxd_ims)"
ready before '# ready for idxd_ims' ''
echo idxd_ims >"/sys/bus/pci/devices/$2/driver_override"
modprobe idxd_ims emulated=1
report $? "modprobe loads it"
[ -e "$driver/$2" ]
report $? "it has the device"
ready after '# ready: idxd_ims works on this machine' 'deliver mask'
modprobe -r idxd_ims
report $? "modprobe unloads it"
exit $failed
