#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What `make run` shows: the driver, its irq domain, and interrupts from the message store.
set -e
module=modules/idxd_ims.ko

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

# Give the driver a command.
control()
{
	printf '# echo %s > control\n' "$*"
	echo "$*" > "$debug/control"
}

# The first slots of the table.
slots()
{
	# A message can take some milliseconds to arrive.
	sleep 0.1
	echo '# head -n 4 slots'
	head -n 4 "$debug/slots"
}

title 'The device'
show lspci -nn -d 8086:0b25

title 'Load the driver'
show insmod $module
debug=$(echo /sys/kernel/debug/idxd_ims-*)

title 'Its irq domain, as the kernel reports it'
domain=$(echo /sys/kernel/debug/irq/domains/*IDXD-IMS*)
printf '# cat %s\n' "$domain"
awk '/(name|parent):/ { print } /mapped:/ && NR < 4 { print }' "$domain"

title 'Its interrupts'
echo '# grep -E "CPU0|idxd" /proc/interrupts'
grep -E 'CPU0|idxd' /proc/interrupts

title 'Work: no-operations and a copy, through portals that raise slots of the message store'
control noop 0 0 1000
control noop 1 1
control memmove 1 1 8000
slots

title 'Mask slot 0, raise it three times, unmask it: the one that is pending arrives'
control mask 0
control noop 0 0 3
slots
control unmask 0
slots

title 'Counters'
show head -n 5 "$debug/counters"

title 'Unload the driver'
show rmmod idxd_ims
if dmesg | grep -E 'WARNING|BUG|Oops|No irq handler'; then
	exit 1
fi
echo 'clean: no slot, no domain, no complaint is left'
! ls -d /sys/kernel/debug/idxd_ims-* /sys/kernel/debug/irq/domains/*IDXD* 2> /dev/null
