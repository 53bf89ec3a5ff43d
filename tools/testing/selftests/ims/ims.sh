# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the shell tests share. See ims.h for the C tests.

# shellcheck source=/dev/null
. "$(dirname "$0")/../kselftest/ktap_helpers.sh"

driver=idxd_ims
bus=/sys/bus/pci
irq_debugfs=/sys/kernel/debug/irq
# Devices of the driver, in lspci's notation.
ids="8086:0b25 8086:11fb 8086:1212"
marks=0

# The first device that the driver is for: its address, debugfs and sysfs.
find_device()
{
	for id in $ids; do
		bdf=$(lspci -D -n -d "$id" | sed -n '1s/ .*//p')
		[ -z "$bdf" ] || break
	done
	dir=/sys/kernel/debug/$driver-$bdf
	dev=$bus/devices/$bdf
	[ -n "$bdf" ]
}

# load [PARAMETER=VALUE...]
# shellcheck disable=SC2120 # not every test has parameters
load()
{
	if [ -n "$IMS_MODULE" ]; then
		insmod "$IMS_MODULE" "$@"
	else
		modprobe -q $driver "$@"
	fi
}

loaded()
{
	[ -d /sys/module/$driver ]
}

is_module()
{
	[ -n "$IMS_MODULE" ] || [ -e /sys/module/$driver/initstate ] || modprobe -q -n $driver
}

control()
{
	echo "$*" > "$dir/control"
}

counter()
{
	awk -v name="$1" '$1 == name { print $2 }' "$dir/counters"
}

# handled NUMBER
handled()
{
	awk -v number="$1" '$1 == number { print $4 }' "$dir/interrupts"
}

# virq NUMBER
virq()
{
	awk -v number="$1" '$1 == number { print $3 }' "$dir/interrupts"
}

# count VIRQ: how often the kernel counted it, on all CPUs.
count()
{
	awk -v irq="$1:" '$1 == irq { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i; print n }' \
		/proc/interrupts
}

# wait_for COMMAND...: waits until it succeeds, for 5 seconds at most.
wait_for()
{
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.05
	done
}

handled_is()
{
	[ "$(handled "$1")" = "$2" ]
}

# Does interrupt 0 come when it is raised?
delivers()
{
	[ -d "$dir" ] || return 1
	before=$(handled 0)
	control noop 0 0 && wait_for handled_is 0 $((before + 1))
}

# From here on, log() shows what the kernel says.
mark_log()
{
	marks=$((marks + 1))
	mark="kselftest $(basename "$0") $$: mark $marks"
	echo "$mark" > /dev/kmsg
}

log()
{
	dmesg | sed "1,/$mark\$/d"
}

log_is_clean()
{
	! log | grep -E 'WARNING:|BUG:|Oops|Call Trace|No irq handler for|nobody cared'
}

# names DIRECTORY: what is in it, in numerical order.
names()
{
	find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n
}

# Is there nothing of the driver's at the device?
is_gone()
{
	[ ! -e "$dir" ] && [ ! -e "$dev/driver" ] && [ ! -e "$dev/msi_irqs" ] &&
		! grep -q -e idxd-ims -e "$bdf" /proc/interrupts &&
		! names $irq_debugfs/domains | grep -q "IMS-$bdf"
}

# check NAME COMMAND...: one test.
check()
{
	name=$1
	shift
	if "$@"; then
		ktap_test_pass "$name"
	else
		ktap_print_msg "failed: $*"
		ktap_test_fail "$name"
	fi
}

skip_all()
{
	ktap_skip_all "$*"
	exit "$KSFT_SKIP"
}

# need_device: with the driver bound, or this test is skipped or fails.
need_device()
{
	find_device || skip_all "no device"
	# shellcheck disable=SC2119
	[ -d "$dir" ] || load || ktap_exit_fail_msg "$driver does not load"
	[ -d "$dir" ] || ktap_exit_fail_msg "$driver does not bind $bdf"
	mark_log
}
