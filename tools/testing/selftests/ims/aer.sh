#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Errors on the way to a device in use: those that do not reset it leave no trace. After one that
# resets it behind the driver's back calls fail in time, and the device works when it is found
# again. IMS_HOST is where the host listens: it takes a line
# `@@ims ask correctable|non-fatal|fatal NUMBER`, and answers with a line, "ok" if it does that.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

# has_error SEVERITY: the port has reported one.
has_error()
{
	grep -q "^TOTAL_ERR_[A-Z]* [1-9]" "$port/aer_dev_$1"
}

# inject WORD SEVERITY
inject()
{
	printf '@@ims ask %s 0\n' "$1" > "$IMS_HOST"
	read -r answer < "$IMS_HOST"
	if [ "$answer" != ok ] || ! wait_for has_error "$2"; then
		ktap_print_msg "$1: $answer"
		return 1
	fi
}

# A file with two interrupts, one of which is masked and pending.
in_use()
{
	hold 1 0 && tell 1 alloc 2 && tell 1 mask 1 && tell 1 noop 1
}

goes_on()
{
	answers '1 arrived' 1 noop 0 && tell 1 unmask 1 && answers 'total 1' 1 wait 1 1 &&
		answers '1 arrived' 1 noop 1 && release 1 && counter_is used 0
}

# Nobody restores its configuration space.
file_is_broken()
{
	answers 'error: E[IT]*' 1 noop 0 && answers 'error: EIO*' 1 noop 0 &&
		answers 'error: EIO*' 1 state 1 && tell 1 query
}

unbound()
{
	echo "$bdf" > "$bus/drivers/$driver/unbind" && is_gone && release 1
}

works_when_rescanned()
{
	echo 1 > "$dev/remove" && echo 1 > "$bus/rescan" && wait_for test -e "$dev" || return
	[ -e "$dev/driver" ] || given
	wait_for test -c "$(node 0)" && delivers 0
}

ktap_print_header
[ -n "$IMS_HOST" ] || skip_all "nobody who injects errors: IMS_HOST is not set"
need_device
port=$(realpath "$dev/..")
[ -e "$port/aer_dev_fatal" ] || skip_all "the port of $bdf reports no errors"
ktap_set_plan 12
for kind in correctable non-fatal; do
	check "$kind: interrupts are in use" in_use
	check "$kind: the port reports it" inject $kind "$(echo $kind | tr -d -)"
	check "$kind: they go on" goes_on
done
check "fatal: interrupts are in use" in_use
check "fatal: the port reports it, and resets the device" inject 'fatal' 'fatal'
check "fatal: calls fail in time" file_is_broken
check "fatal: the driver lets go" unbound
check "fatal: found again, the device works" works_when_rescanned
check "the kernel's log is clean" log_is_clean
ktap_finished
