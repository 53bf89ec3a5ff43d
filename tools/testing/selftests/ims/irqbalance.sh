#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# irqbalance, the daemon, moves interrupts of the message store between CPUs while they are
# raised, and none of them gets lost.
#
# It takes the CPUs that an interrupt may go to from the class of the PCI device: for DSA all of
# a package. A policy has it choose a CPU for each, and leaves other devices alone. How it spreads
# them depends on all that the CPUs do, so CPUs are banned to have it move them.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

interrupts=6
raised=0
balancer=

# policy [KEY=VALUE]: of the device's interrupts.
policy()
{
	cat > "$tmp/policy" <<-POLICY
		#!/bin/sh
		case \$1 in
		*/$bdf) echo $1 ;;
		*) echo ban=true ;;
		esac
	POLICY
	chmod +x "$tmp/policy"
}

# start [BANNED]: CPUs to keep interrupts from. It looks once a second.
start()
{
	IRQBALANCE_BANNED_CPULIST=$1 irqbalance --debug --interval=1 --policyscript="$tmp/policy" \
		> "$tmp/log" 2>&1 3>&- 4<&- &
	balancer=$!
}

stop()
{
	[ -n "$balancer" ] && kill "$balancer" && kill -CONT "$balancer" && wait "$balancer"
	balancer=
	! grep -E 'Cannot change|unmanaged|balancing is broken' "$tmp/log"
}

take()
{
	hold 1 0 && tell 1 alloc $interrupts && virqs=$(echo "$answer" | awk '{ print $3 }')
}

# The CPU that each goes to, in one line.
cpus()
{
	for irq in $virqs; do
		cat "/proc/irq/$irq/effective_affinity_list"
	done | xargs
}

# All to one CPU.
pile_up()
{
	for irq in $virqs; do
		echo "$cpu" > "/proc/irq/$irq/smp_affinity_list" || return 1
	done
	ktap_print_msg "CPUs: $(cpus)"
	piled_up
}

piled_up()
{
	[ "$(cpus | xargs -n 1 | sort -u)" = "$cpu" ]
}

moved_away()
{
	! cpus | grep -q -w "$cpu"
}

# How many came to that CPU. A CPU that can come up later has a place in the line, too.
count_on()
{
	for irq in $virqs; do
		cut -d , -f $(($1 + 1)) "/sys/kernel/irq/$irq/per_cpu_count"
	done | awk '{ n += $1 } END { print n }'
}

# Raises all interrupts in turn, 20 times each.
raise()
{
	id=0
	while [ $id -lt $interrupts ]; do
		answers '20 arrived' 1 noop $id 20 || return 1
		id=$((id + 1))
	done
	raised=$((raised + 20))
}

# raise_until COMMAND: raises them until it succeeds, for 15 seconds at most.
raise_until()
{
	deadline=$(($(date +%s) + 15 * slow))
	until "$@"; do
		raise || return 1
		if [ "$(date +%s)" -ge $deadline ]; then
			ktap_print_msg "CPUs: $(cpus); irqbalance said:"
			grep -E 'CPU number|Interrupt|Cannot' "$tmp/log" | tail -n 20 |
				sed 's/^/# /'
			return 1
		fi
	done
	ktap_print_msg "CPUs: $(cpus), after $raised of each"
}

# Once, with its own idea of where they belong.
finds_them()
{
	policy "" && pile_up && irqbalance --debug --oneshot --interval=1 \
		--policyscript="$tmp/policy" > "$tmp/log" 2>&1 3>&- 4<&- || return 1
	for irq in $virqs; do
		grep -q "Interrupt $irq node_num" "$tmp/log" || {
			ktap_print_msg "it does not know interrupt $irq"
			return 1
		}
	done
	stop && raise
}

# Nothing comes to that CPU any more.
is_clear()
{
	before=$(count_on "$cpu")
	raise && raise && [ "$(count_on "$cpu")" = "$before" ]
}

clears_a_cpu()
{
	policy balance_level=core && pile_up && raise && start "$cpu" && raise_until moved_away &&
		is_clear
}

clears_it_again()
{
	# It must not move them while they are counted.
	kill -STOP "$balancer" && pile_up && kill -HUP "$balancer" && kill -CONT "$balancer" &&
		raise_until moved_away && is_clear && stop
}

fills_it()
{
	start "$others" && raise_until piled_up && raise && stop
}

counts_are_exact()
{
	sleep 0.1
	id=0
	for irq in $virqs; do
		by_cpu=$(cat "/sys/kernel/irq/$irq/per_cpu_count")
		ktap_print_msg "irq $irq: raised $raised times, came to the CPUs $by_cpu times"
		[ "$(count "$irq")" = $raised ] && answers "unmasked count $raised" 1 state $id &&
			answers "total $raised" 1 wait $id $raised || return 1
		id=$((id + 1))
	done
}

give_back()
{
	release 1
	counter_is used 0
}

ktap_print_header
command -v irqbalance > /dev/null || skip_all "no irqbalance"
! pgrep -x irqbalance > /dev/null || skip_all "irqbalance is running"
[ "$(nproc)" -gt 1 ] || skip_all "one CPU"
need_device
cpu=$(sed 's/[-,].*//' /sys/devices/system/cpu/online)
others=$((cpu + 1))-$(sed 's/.*[-,]//' /sys/devices/system/cpu/online)
trap '[ -z "$balancer" ] || kill "$balancer"; clean_up' EXIT
ktap_set_plan 8
check "$interrupts interrupts" take
check "irqbalance finds them" finds_them
check "irqbalance clears CPU $cpu, which is banned" clears_a_cpu
check "irqbalance clears it again" clears_it_again
check "irqbalance moves them to CPU $cpu, as the others are banned" fills_it
check "every one that was raised arrived once" counts_are_exact
check "closing the file gives them back" give_back
check "the kernel's log is clean" log_is_clean
ktap_finished
