#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# bench.sh JOB: have the contestants measure, one after the other. For the harness: a line
# "@ CONTESTANT FILE" before what each file says.
contestants="rust c layered msix"
modules=/mnt/bench/modules
device=/sys/bus/pci/devices/0000:00:08.0
# The contestants have the device's ids.
echo >$device/driver_override

# file CONTESTANT NAME: its path, if it has such a file.
file()
{
	for path in "/sys/kernel/debug/bench_$1/$2" "/sys/kernel/debug/bench_$1-"*"/$2"; do
		if [ -e "$path" ]; then
			echo "$path"
			return
		fi
	done
	return 1
}

# measure CONTESTANT NAME...
measure()
{
	of=$1
	shift
	for name; do
		path=$(file "$of" "$name") || continue
		echo "@ $of $name"
		cat "$path" || echo "failed"
	done
}

# paths CONTESTANT FILE: bench_paths, on the interrupt that stays.
paths()
{
	# The test page, BAR4.
	page=$(sed -n '5s/ .*//p' $device/resource)
	insmod $modules/bench_paths.ko "virq=$(cat "$(file "$1" virq)")" "page=$page" || return
	echo "@ $1 $2"
	cat "$(file paths "$2")"
	rmmod bench_paths
}

free_kib()
{
	# What was freed is free when RCU's grace period is over.
	sleep 1
	awk '/^MemFree/ { print $2 }' /proc/meminfo
}

# memory CONTESTANT NAME: how much less is free once the file has been read. Reading it again undoes
# that.
memory()
{
	path=$(file "$1" "$2") || return 0
	# What stays allocated from the first time is not of interest.
	cat "$path" "$path" >/tmp/first
	before=$(free_kib)
	echo "@ $1 $2"
	cat "$path"
	after=$(free_kib)
	echo "taken $((before - after))"
	cat "$path"
}

contend()
{
	path=$(file "$1" contend)
	for cpus in 1 2 4; do
		echo "@ $1 contend$cpus"
		cpu=0
		while [ $cpu -lt $cpus ]; do
			taskset -c $cpu cat "$path" &
			cpu=$((cpu + 1))
		done
		wait
	done
}

# Has QEMU say who accesses what.
trace_on()
{
	printf '@@ims ask trace 0\n' >"$IMS_HOST"
	read -r answer <"$IMS_HOST"
	[ "$answer" = ok ]
}

# each JOB: of all contestants, one after the other.
each()
{
	for one in $contestants; do
		insmod "$modules/bench_$one.ko" || exit
		case $1 in
		short)
			measure "$one" life size
			paths "$one" paths
			;;
		many)
			measure "$one" bulk slots
			memory "$one" keep
			;;
		contend)
			contend "$one"
			;;
		trace)
			measure "$one" trace
			paths "$one" trace
			;;
		esac
		rmmod "bench_$one" || exit
	done
}

# work [trace]: a program that uses the driver.
work()
{
	echo idxd_ims >$device/driver_override
	# A second has a fixed number of instructions, and so more interrupts than on hardware.
	insmod "$IMS_MODULE" "$IMS_PARAMETERS" storm_limit=0 || exit
	echo "@ work cost"
	# The C library must not copy with string instructions: TCG counts each iteration.
	GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff /mnt/selftests/ims/cost "$@"
}

# warm FILE: whoever comes first finds caches empty, and the trees of the core small.
warm()
{
	insmod $modules/bench_c.ko && cat "$(file c "$1")" >/tmp/first
	rmmod bench_c
}

# The clock that the kernel begins with takes more instructions to read.
while grep -q early /sys/devices/system/clocksource/clocksource0/current_clocksource; do
	sleep 0.1
done
case $1 in
work)
	work
	exit
	;;
work-trace)
	trace_on && work trace
	exit
	;;
esac
warm life
case $1 in
count)
	each short
	warm bulk
	each many
	;;
trace)
	trace_on || exit
	each trace
	;;
*)
	each "$1"
	;;
esac
