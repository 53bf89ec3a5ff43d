#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A device that the driver has to refuse, and how it does: with one error, one line in
# the log, and nothing left behind. In the environment:
#   IMS_EXPECT   the error, such as EOPNOTSUPP
#   IMS_MESSAGE  what the log has to say, as an extended regular expression

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

number_of()
{
	case $1 in
	ENODEV) echo 19 ;;
	EINVAL) echo 22 ;;
	EIO) echo 5 ;;
	EBUSY) echo 16 ;;
	ENOSPC) echo 28 ;;
	EOPNOTSUPP) echo 95 ;;
	ETIMEDOUT) echo 110 ;;
	*) ktap_exit_fail_msg "IMS_EXPECT=$1 is not known here" ;;
	esac
}

device_log()
{
	log | grep "$driver $bdf: "
}

# Lines of the device that match the regular expression.
lines()
{
	device_log | grep -c -E "$1"
}

fails_with_error()
{
	[ "$(lines "failed with error -$error\$")" = 1 ]
}

says_once()
{
	[ "$(lines "$IMS_MESSAGE")" = 1 ]
}

# That line, and the core's.
says_no_more()
{
	[ "$(device_log | wc -l)" = 2 ]
}

bind_again()
{
	mark_log
	! echo "$bdf" 2>/dev/null > $bus/drivers/$driver/bind && fails_with_error
}

irqs()
{
	names /sys/kernel/irq
}

same_irqs()
{
	[ "$(irqs)" = "$irqs" ]
}

ktap_print_header
[ -n "$IMS_EXPECT" ] && [ -n "$IMS_MESSAGE" ] || skip_all "IMS_EXPECT and IMS_MESSAGE are not set"
find_device || skip_all "no device"
is_module || skip_all "$driver is not a module"
error=$(number_of "$IMS_EXPECT")
loaded && rmmod $driver
irqs=$(irqs)
ktap_set_plan 9
mark_log
check "the module loads" load
check "the device is refused with $IMS_EXPECT" fails_with_error
check "the log says once: $IMS_MESSAGE" says_once
check "the log says no more" says_no_more
device_log | sed 's/^/# /'
check "nothing of the device is left" is_gone
check "it is refused again" bind_again
check "no interrupt is left" same_irqs
check "the module unloads" rmmod $driver
check "the kernel's log is clean" log_is_clean
ktap_finished
