#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What `make run` shows: the driver, its irq domain, and interrupts from the message store.
set -e
module=modules/idxd_ims.ko
imsctl=$PWD/selftests/ims/imsctl
PATH=$PATH:$PWD/selftests/ims

title()
{
	printf '\n== %s\n' "$*"
}

# Show a command, then run it.
show()
{
	printf '# %s\n' "$*"
	"$@"
}

# Open the work queue's file, and run the commands on standard input.
session()
{
	printf '# imsctl %s\n' "$node"
	"$imsctl" -e "$node"
}

title 'The device'
show lspci -nn -d 8086:0b25

title 'Load the driver'
show insmod $module emulated=1
debug=$(echo /sys/kernel/debug/idxd_ims-*)
bdf=${debug#*idxd_ims-}
node=/dev/idxd_ims/$bdf.wq0

title 'Its irq domain, as the kernel reports it'
domain=$(echo /sys/kernel/debug/irq/domains/*IDXD-IMS*)
printf '# cat %s\n' "$domain"
awk '/(name|parent):/ { print } /mapped:/ && NR < 4 { print }' "$domain"

title 'Its work queues: each is a subdevice with a file, and a share of the message store'
show ls -x -w 100 /sys/bus/auxiliary/devices
show ls -l "$node"
cd "/sys/bus/pci/devices/$bdf"
show grep . idxd_ims.wq.*0/min idxd_ims.wq.*0/max

title 'A file of work queue 0: two interrupts, raised with no-operations and a copy'
cd "$debug"
session <<'EOF_SESSION'
alloc 2
noop 0 1000
copy 1 8000
run grep -E 'CPU0|IDXD' /proc/interrupts
run cat slots
EOF_SESSION

title 'Another file: mask an interrupt, raise it three times, unmask it: one is pending, and arrives'
session <<'EOF_SESSION'
alloc
mask 0
noop 0 3
state 0
run cat slots
unmask 0
wait 0 1
EOF_SESSION

title 'A program copies a file with the device, on two CPUs, and sleeps until interrupts wake it'
head -c 8M /dev/urandom > /tmp/source
show imscopy -w "$node" /tmp/source /tmp/target
show cmp /tmp/source /tmp/target
case $("$imsctl" "$node" 'query work') in
*crc*) show imscopy -w "$node" -c /tmp/target ;;
esac

title 'The files are closed: all slots are back'
show head -n 3 counters

title 'Unload the driver'
cd /
show rmmod idxd_ims
if dmesg | grep -E 'WARNING|BUG|Oops|No irq handler'; then
	exit 1
fi
echo 'clean: no slot, no domain, no complaint is left'
! ls -d /sys/kernel/debug/idxd_ims-* /sys/kernel/debug/irq/domains/*IDXD* /dev/idxd_ims 2> /dev/null
