#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Module parameters: out of bounds they are refused, within them they do what they say.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

# declined ERROR PATTERN PARAMETER=VALUE...: the probe fails with that error, and one line that
# says why.
declined()
{
	error=$1 pattern=$2
	shift 2
	reload "$@" || return 1
	said=$(log | grep "$driver $bdf: ")
	if [ "$(echo "$said" | grep -c "$pattern")" = 1 ]; then
		case $said in
		*" failed with error $error") is_gone && return 0 ;;
		esac
	fi
	ktap_print_msg "the log has: $said"
	return 1
}

# refused PARAMETER=VALUE: with EINVAL, and a line that names it and its bounds.
refused()
{
	declined -22 "parameter $1 is not within [-0-9]*\.\.=[0-9]*\$" "$1"
}

# no_number PARAMETER=VALUE: the module does not load.
no_number()
{
	! reload "$1" 2>/dev/null && ! loaded
}

wqs_are()
{
	reload "wqs=$1" || return 1
	queues=$(work_queues | wc -l) files=$(all_nodes | wc -l)
	ktap_print_msg "$queues work queues, $files files"
	[ "$queues" = "$2" ] && [ "$files" = "$2" ] && delivers 0 && delivers $(($2 - 1)) &&
		counter_is used 0
}

# attribute_is NAME VALUE: of every work queue.
attribute_is()
{
	have=$(sort -u "$dev/$driver.wq".*/"$1" | xargs)
	[ "$have" = "$2" ] || {
		ktap_print_msg "$1 is $have, not $2"
		return 1
	}
}

# limits_are MIN MAX FILE_MAX: as the attributes and the file say.
limits_are()
{
	attribute_is min "$1" && attribute_is max "$2" && hold 1 0 &&
		answers "slots * used 0 min $1 max $2 file_used 0 file_max $3" 1 query &&
		release 1
}

# limits MIN MAX FILE_MAX PARAMETER=VALUE...
limits()
{
	limits="$1 $2 $3"
	shift 3
	# shellcheck disable=SC2086
	reload "$@" && limits_are $limits && delivers 0
}

# A file gets no third interrupt, but another file does.
file_maximum_holds()
{
	reload max_per_file=2 && hold 1 0 && tell 1 alloc 2 && answers 'error: EMFILE*' 1 alloc &&
		answers '*file_used 2 file_max 2' 1 query && delivers 0 && tell 1 free 1 &&
		tell 1 alloc && release 1 && counter_is used 0
}

# The work queue gets no third slot, through whatever file.
maximum_holds()
{
	reload min_slots=0 max_slots=2 && hold 1 0 && hold 2 0 && tell 1 alloc && tell 2 alloc &&
		answers 'error: EDQUOT*' 1 alloc && answers 'error: EDQUOT*' 2 alloc && release 1 &&
		tell 2 alloc && release 2 && counter_is used 0
}

# slot_control SLOT: its control word, by way of the table offset in TABLE_OFFSETS.
slot_control()
{
	offset=$(($("$here/peek" "$dev/resource0" 0x64) >> 16 << 8))
	"$here/peek" "$dev/resource0" $((offset + $1 * 16 + 12))
}

# Nothing but the mask is set in the control word.
control_is_clear()
{
	hold 1 0 && tell 1 alloc 1 && [ $(($(slot_control "${answer##* }") & ~7)) = 0 ] && release 1
}

ktap_print_header
need_device
is_module || skip_all "$driver is not a module"
reload || ktap_exit_fail_msg "$driver does not load again"
all=$(work_queues | wc -l)
slots=$(counter slots)
ktap_set_plan 30

for parameter in wqs=129 wqs=4294967295 timeout_ms=0 timeout_ms=60001 min_slots=65537 \
	max_slots=4294967295 max_per_file=0 max_per_file=65537; do
	check "$parameter is refused" refused $parameter
done
for parameter in wqs=x min_slots=x max_slots=4294967296; do
	check "$parameter is no number, or has too many bits" no_number $parameter
done
needed=$IMS_PARAMETERS IMS_PARAMETERS=
check "emulated=2 is refused" refused emulated=2
if grep -q -w movdir64b /proc/cpuinfo; then
	ktap_test_skip "without MOVDIR64B the device has to be emulated: the CPU has it"
else
	check "without MOVDIR64B the device has to be emulated" declined -95 "MOVDIR64B" emulated=0
fi
IMS_PARAMETERS=$needed
check "min_slots=5 max_slots=4 is refused" \
	declined -22 "min_slots.*max_slots" min_slots=5 max_slots=4
if [ "$all" -gt 1 ]; then
	check "minimums of more than all slots are refused" \
		declined -28 "work queue 1" min_slots=$((slots / 2 + 1)) wqs=2
else
	ktap_test_skip "minimums of more than all slots are refused"
fi

check "wqs=1" wqs_are 1 1
check "wqs=2" wqs_are 2 $((all < 2 ? all : 2))
check "wqs=128 is as many as there are" wqs_are 128 "$all"
check "wqs=0 is all of them" wqs_are 0 "$all"
check "timeout_ms=60000" reload timeout_ms=60000
check "it delivers" delivers 0
check "the control word is clear" control_is_clear

check "limits by default" limits 1 "$slots" 2048
check "min_slots=3 max_per_file=1" limits 3 "$slots" 1 min_slots=3 max_per_file=1
check "min_slots=0 max_slots=7" limits 0 7 2048 min_slots=0 max_slots=7
check "min_slots=4 max_slots=4" limits 4 4 2048 min_slots=4 max_slots=4
check "max_slots=65536 max_per_file=65536" \
	limits 1 "$slots" 65536 max_slots=65536 max_per_file=65536
check "max_per_file=2 holds" file_maximum_holds
check "max_slots=2 holds" maximum_holds

check "back to the defaults" reload
ktap_finished
