#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: a queue device that refuses its commands from the 13th on. Binding takes one, and for each of four
# queues one, or two if the work that flushes comes between its message and its unmasking.
# shellcheck disable=SC2329 # the conditions are called by way of check
driver=rust_driver_ims
n=0 failed=0

check()
{
	n=$((n + 1))
	name=$1
	shift
	if "$@"; then
		echo "ok $n $name"
	else
		failed=1
		echo "not ok $n $name"
	fi
}

control()
{
	echo "$*" > "$dir/control"
}

fails()
{
	! control "$@" 2> /tmp/error && grep -q 'I/O error' /tmp/error
}

fails_soon()
{
	for verb in mask unmask mask unmask mask; do
		fails "$verb" 2 && return
	done
	return 1
}

gone()
{
	[ ! -e "$dir" ] && ! grep "$driver" /proc/interrupts
}

echo "KTAP version 1"
echo "1..7"
check "the module loads" insmod modules/$driver.ko
dir=$(echo /sys/kernel/debug/$driver-*)
check "three commands more work" eval 'control mask 0 && control unmask 0 && control mask 1'
check "one of the next five fails, and says so" fails_soon
check "so does what follows" fails mask 3
check "also for a queue that needs no command" fails mask 1
check "the module unloads" rmmod $driver
check "nothing is left" gone
exit $failed
