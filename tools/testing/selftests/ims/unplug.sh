#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Devices are unplugged under traffic, or break: open files and subdevices come down, the module
# unloads, and a device that is there again works. IMS_HOST is where the host listens: it takes
# a line `@@ims ask unplug|kill-model NUMBER`, and answers with a line, "ok" if it does that.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

# Lines about the device in the log, from one thing that is done to it to the next.
most_lines=12

# host WORD: has the host do that to the device.
host()
{
	printf '@@ims ask %s %s\n' "$1" "$number" > "$IMS_HOST"
	read -r answer < "$IMS_HOST"
	[ "$answer" = ok ] || {
		ktap_print_msg "$1: $answer"
		return 1
	}
}

# use DEVICE NUMBER: the host's number for it.
use()
{
	bdf=$1 number=$2
	dir=/sys/kernel/debug/$driver-$bdf
	dev=$bus/devices/$bdf
	for slot in "$bus"/slots/*; do
		read -r address < "$slot/address"
		[ "${bdf%.*}" != "$address" ] || power=$slot/power
	done
}

# traffic: until the device is gone.
traffic()
{
	"$here/traffic" > "$tmp/traffic" 2>&1 3>&- 4<&- 5>&- 6<&- &
	traffic=$!
	wait_for grep -q -e running -e 'not ok' "$tmp/traffic" && grep -q running "$tmp/traffic"
}

traffic_ends()
{
	wait "$traffic" || {
		ktap_print_msg "$(cat "$tmp/traffic")"
		return 1
	}
	all=$(grep -c calls "$tmp/traffic")
	[ "$all" = 12 ] && [ "$all" = "$(grep -c ENODEV "$tmp/traffic")" ]
}

# A file with interrupts in all states: one that delivers, one masked, one pending, one without
# eventfd.
hold_some()
{
	hold 1 1 && tell 1 alloc 4 && answers '1 arrived' 1 noop 0 && tell 1 mask 1 &&
		tell 1 mask 2 && tell 1 noop 2 && tell 1 unbind 3
}

arrives()
{
	[ "$(awk -v slot="$slot" '$1 == slot { print $3 }' "$dir/slots")" -gt 100 ]
}

# The device sends the messages of an interrupt, and goes on with that.
stream()
{
	slot=$(awk '$6 == "unmasked" { print $1; exit }' "$dir/slots")
	"$here/traffic" "$slot" && wait_for arrives
}

file_is_dead()
{
	for command in query alloc 'noop 0' 'state 0' 'mask 1' 'unmask 2' 'bind 3' 'free 0'; do
		answers 'error: ENODEV*' 1 "$command" || return 1
	done
	release 1
}

# Of a device that is broken, and bound.
file_is_broken()
{
	answers 'error: E[IT][OI]*' 1 alloc && answers 'error: E[IT][OI]*' 1 noop 0 &&
		answers 'error: EIO*' 1 state 0 && tell 1 query
}

# The device itself is gone, and what was the driver's at it. The kernel leaves five seconds for
# a change of mind first.
unplugged()
{
	tries=0
	while [ -e "$dev" ] && [ $tries -lt 20 ]; do
		tries=$((tries + 1))
		sleep 1
	done
	[ ! -e "$dev" ] && is_gone
}

works()
{
	[ -e "$dev/driver" ] || given || return 1
	wait_for test -c "$(node 1)" && counter_is used 0 && delivers 0 && delivers 1
}

switched_on()
{
	echo 1 > "$power" && wait_for test -e "$dev" && works
}

log_is_short()
{
	lines=$(log | grep -c "$bdf")
	[ "$lines" -le $most_lines ] || {
		ktap_print_msg "$lines lines:"
		log | grep "$bdf" | head -n 30 | while read -r line; do
			ktap_print_msg "$line"
		done
		return 1
	}
	mark_log
}

unbound()
{
	echo "$bdf" > "$bus/drivers/$driver/unbind" && is_gone
}

unloaded()
{
	rmmod $driver && is_gone
}

switched_off()
{
	echo 0 > "$power" && unplugged
}

ktap_print_header
[ -n "$IMS_HOST" ] || skip_all "nobody who unplugs: IMS_HOST is not set"
need_device
is_module || skip_all "not a module"
first=$bdf
second=$(lspci -D -n -d "$id" | sed -n '2s/ .*//p')
[ -n "$second" ] || skip_all "needs two devices"
ktap_set_plan 29
use "$first" 0

check "unplugged: interrupts in all states" hold_some
check "unplugged: traffic" traffic
mark_log
check "unplugged: the host wants it" host unplug
check "unplugged: nothing is left" unplugged
check "unplugged: all calls end, with ENODEV" traffic_ends
check "unplugged: the open file is dead" file_is_dead
check "unplugged: the log is short" log_is_short
check "unplugged: there again, it works" switched_on

check "unloaded after that: traffic" traffic
check "unloaded after that: unplugged by the guest" switched_off
check "unloaded after that: all calls end, with ENODEV" traffic_ends
check "unloaded after that: the module unloads" unloaded
check "unloaded after that: it loads" load
check "unloaded after that: there again, the device works" switched_on

# While it sends.
check "broken: interrupts in all states" hold_some
check "broken: one of them arrives on and on" stream
mark_log
check "broken: its model is killed" host kill-model
check "broken: calls fail in time" file_is_broken
check "broken: the driver lets go" unbound
check "broken: the open file is dead" file_is_dead
check "broken: the log is short" log_is_short

use "$second" 1
check "broken and unplugged: interrupts in all states" hold_some
check "broken and unplugged: its model is killed" host kill-model
check "broken and unplugged: the host wants it" host unplug
check "broken and unplugged: nothing is left" unplugged
check "broken and unplugged: the open file is dead" file_is_dead
check "broken and unplugged: the log is short" log_is_short
check "broken and unplugged: the module unloads" unloaded

check "the kernel's log is clean" log_is_clean
ktap_finished
