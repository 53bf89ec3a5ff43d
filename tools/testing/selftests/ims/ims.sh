# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the shell tests share. See ims.h for the C tests. A guest may be emulated, so that starting
# a program takes long: what the shell can do, it does.

here=$(dirname "$0")

# shellcheck source=/dev/null
. "$here/../kselftest/ktap_helpers.sh"

driver=idxd_ims
bus=/sys/bus/pci
auxiliary=/sys/bus/auxiliary
nodes=/dev/$driver
irq_debugfs=/sys/kernel/debug/irq
# Devices of the driver, in lspci's notation.
ids="8086:0b25 8086:11fb 8086:1212"
# How many times longer than usual everything may take: see slow.h.
slow=${IMS_SLOW:-1}
marks=0
tmp=$(mktemp -d) &&
	mkfifo "$tmp/to1" "$tmp/from1" "$tmp/to2" "$tmp/from2" "$tmp/to3" "$tmp/from3" || exit

# The first device that the driver has, or is for: its address, debugfs and sysfs.
find_device()
{
	for dir in /sys/kernel/debug/"$driver"-*; do
		bdf=${dir##*"$driver-"} dev=$bus/devices/$bdf
		[ ! -d "$dir" ] || return 0
	done
	for id in $ids; do
		bdf=$(lspci -D -n -d "$id" | sed -n '1s/ .*//p')
		[ -z "$bdf" ] || break
	done
	dir=/sys/kernel/debug/$driver-$bdf
	dev=$bus/devices/$bdf
	[ -n "$bdf" ]
}

# load [PARAMETER=VALUE...]: after those that the machine needs.
# shellcheck disable=SC2120,SC2086 # not every test has parameters
load()
{
	if [ -n "$IMS_MODULE" ]; then
		insmod "$IMS_MODULE" $IMS_PARAMETERS "$@"
	else
		modprobe -q $driver $IMS_PARAMETERS "$@"
	fi
}

# If the kernel has idxd as well, the driver gets only devices that are given to it.
given()
{
	echo $driver > "$dev/driver_override" && echo "$bdf" > "$bus/drivers_probe"
}

loaded()
{
	[ -d /sys/module/$driver ]
}

is_module()
{
	[ -n "$IMS_MODULE" ] || [ -e /sys/module/$driver/initstate ] || modprobe -q -n $driver
}

# reload [PARAMETER=VALUE...]: the log begins here.
# shellcheck disable=SC2120
reload()
{
	release_all
	loaded && { rmmod $driver || return 1; }
	mark_log
	load "$@"
}

counter()
{
	while read -r counted value; do
		[ "$counted" != "$1" ] || echo "$value"
	done < "$dir/counters"
}

# The virq of the domain's own interrupt, which has the name of the irq chip.
sink_virq()
{
	awk -v bdf="$bdf" 'index($0, bdf) && $NF ~ /^[A-Z]+-IMS$/ { print $1 + 0 }' /proc/interrupts
}

counter_is()
{
	have=$(counter "$1")
	[ "$have" = "$2" ] || {
		ktap_print_msg "counter $1 is $have, not $2"
		return 1
	}
}

# count VIRQ: how often the kernel counted it, on all CPUs.
count()
{
	(
		IFS=, n=0
		read -r counts < "/sys/kernel/irq/$1/per_cpu_count"
		for each in $counts; do
			n=$((n + each))
		done
		echo $n
	)
}

# wait_for COMMAND...: waits until it succeeds, for 5 seconds at most.
wait_for()
{
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt $((100 * slow)) ] || return 1
		sleep 0.05
	done
}

# Work queues that the driver enabled: their numbers.
work_queues()
{
	for path in "$dev/$driver.wq".*; do
		[ ! -e "$path" ] || echo $((${path##*.} & 255))
	done | sort -n
}

# node WQ: the character device of a work queue.
node()
{
	echo "$nodes/$bdf.wq$1"
}

# The character devices there are.
all_nodes()
{
	for path in "$nodes/$bdf".wq*; do
		[ ! -e "$path" ] || echo "$path"
	done
}

# subdevice WQ: its name on the auxiliary bus.
subdevice()
{
	for path in "$dev/$driver.wq".*; do
		[ ! -e "$path" ] || [ $((${path##*.} & 255)) != "$1" ] || echo "${path##*/}"
	done
}

# delivers WQ [WORD...]: is an interrupt that is allocated so signalled when it is raised?
delivers()
{
	file=$(node "$1")
	shift
	answer=$("$here/imsctl" "$file" "alloc 1 $*" "noop 0" 2>&1) || {
		ktap_print_msg "$file: $answer"
		return 1
	}
}

# hold HOLDER WQ: opens a work queue until it is released. HOLDER is 1, 2 or 3; it takes two file
# descriptors of the shell. Never in a subshell.
hold()
{
	release "$1"
	"$here/imsctl" -k "$(node "$2")" < "$tmp/to$1" > "$tmp/from$1" \
		3>&- 4<&- 5>&- 6<&- 7>&- 8<&- &
	eval "holder$1=$!; exec $(($1 * 2 + 1))> $tmp/to$1 $(($1 * 2 + 2))< $tmp/from$1"
	tell "$1" query
}

# ask HOLDER COMMAND: has imsctl run a command in its file, and prints the answer. Fails as it does.
ask()
{
	to=$(($1 * 2 + 1)) from=$(($1 * 2 + 2)) status=0
	shift
	# If it has ended, that ends a subshell only.
	(printf '%s\n\n' "$*" >&$to) 2>/dev/null
	while read -r line <&$from; do
		[ -n "$line" ] || return $status
		echo "$line"
		[ "${line%%:*}" != error ] || status=1
	done
	echo "imsctl ended"
	return 1
}

# tell HOLDER COMMAND: the same, and only says what failed.
tell()
{
	answer=$(ask "$@") || {
		ktap_print_msg "imsctl $*: $answer"
		return 1
	}
}

# answers ANSWER HOLDER COMMAND: is that the answer? It is a pattern.
answers()
{
	wanted=$1
	shift
	answer=$(ask "$@")
	# shellcheck disable=SC2254
	case $answer in
	$wanted) return 0 ;;
	esac
	ktap_print_msg "imsctl $*: $answer, expected $wanted"
	return 1
}

# release HOLDER: closes the file.
release()
{
	eval "released=\$holder$1 holder$1="
	eval "exec $(($1 * 2 + 1))>&- $(($1 * 2 + 2))<&-"
	[ -z "$released" ] || wait "$released"
}

release_all()
{
	for holder in 1 2 3; do
		release $holder
	done
}

# stores VALUE FILE: does an attribute take it?
stores()
{
	have=
	echo "$1" > "$2" && read -r have < "$2"
	[ "$have" = "$1" ] || {
		ktap_print_msg "$1 > $2: it has $have"
		return 1
	}
}

# refuses ERROR VALUE FILE: does it not, and stay as it is? The shell's own echo knows no errors.
refuses()
{
	read -r before < "$3"
	answer=$(echo "$2" | LC_ALL=C tee "$3" 2>&1 > /dev/null)
	read -r have < "$3"
	[ "${answer##*: }" = "$1" ] && [ "$have" = "$before" ] || {
		ktap_print_msg "$2 > $3: $answer, expected $1; it had $before, has $have"
		return 1
	}
}

# From here on, log() shows what the kernel says.
mark_log()
{
	marks=$((marks + 1))
	mark="kselftest ${0##*/} $$: mark $marks"
	first_mark=${first_mark:-$mark}
	echo "$mark" > /dev/kmsg
}

log()
{
	dmesg | sed "1,/$mark\$/d"
}

# What lockdep says of pciehp_unconfigure_device(), which takes its reset_lock again while it holds
# another, is the kernel's own.
without_pciehp()
{
	awk '
		/possible circular locking dependency/ { reporting = 1 }
		!reporting { print; next }
		{ report = report $0 "\n" }
		/<\/TASK>/ {
			if (report !~ /acquire lock:\n[^\n]*&ctrl->reset_lock/)
				printf "%s", report
			reporting = 0
			report = ""
		}
		END { printf "%s", report }
	'
}

# Since the first mark, which must be there still.
log_is_clean()
{
	dmesg | grep -q "$first_mark\$" || return 1
	! dmesg | sed "1,/$first_mark\$/d" | without_pciehp |
		grep -E 'WARNING:|BUG:|Oops|Call Trace|No irq handler for|nobody cared'
}

# attribute WQ NAME: the file of an attribute of its.
attribute()
{
	echo "$dev/$(subdevice "$1")/$2"
}

# names DIRECTORY: what is in it, in numerical order.
names()
{
	find "$1/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n
}

# What there is of the driver's at the device.
traces()
{
	for path in "$dir" "$dev/driver" "$dev/msi_irqs" "$dev/$driver".* \
		"$nodes/$bdf".* "$irq_debugfs"/domains/*"IMS-$bdf"*; do
		[ ! -e "$path" ] || echo "$path"
	done
	for path in "$auxiliary/devices/$driver".*; do
		[ ! -L "$path" ] || readlink "$path" | grep "/$bdf/"
	done
	grep "$bdf" /proc/interrupts
}

is_gone()
{
	left=$(traces)
	[ -z "$left" ] || {
		ktap_print_msg "left: $left"
		return 1
	}
}

# check NAME COMMAND...: one test.
check()
{
	title=$1
	shift
	if "$@"; then
		ktap_test_pass "$title"
	else
		ktap_print_msg "failed: $*"
		ktap_test_fail "$title"
	fi
}

skip_all()
{
	ktap_skip_all "$*"
	exit "$KSFT_SKIP"
}

# need_device: with the driver bound, or this test is skipped or fails.
need_device()
{
	find_device || skip_all "no device"
	# shellcheck disable=SC2119
	[ -d "$dir" ] || load || ktap_exit_fail_msg "$driver does not load"
	[ -d "$dir" ] || ktap_exit_fail_msg "$driver does not bind $bdf"
	wait_for test -c "$(node 0)" || ktap_exit_fail_msg "there is no $(node 0)"
	mark_log
}

clean_up()
{
	release_all
	rm -rf "$tmp"
}

trap clean_up EXIT
trap 'exit 1' HUP INT TERM
