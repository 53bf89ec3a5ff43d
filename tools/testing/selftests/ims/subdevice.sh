#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Work queues as subdevices: where they are, what unbinding one does to its interrupts and to
# those of the others, and that none is left of a device that is unbound.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

# Where a directory really is.
place()
{
	(cd -P "$1" && pwd)
}

below_the_device()
{
	above=$(place "$dev")
	for n in $(work_queues); do
		sub=$(subdevice "$n")
		at=$(place "$auxiliary/devices/$sub")
		by=$(place "$auxiliary/devices/$sub/driver")
		if [ -z "$sub" ] || [ "$at" != "$above/$sub" ] || [ "$by" != "$subdriver" ]; then
			ktap_print_msg "wq$n is subdevice \"$sub\" at $at with driver $by"
			return 1
		fi
	done
	[ "$(work_queues | wc -l)" = "$(names "$dev" | grep -c "^$driver\.wq\.")" ]
}

# access WANTED FILE...: as many as there are work queues, all of that type, mode and owner.
access()
{
	wanted="$(work_queues | wc -l) $1"
	shift
	have=$(stat -c '%F %a %u' "$@" | sort | uniq -c | xargs)
	[ "$have" = "$wanted" ] || {
		ktap_print_msg "$*: $have, expected $wanted"
		return 1
	}
}

nodes_are_for_root()
{
	access 'character special file 600 0' "$nodes/$bdf".wq*
}

attributes_are_there()
{
	access 'regular file 444 0' "$dev/$driver.wq".*/used &&
		access 'regular file 644 0' "$dev/$driver.wq".*/min &&
		access 'regular file 644 0' "$dev/$driver.wq".*/max
}

# change bind|unbind WQ: and then its file is there, or not.
change()
{
	sub=$(subdevice "$2")
	echo "$sub" > "$subdriver/$1" || return 1
	if [ "$1" = bind ]; then
		[ -c "$(node "$2")" ]
	else
		[ ! -e "$(node "$2")" ]
	fi
}

# The attributes vanish with the driver of the subdevice.
has_no_attributes()
{
	for name in used min max; do
		[ ! -e "$(attribute "$1" $name)" ] || return 1
	done
}

used_is()
{
	read -r have < "$(attribute "$1" used)"
	[ "$have" = "$2" ] || {
		ktap_print_msg "wq$1 has $have slots, not $2"
		return 1
	}
}

rows()
{
	grep -c "$driver-$bdf-wq$1\$" /proc/interrupts
}

# Of work queue 0: one that delivers, one masked, one masked and pending, one without eventfd.
in_all_states()
{
	hold 1 0 && tell 1 alloc 4 && answers '3 arrived' 1 noop 0 3 && tell 1 mask 1 &&
		tell 1 mask 2 && tell 1 noop 2 && tell 1 unbind 3 && hold 2 1 && tell 2 alloc &&
		answers '1 arrived' 2 noop 0 && counter_is used 5 && [ "$(rows 0)" = 3 ]
}

# The one that is pending as well.
unbind_frees_all()
{
	used_is 0 4 && change unbind 0 && has_no_attributes 0 && [ "$(rows 0)" = 0 ] &&
		counter_is stuck 0 && counter_is used 1
}

others_deliver()
{
	answers '5 arrived' 2 noop 0 5 && delivers 1
}

open_file_is_dead()
{
	for command in query alloc 'noop 0' 'state 0' 'mask 1' 'unmask 2' 'bind 3' 'free 0'; do
		answers 'error: ENODEV*' "$1" "$command" || return 1
	done
}

# The file that was open stays dead.
bind_again()
{
	change bind 0 && delivers 0 && open_file_is_dead 1 && release 1 && delivers 0 &&
		others_deliver
}

all_unbound()
{
	for n in $(work_queues); do
		change unbind "$n" || return 1
	done
	[ -z "$(all_nodes)" ] && open_file_is_dead 2 && release 2 && counter_is used 0
}

all_bound()
{
	for n in $(work_queues); do
		change bind "$n" && delivers "$n" || return 1
	done
}

# What is raised last may not arrive any more.
unbind_under_traffic()
{
	hold 2 1 && tell 2 alloc || return 1
	for _ in 1 2 3; do
		"$here/imsctl" "$(node 0)" alloc 'noop 0 100000' > "$tmp/traffic" 2>&1 3>&- 5>&- &
		traffic=$!
		wait_for grep -q virq "$tmp/traffic" || return 1
		change unbind 0 && answers '1 arrived' 2 noop 0 && has_no_attributes 0 &&
			change bind 0 && used_is 0 0 || return 1
		wait $traffic
		grep -q -E 'error: (ENODEV|ETIMEDOUT)' "$tmp/traffic" || {
			ktap_print_msg "$(cat "$tmp/traffic")"
			return 1
		}
		delivers 0 || return 1
	done
	release 2
}

# Files are open, and interrupts in use.
device_unbound()
{
	hold 1 0 && tell 1 alloc 4 && tell 1 mask 1 && tell 1 noop 1 && tell 1 unbind 3 &&
		hold 2 1 && tell 2 alloc && answers '1 arrived' 2 noop 0 || return 1
	echo "$bdf" > "$bus/drivers/$driver/unbind" && is_gone && open_file_is_dead 1 &&
		answers 'error: ENODEV*' 2 noop 0
}

device_bound()
{
	echo "$bdf" > "$bus/drivers/$driver/bind" && counter_is used 0 && counter_is stuck 0 &&
		delivers 0 && delivers 1 && open_file_is_dead 1 && release 1 && release 2 &&
		below_the_device && nodes_are_for_root
}

two()
{
	reload wqs=2 && [ "$(work_queues | xargs)" = "0 1" ] && below_the_device &&
		nodes_are_for_root && delivers 0 && delivers 1
}

unloaded()
{
	rmmod $driver && is_gone && [ ! -e "$subdriver" ] && [ ! -e $nodes ]
}

ktap_print_header
need_device
[ -c "$(node 1)" ] || skip_all "the device has one work queue"
# The bus puts the name of the module before that of the driver.
subdriver=$(echo $auxiliary/drivers/$driver.*)
[ -w "$subdriver/unbind" ] || ktap_exit_fail_msg "there is no $subdriver"
ktap_set_plan 17
check "every work queue is a subdevice below the device" below_the_device
check "every one has a file for root only" nodes_are_for_root
check "every one has attributes" attributes_are_there
check "interrupts in all states" in_all_states
check "unbinding a subdevice frees its slots" unbind_frees_all
check "the other work queues deliver" others_deliver
check "its open file says ENODEV" open_file_is_dead 1
check "bound again, it delivers" bind_again
check "all subdevices unbound" all_unbound
check "all subdevices bound" all_bound
check "unbound under traffic" unbind_under_traffic
check "unbinding the device leaves nothing" device_unbound
check "bound again, the device is as new" device_bound
if is_module; then
	check "wqs=2 are two" two
	check "unloading leaves nothing" unloaded
	check "back to the defaults" reload
else
	ktap_test_skip "wqs=2 are two"
	ktap_test_skip "unloading leaves nothing"
	ktap_test_skip "back to the defaults"
fi
check "the kernel's log is clean" log_is_clean
ktap_finished
