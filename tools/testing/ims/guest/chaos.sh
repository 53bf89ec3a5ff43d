#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# TAP: hostile devices, as many as there are. The driver binds each or declines it with one error; what
# it binds is used; and all goes again. Errors are fine, but nothing hangs, leaks or floods the log.
# Arguments: the seeds of the devices, in the order of their addresses.
# shellcheck disable=SC2329 # some functions are called by way of within
driver=idxd_ims
sysfs=/sys/bus/pci
debugfs=/sys/kernel/debug
imsctl=selftests/ims/imsctl
slow=${IMS_SLOW:-1}
# Seconds for one step with one device. What a device can hold up, module parameter timeout_ms bounds.
deadline=$((20 * slow))
# Lines of the log for one device.
most_lines=20
declare -A problems logged
declined=()
log=/tmp/chaos.log
to=/tmp/to from=/tmp/from
mkfifo "$to" "$from"
n=0 failed=0

check()
{
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n $1"
	else
		failed=1
		printf '%s\n' "${2%$'\n'}" | sed 's/^/# /'
		echo "not ok $n $1"
	fi
}

# within COMMAND...: runs it, for so long; then says what waits where, and nothing more can be tested.
within()
{
	local job alarm ended status task
	"$@" &
	job=$!
	sleep $deadline &
	alarm=$!
	wait -n -p ended $job $alarm
	status=$?
	if [ "$ended" = $job ]; then
		{ kill $alarm; wait $alarm; } 2> /dev/null
		return $status
	fi
	echo "# hangs: $*"
	for task in /proc/[0-9]*; do
		grep -q '^State:.*disk sleep' "$task/status" || continue
		echo "# $(< "$task/comm")"
		sed 's/^/#  /' "$task/stack"
	done
	check "$name: does not hang" "$*"
	exit 1
}

problem()
{
	problems[$bdf]+="$*"$'\n'
}

store()
{
	echo "$1" > "$2"
}

# Uses a work queue in the ways that there are, and often enough to flood a log.
use()
{
	local often=() i
	for i in {1..12}; do
		often+=('noop 1' 'unbind 2' 'bind 2')
	done
	$imsctl -k -t 100 "$1" query 'alloc 3' 'noop 0 2' 'noop 1' 'copy 0 5000' 'mask 1' 'noop 1' \
		'state 1' "${often[@]}" 'unmask 1' 'noop 1' 'unbind 2' 'state 2' 'bind 2' 'noop 2' 'free 0' \
		'alloc 2 cpu=1' 'alloc 60 unbound' 'mask 2' "run cat $debugfs/$driver-$bdf/* $dev/$driver.wq.*/used" 'free 2'
}

use_all()
{
	local node
	for node in "/dev/$driver/$bdf".wq*; do
		use "$node" > /dev/null 2>&1 &
	done
	wait
}

try()
{
	local counters=
	if ! within store "$bdf" $sysfs/drivers/$driver/bind 2> /dev/null; then
		declined+=("$bdf")
		[ ! -e "$dev/driver" ] || problem "probe fails, and it is bound"
		return
	fi
	within use_all
	read -r -d '' counters < $debugfs/$driver-"$bdf"/counters
	[[ $counters = *$'\n'"used 0"$'\n'* ]] || problem "nobody has it open: $counters"
}

# Unbinds a device while a file of it is open, and has interrupts; and then tries once more.
rebind()
{
	local line=more
	$imsctl -k -t 100 "/dev/$driver/$bdf.wq0" < "$to" > "$from" 2> /dev/null &
	exec 5> "$to" 6< "$from"
	printf '%s\n' 'alloc 3' 'alloc unbound' 'mask 1' 'noop 2' 'noop 1' '' >&5
	while [ -n "$line" ]; do
		read -r line <&6 || break
	done
	store "$bdf" "$sysfs/drivers/$driver/unbind"
	exec 5>&- 6<&-
	wait
	store "$bdf" "$sysfs/drivers/$driver/bind" 2> /dev/null
}

# What the log has to have of a device, and must not.
judge_log()
{
	local line lines=0 errors=0 halted=0
	while read -r line; do
		[[ $line = *"$driver $bdf: "* ]] || continue
		lines=$((lines + 1))
		case $line in
		# What the device reports of itself comes apart, and once each. That it halted may be why.
		*'device halted'*) halted=1 ;;
		*'software error'* | *'were revoked'*) ;;
		'kern  :err '*) errors=$((errors + 1)) ;;
		esac
		[ $lines -gt $most_lines ] || logged[$bdf]+="$line"$'\n'
	done < $log
	[ $lines -le $most_lines ] || problem "$lines lines in the log"
	if [[ " ${declined[*]} " = *" $bdf "* ]]; then
		[ $errors -le 2 ] && [ $((errors + halted)) -ge 2 ] || problem "declined with other than one error"
		[[ ${logged[$bdf]} = *"probe with driver $driver failed with error -"* ]] || problem "no error code"
	fi
	[ -z "${problems[$bdf]}" ] || problems[$bdf]+=${logged[$bdf]}
}

# What should be as it was before. Kept for all of the machine.
resources()
{
	set -- /sys/kernel/irq/*
	echo "interrupts $#"
	grep -h mapped $debugfs/irq/domains/INTEL-IR-* $debugfs/irq/domains/AMD-IR-* 2> /dev/null
}

traces()
{
	ls -d $debugfs/$driver-* $debugfs/irq/domains/*IDXD* /dev/$driver/* $sysfs/devices/*/$driver.* 2> /dev/null
	grep $driver /proc/interrupts
}

declare -A names
devices=() seeds=("$@")
for bdf in $(lspci -D -n -d 8086:0b25 | sed 's/ .*//'); do
	names[$bdf]="seed ${seeds[${#devices[@]}]}"
	devices+=("$bdf")
done
echo "KTAP version 1"
echo "1..$((${#devices[@]} + 7))"
check "a device for each seed" "$([ ${#devices[@]} = $# ] || echo "${devices[*]}")"
mark="chaos $$ begins"
echo "$mark" > /dev/kmsg
echo $((deadline / 2)) > /proc/sys/kernel/hung_task_timeout_secs
before=$(resources)
# One at a time.
echo 0 > $sysfs/drivers_autoprobe
name=module
within insmod modules/$driver.ko emulated=1 timeout_ms=$((50 * slow))
check "the module loads" "$(test -d $sysfs/drivers/$driver || echo "it does not")"
for bdf in "${devices[@]}"; do
	dev=$sysfs/devices/$bdf name=${names[$bdf]}
	try
done
# Half of them are unbound while the others storm on. All go with the module.
for ((i = 0; i < ${#devices[@]}; i += 2)); do
	bdf=${devices[i]} name=${names[${devices[i]}]}
	[ ! -e "$sysfs/devices/$bdf/driver" ] || within rebind
done
name=module
within rmmod $driver
check "the module unloads" "$(grep $driver /proc/modules)"
dmesg -x | sed "1,/$mark\$/d" > $log
for bdf in "${devices[@]}"; do
	judge_log
	check "${names[$bdf]}" "${problems[$bdf]}"
done
check "nothing of the driver is left" "$(traces)"
after=$(resources)
check "nor an interrupt or remapping entry" "$([ "$before" = "$after" ] || echo "$before; $after")"
check "no device can write to memory" "$(setpci -v -d 8086:0b25 COMMAND | grep -v '[0-3]$')"
all=$(wc -l < $log)
check "the log is short" "$([ "$all" -le $((${#devices[@]} * most_lines)) ] || echo "$all lines")"
exit $failed
