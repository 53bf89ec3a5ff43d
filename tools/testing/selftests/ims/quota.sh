#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The quotas that work queues have of the message store: minimum (min), maximum (max), and the
# number of slots that each uses (used), as attributes of the subdevices.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

einval="Invalid argument"
erange="Numerical result out of range"
enospc="No space left on device"

# set_limits WQ MIN MAX: in an order in which the minimum is never above the maximum.
set_limits()
{
	stores 0 "$(attribute "$1" min)" && stores "$3" "$(attribute "$1" max)" &&
		stores "$2" "$(attribute "$1" min)"
}

# all_limits MIN MAX: of every work queue, whatever they were before.
all_limits()
{
	for n in $(work_queues); do
		stores 0 "$(attribute "$n" min)" || return 1
	done
	for n in $(work_queues); do
		set_limits "$n" "$1" "$2" || return 1
	done
}

refuses_nonsense()
{
	for file in "$(attribute 0 min)" "$(attribute 0 max)"; do
		for value in x -1 1.5 "1 2" "" 4294967296 99999999999999999999; do
			refuses "$einval" "$value" "$file" || return 1
		done
	done
	refuses "$einval" 0 "$(attribute 0 max)"
}

# The minimum is not above the maximum, whichever of the two is written.
minimum_below_maximum()
{
	set_limits 0 3 5 && refuses "$einval" 6 "$(attribute 0 min)" &&
		refuses "$einval" 2 "$(attribute 0 max)" && stores 3 "$(attribute 0 max)" &&
		refuses "$einval" 4 "$(attribute 0 min)" && all_limits 1 "$slots"
}

maximum_below_slots()
{
	refuses "$erange" $((slots + 1)) "$(attribute 0 max)" &&
		refuses "$erange" 4294967295 "$(attribute 0 max)" &&
		stores 1 "$(attribute 0 max)" && stores "$slots" "$(attribute 0 max)"
}

# The others have a minimum of 1 each.
minimums_add_up()
{
	most=$((slots - others))
	refuses "$enospc" $((most + 1)) "$(attribute 0 min)" &&
		stores "$most" "$(attribute 0 min)" &&
		refuses "$enospc" 2 "$(attribute 1 min)" && stores 0 "$(attribute 1 min)" &&
		stores $((most + 1)) "$(attribute 0 min)" &&
		refuses "$enospc" 1 "$(attribute 1 min)" &&
		all_limits 1 "$slots"
}

# Slots that a work queue uses above its minimum count as well.
used_counts()
{
	all_limits 0 "$slots" && hold 1 0 && tell 1 alloc 6 &&
		refuses "$enospc" $((slots - 5)) "$(attribute 1 min)" &&
		stores $((slots - 6)) "$(attribute 1 min)" && answers 'error: ENOSPC*' 1 alloc &&
		release 1 && stores "$slots" "$(attribute 1 min)" && all_limits 1 "$slots"
}

# In files of the same work queue and of others: to EDQUOT at the maximum.
maximum_is_for_all_files()
{
	set_limits 0 1 4 && hold 1 0 && hold 2 0 && hold 3 1 && tell 1 alloc 3 && tell 2 alloc 1 &&
		answers 'error: EDQUOT*' 1 alloc && answers 'error: EDQUOT*' 2 alloc &&
		answers '* used 4 min 1 max 4 file_used 1 *' 2 query &&
		tell 3 alloc 5 && tell 1 free 0 && tell 2 alloc &&
		answers 'error: EDQUOT*' 1 alloc &&
		answers '1 arrived' 2 noop 1
}

# It gets no more until it has less than that, and loses none of what it has.
maximum_below_used()
{
	stores 2 "$(attribute 0 max)" && answers '1 arrived' 1 noop 1 && tell 1 free 1 &&
		answers 'error: EDQUOT*' 1 alloc && tell 1 free 2 &&
		answers 'error: EDQUOT*' 1 alloc &&
		tell 2 free 0 && tell 1 alloc && answers '1 arrived' 1 noop 0 &&
		answers 'error: EDQUOT*' 1 alloc && release_all
	all_limits 1 "$slots" && counter_is used 0
}

# A work queue that takes all it can leaves the others theirs: ENOSPC at what is not its own. It
# may have more than vectors, so without eventfds.
greedy_leaves_minimums()
{
	set_limits 1 7 "$slots" && hold 1 0 && most=$((slots - 7 - others + 1)) &&
		[ "$(ask 1 alloc "$slots" unbound | grep -c virq)" = "$most" ] &&
		answers 'error: ENOSPC*' 1 alloc && hold 2 1 && tell 2 alloc 7 &&
		answers '1 arrived' 2 noop 6 && answers 'error: ENOSPC*' 2 alloc
}

# What a third one returns above its minimum goes to whoever asks first, but what it can count on
# is kept for it.
freed_goes_to_anyone()
{
	tell 1 free 3 && tell 2 alloc && answers 'error: ENOSPC*' 1 alloc && tell 2 free 7 &&
		tell 1 alloc unbound && tell 2 free 6 && answers 'error: ENOSPC*' 1 alloc &&
		tell 2 alloc && answers 'error: ENOSPC*' 2 alloc
}

every_one_can_count_on_its_own()
{
	for n in $(work_queues); do
		[ "$n" -le 1 ] || delivers "$n" || return 1
	done
	release 1
	release 2
	counter_is used 0 && all_limits 1 "$slots"
}

# list ID...: their slots.
list()
{
	awk -v ids=" $* " 'index(ids, " " $1 " ") { print $5 }' "$tmp/held" | sort -n | awk '
		NR > 1 && $1 == last + 1 { last = $1; next }
		NR > 1 { printf "%s,", first == last ? first : first "-" last }
		{ first = last = $1 }
		END { if (NR) print first == last ? first : first "-" last }'
}

# used_is WQ COUNT
used_is()
{
	read -r have < "$(attribute "$1" used)"
	[ "$have" = "$2" ] || {
		ktap_print_msg "used is $have, not $2"
		return 1
	}
}

# Also masked, and without eventfd.
counts_what_is_held()
{
	[ "$(wc -l < "$(attribute 0 used)")" = 1 ] && used_is 0 0 && hold 1 0 && hold 2 1 &&
		tell 1 alloc 8 && tell 2 alloc 2 && used_is 0 8 && used_is 1 2 && tell 1 free 1 &&
		tell 1 free 4 && tell 1 mask 2 && tell 1 unbind 3 && used_is 0 6 && release 2 &&
		used_is 0 6 && used_is 1 0 && release 1 && used_is 0 0
}

# Slots come in turn: one that was freed comes when all others have been.
freed_comes_late()
{
	reload min_slots=0 max_per_file=65536 && hold 1 0 && ask 1 alloc 4 > "$tmp/held" &&
		[ "$(list 0 1 2 3)" = 0-3 ] && tell 1 free 1 && tell 1 free 0 &&
		gets_slot 4 && tell 1 alloc $((slots - 5)) unbound &&
		gets_slot 0 && gets_slot 1 && answers 'error: EDQUOT*' 1 alloc && release 1 &&
		counter_is used 0
}

gets_slot()
{
	tell 1 alloc unbound && [ "${answer##* }" = "$1" ] || {
		ktap_print_msg "allocated: $answer, expected slot $1"
		return 1
	}
}

defaults_are_back()
{
	reload || return 1
	limits=$(cat "$dev/$driver.wq".*/min "$dev/$driver.wq".*/max | sort -n -u | xargs)
	ktap_print_msg "limits: $limits"
	[ "$limits" = "1 $slots" ]
}

ktap_print_header
need_device
[ -c "$(node 1)" ] || skip_all "the device has one work queue"
is_module || skip_all "$driver is not a module"
# One file can have all slots.
reload max_per_file=65536 || ktap_exit_fail_msg "$driver does not load again"
slots=$(counter slots)
others=$(($(work_queues | wc -l) - 1))
: > "$tmp/held"
ktap_set_plan 14
check "not a number" refuses_nonsense
check "the minimum is not above the maximum" minimum_below_maximum
check "the maximum is not above the number of slots" maximum_below_slots
check "the minimums are not above the number of slots" minimums_add_up
check "slots that are used count" used_counts
check "the maximum is for all files of a work queue" maximum_is_for_all_files
check "a maximum below what is used" maximum_below_used
check "a greedy work queue leaves the others their minimum" greedy_leaves_minimums
check "a slot that is freed goes to anyone it is not kept for" freed_goes_to_anyone
check "every work queue has its minimum" every_one_can_count_on_its_own
check "used counts what is held" counts_what_is_held
check "a slot that was freed comes late" freed_comes_late
check "loading brings the defaults back" defaults_are_back
check "the kernel's log is clean" log_is_clean
ktap_finished
