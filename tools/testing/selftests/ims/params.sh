#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Module parameters: out of bounds they are refused, within them they do what they say.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

reload()
{
	loaded && { rmmod $driver || return 1; }
	mark_log
	load "$@"
}

# refused PARAMETER=VALUE: with EINVAL, and a line that names it.
refused()
{
	reload "$1" || return 1
	log | grep -q "$driver $bdf: .*parameter $1 " &&
		log | grep -q "$driver $bdf: .*failed with error -22\$" && is_gone
}

# no_number PARAMETER=VALUE: the module does not load.
no_number()
{
	! reload "$1" 2>/dev/null && ! loaded
}

# Work queues that the driver enabled.
work_queues()
{
	grep -c '^wq[0-9]*_submitted ' "$dir/counters"
}

wqs_are()
{
	reload "wqs=$1" && delivers && [ "$(work_queues)" = "$2" ] && [ "$(counter used)" = "$2" ]
}

# The control word of slot 0, by way of the table offset in TABLE_OFFSETS.
slot_control()
{
	here=$(dirname "$0")
	offset=$(($("$here/peek" "$dev/resource0" 0x64) >> 16 << 8))
	"$here/peek" "$dev/resource0" $((offset + 12))
}

# PASID enable is bit 3, the PASID is bits 31:12.
pasid_is_in_slot()
{
	control=$(slot_control)
	ktap_print_msg "slot 0 has control $control"
	[ $((control >> 12)) = $(($1)) ] && [ $((control >> 3 & 1)) = 1 ]
}

no_pasid_in_slot()
{
	[ $(($(slot_control) & ~7)) = 0 ]
}

# Both capabilities at the device, as an IOMMU driver would enable them.
enable_pasid()
{
	setpci -s "$bdf" ECAP_ATS+6.w=8000 && setpci -s "$bdf" ECAP_PASID+6.w=1
}

# A masked slot that is unmasked again keeps its PASID.
mask_keeps_pasid()
{
	control mask 0 && pasid_is_in_slot "$1" && control unmask 0 && pasid_is_in_slot "$1" &&
		delivers
}

ktap_print_header
need_device
is_module || skip_all "$driver is not a module"
all=$(reload && work_queues)
ktap_set_plan 20

for parameter in wqs=129 wqs=4294967295 timeout_ms=0 timeout_ms=60001 pasid=1048576 pasid=-2; do
	check "$parameter is refused" refused $parameter
done
check "wqs=x is no number" no_number wqs=x
check "pasid=4294967296 is no number of 32 bits" no_number pasid=4294967296

check "wqs=1" wqs_are 1 1
check "wqs=2" wqs_are 2 2
check "wqs=128 is as many as there are" wqs_are 128 "$all"
check "wqs=0 is all of them" wqs_are 0 "$all"
check "timeout_ms=60000" reload timeout_ms=60000
check "it delivers" delivers
check "no PASID in the slot" no_pasid_in_slot

if enable_pasid 2>/dev/null; then
	check "pasid=0x12345" reload pasid=0x12345
	check "it delivers with a PASID" delivers
	check "the slot has the PASID" pasid_is_in_slot 0x12345
	check "the slot keeps the PASID" mask_keeps_pasid 0x12345
	setpci -s "$bdf" ECAP_PASID+6.w=0
else
	for name in "pasid=0x12345" "it delivers with a PASID" "the slot has the PASID" \
		"the slot keeps the PASID"; do
		ktap_test_skip "$name"
	done
fi

check "back to the defaults" reload
ktap_finished
