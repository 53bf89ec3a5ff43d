#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The shares that work queues have of the message store: guarantee, ceiling, and the slots that
# each holds, as attributes.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

einval="Invalid argument"
erange="Numerical result out of range"
enospc="No space left on device"

# set_limits WQ GUARANTEE CEILING: in an order in which the guarantee is never above the ceiling.
set_limits()
{
	stores 0 "$dev/wq$1/guarantee" && stores "$3" "$dev/wq$1/ceiling" &&
		stores "$2" "$dev/wq$1/guarantee"
}

# all_limits GUARANTEE CEILING: of every work queue, whatever they were before.
all_limits()
{
	for n in $(work_queues); do
		stores 0 "$dev/wq$n/guarantee" || return 1
	done
	for n in $(work_queues); do
		set_limits "$n" "$1" "$2" || return 1
	done
}

refuses_nonsense()
{
	for file in "$dev/wq0/guarantee" "$dev/wq0/ceiling"; do
		for value in x -1 1.5 "1 2" "" 4294967296 99999999999999999999; do
			refuses "$einval" "$value" "$file" || return 1
		done
	done
	refuses "$einval" 0 "$dev/wq0/ceiling"
}

# The guarantee is not above the ceiling, whichever of the two is written.
guarantee_below_ceiling()
{
	set_limits 0 3 5 && refuses "$einval" 6 "$dev/wq0/guarantee" &&
		refuses "$einval" 2 "$dev/wq0/ceiling" && stores 3 "$dev/wq0/ceiling" &&
		refuses "$einval" 4 "$dev/wq0/guarantee" && all_limits 1 "$slots"
}

ceiling_below_slots()
{
	refuses "$erange" $((slots + 1)) "$dev/wq0/ceiling" &&
		refuses "$erange" 4294967295 "$dev/wq0/ceiling" &&
		stores 1 "$dev/wq0/ceiling" && stores "$slots" "$dev/wq0/ceiling"
}

# The others have a guarantee of 1 each.
guarantees_add_up()
{
	most=$((slots - others))
	refuses "$enospc" $((most + 1)) "$dev/wq0/guarantee" && stores "$most" "$dev/wq0/guarantee" &&
		refuses "$enospc" 2 "$dev/wq1/guarantee" && stores 0 "$dev/wq1/guarantee" &&
		stores $((most + 1)) "$dev/wq0/guarantee" && refuses "$enospc" 1 "$dev/wq1/guarantee" &&
		all_limits 1 "$slots"
}

# What a work queue holds above its guarantee counts as well.
used_counts()
{
	all_limits 0 "$slots" && hold 1 0 && tell 1 alloc 6 &&
		refuses "$enospc" $((slots - 5)) "$dev/wq1/guarantee" &&
		stores $((slots - 6)) "$dev/wq1/guarantee" && answers 'error: ENOSPC*' 1 alloc &&
		release 1 && stores "$slots" "$dev/wq1/guarantee" && all_limits 1 "$slots"
}

# In files of the same work queue and of others: to EDQUOT at the ceiling.
ceiling_is_for_all_files()
{
	set_limits 0 1 4 && hold 1 0 && hold 2 0 && hold 3 1 && tell 1 alloc 3 && tell 2 alloc 1 &&
		answers 'error: EDQUOT*' 1 alloc && answers 'error: EDQUOT*' 2 alloc &&
		answers '* used 4 guarantee 1 ceiling 4 file_used 1 *' 2 query &&
		tell 3 alloc 5 && tell 1 free 0 && tell 2 alloc && answers 'error: EDQUOT*' 1 alloc &&
		answers '1 arrived' 2 noop 1
}

# It gets no more until it has less than that, and loses none of what it has.
ceiling_below_used()
{
	stores 2 "$dev/wq0/ceiling" && answers '1 arrived' 1 noop 1 && tell 1 free 1 &&
		answers 'error: EDQUOT*' 1 alloc && tell 1 free 2 && answers 'error: EDQUOT*' 1 alloc &&
		tell 2 free 0 && tell 1 alloc && answers '1 arrived' 1 noop 0 &&
		answers 'error: EDQUOT*' 1 alloc && release_all
	all_limits 1 "$slots" && counter_is used 0
}

# A work queue that takes all it can leaves the others theirs: ENOSPC at what is not its own. It
# may have more than vectors, so without eventfds.
greedy_leaves_guarantees()
{
	set_limits 1 7 "$slots" && hold 1 0 && most=$((slots - 7 - others + 1)) &&
		[ "$(ask 1 alloc "$slots" unbound | grep -c virq)" = "$most" ] &&
		answers 'error: ENOSPC*' 1 alloc && hold 2 1 && tell 2 alloc 7 &&
		answers '1 arrived' 2 noop 6 && answers 'error: ENOSPC*' 2 alloc
}

# What a third one returns above its guarantee goes to whoever asks first, but what it can count on
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

# list ID...: their slots as the attribute lists them.
list()
{
	awk -v ids=" $* " 'index(ids, " " $1 " ") { print $5 }' "$tmp/held" | sort -n | awk '
		NR > 1 && $1 == last + 1 { last = $1; next }
		NR > 1 { printf "%s,", first == last ? first : first "-" last }
		{ first = last = $1 }
		END { if (NR) print first == last ? first : first "-" last }'
}

# slots_are WQ ID...
slots_are()
{
	read -r have < "$dev/wq$1/slots"
	shift
	wanted=$(list "$@")
	[ "$have" = "$wanted" ] || {
		ktap_print_msg "slots is $have, not $wanted"
		return 1
	}
}

# Also masked, and without eventfd.
lists_what_is_held()
{
	[ "$(wc -l < "$dev/wq0/slots")" = 1 ] && slots_are 0 && hold 1 0 &&
		ask 1 alloc 8 > "$tmp/held" && slots_are 0 0 1 2 3 4 5 6 7 && slots_are 1 &&
		tell 1 free 1 && slots_are 0 0 2 3 4 5 6 7 && tell 1 free 4 && tell 1 mask 2 &&
		tell 1 unbind 3 && slots_are 0 0 2 3 5 6 7 && tell 1 free 0 && tell 1 free 7 &&
		slots_are 0 2 3 5 6 && ktap_print_msg "slots: $have" && release 1 && slots_are 0
}

# Together they are the slots of the device's table.
lists_are_all_slots()
{
	hold 1 0 && tell 1 alloc 3 && hold 2 1 && tell 2 alloc 2 && tell 1 free 1 && tell 2 alloc 3 ||
		return 1
	listed=$(cat "$dev"/wq*/slots | tr , '\n' | grep . | awk -F - '{
		for (slot = $1; slot <= $NF; slot++) print slot }' | sort -n | xargs)
	used=$(awk 'NR > 1 { print $1 }' "$dir/slots" | sort -n | xargs)
	ktap_print_msg "slots $used"
	[ "$listed" = "$used" ] && [ "$(echo "$used" | wc -w)" = "$(counter used)" ] &&
		release 1 && release 2 && counter_is used 0
}

# Those never used come first, in order; one that was freed comes as late as can be.
freed_comes_late()
{
	reload guarantee=0 file_ceiling=65536 && hold 1 0 && ask 1 alloc 4 > "$tmp/held" && [ "$(list 0 1 2 3)" = 0-3 ] &&
		tell 1 free 1 && tell 1 free 0 && gets_slot 4 && tell 1 alloc $((slots - 5)) unbound &&
		gets_slot 1 && gets_slot 0 && answers 'error: EDQUOT*' 1 alloc && release 1 &&
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
	limits=$(cat "$dev"/wq*/guarantee "$dev"/wq*/ceiling | sort -n -u | xargs)
	ktap_print_msg "limits: $limits"
	[ "$limits" = "1 $slots" ]
}

ktap_print_header
need_device
[ -c "$(node 1)" ] || skip_all "the device has one work queue"
is_module || skip_all "$driver is not a module"
# One file can have all slots.
reload file_ceiling=65536 || ktap_exit_fail_msg "$driver does not load again"
slots=$(counter slots)
others=$(($(work_queues | wc -l) - 1))
: > "$tmp/held"
ktap_set_plan 15
check "not a number" refuses_nonsense
check "the guarantee is not above the ceiling" guarantee_below_ceiling
check "the ceiling is not above the number of slots" ceiling_below_slots
check "the guarantees are not above the number of slots" guarantees_add_up
check "slots that are used count" used_counts
check "the ceiling is for all files of a work queue" ceiling_is_for_all_files
check "a ceiling below what is used" ceiling_below_used
check "a greedy work queue leaves the others their guarantee" greedy_leaves_guarantees
check "a slot that is freed goes to anyone it is not kept for" freed_goes_to_anyone
check "every work queue has its guarantee" every_one_can_count_on_its_own
check "slots lists what is held" lists_what_is_held
check "the lists are all slots in use" lists_are_all_slots
check "a slot that was freed comes late" freed_comes_late
check "loading brings the defaults back" defaults_are_back
check "the kernel's log is clean" log_is_clean
ktap_finished
