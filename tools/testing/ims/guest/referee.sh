#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Referee for the device model: the kernel's own C driver for DSA, unmodified,
# has to probe it, find what it states, and enable a dedicated work queue.
#
# Runs in the guest. $1: directory with idxd_bus.ko and idxd.ko. Expects the
# model with its default options but 4 work queues, as the only DSA.
# Output: TAP.

modules=${1:-/mnt}
bus=/sys/bus/dsa
dev=$bus/devices/dsa0
number=0

ok()
{
	number=$((number + 1))
	echo "ok $number - $1"
}

not_ok()
{
	number=$((number + 1))
	echo "not ok $number - $1"
	shift
	for line; do
		echo "# $line"
	done
	dmesg | tail -n 15 | sed 's/^/# /'
}

# check NAME COMMAND...: ok if the command succeeds.
check()
{
	name=$1
	shift
	if out=$("$@" 2>&1); then
		ok "$name"
	else
		not_ok "$name" "$*" "$out"
	fi
}

# equals NAME FILE VALUE: ok if the file has that value.
equals()
{
	value=$(cat "$2" 2>&1)
	if [ "$value" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "$2: '$value', expected '$3'"
	fi
}

write()
{
	echo "$1" > "$2"
}

# The interrupts of /proc/interrupts whose name has $1, summed up.
interrupts()
{
	awk -v name="$1" '$0 ~ name { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

echo "TAP version 13"
echo "1..44"

# For idxd, in this guest.
for override in /sys/bus/pci/devices/*/driver_override; do
	echo >"$override"
done
check "load idxd_bus" insmod "$modules/idxd_bus.ko"
check "load idxd" insmod "$modules/idxd.ko"
check "dsa0 appears" test -e "$dev"

equals "vendor" "$dev/../vendor" 0x8086
equals "device" "$dev/../device" 0x0b25
equals "class" "$dev/../class" 0x088000

equals "version" "$dev/version" 0x100
equals "state" "$dev/state" disabled
equals "configurable" "$dev/configurable" 1
equals "max_groups" "$dev/max_groups" 4
equals "max_work_queues" "$dev/max_work_queues" 4
equals "max_engines" "$dev/max_engines" 4
equals "max_work_queues_size" "$dev/max_work_queues_size" 128
equals "max_read_buffers" "$dev/max_read_buffers" 96
equals "max_batch_size" "$dev/max_batch_size" 1024
equals "max_transfer_size" "$dev/max_transfer_size" 2147483648
equals "gen_cap" "$dev/gen_cap" 0x40915f0107
# The driver hides BATCH from users of this device generation.
equals "op_cap" "$dev/op_cap" \
	"00000000,00000000,00000000,00000000,00000000,00000000,00000000,0001003d"
for kind in wq engine group; do
	set -- $bus/devices/${kind}0.*
	check "4 of ${kind}0.x" test $# = 4
done

check "engine0.0 joins group 0" write 0 $dev/engine0.0/group_id
check "wq0.0 joins group 0" write 0 $dev/wq0.0/group_id
check "wq0.0 mode" write dedicated $dev/wq0.0/mode
check "wq0.0 size" write 16 $dev/wq0.0/size
check "wq0.0 type" write kernel $dev/wq0.0/type
check "wq0.0 name" write referee $dev/wq0.0/name
check "wq0.0 driver" write dmaengine $dev/wq0.0/driver_name

check "enable dsa0" write dsa0 $bus/drivers/idxd/bind
equals "dsa0 is enabled" "$dev/state" enabled

# Priority 0 is no priority: the device refuses it, with its own code.
check "wq0.0 without priority is refused" sh -c "! echo wq0.0 > $bus/drivers/dmaengine/bind"
equals "error is WQ_PRIOR" "$dev/cmd_status" 0x23
check "wq0.0 priority" write 10 $dev/wq0.0/priority
check "wq0.0 mode, again" write dedicated $dev/wq0.0/mode
check "enable wq0.0" write wq0.0 $bus/drivers/dmaengine/bind
equals "wq0.0 is enabled" "$dev/wq0.0/state" enabled
equals "no command error" "$dev/cmd_status" 0x0
equals "wq0.0 occupancy" "$dev/wq0.0/occupancy" 0
check "command interrupts arrive" test "$(interrupts idxd-misc)" -ge 3

check "disable wq0.0" write wq0.0 $bus/drivers/dmaengine/unbind
equals "wq0.0 is disabled" "$dev/wq0.0/state" disabled
check "disable dsa0" write dsa0 $bus/drivers/idxd/unbind
equals "dsa0 is disabled" "$dev/state" disabled
check "unload" sh -c "rmmod idxd && rmmod idxd_bus"
