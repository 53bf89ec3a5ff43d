#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A message store in host memory: the sample driver, for the queue device of
# tools/testing/ims/model. The device has a copy of the messages, and takes them from
# memory when an UPDATE tells it to, which takes time. IMS_SAMPLE_MODULE may name the module.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

driver=rust_driver_ims
# For find_device and load.
# shellcheck disable=SC2034
ids="1af4:10f0" IMS_MODULE=$IMS_SAMPLE_MODULE IMS_PARAMETERS=

# Most UPDATEs that the driver makes when it binds: once, and for each queue.
updates_once=1
# The message, and that it is unmasked: the work that flushes may come in between.
updates_per_queue=2

# Most queues that it uses.
most_queues=4

rings=50
stream=200
rebinds=5

# Registers of the device, in BAR 0.
queues=0x4 control=0x10 status=0x18
sent=0x80 latched=0x84 replayed=0x88 updates=0x8c ignored=0x94 refused=0x98

reg()
{
	echo $(($("$here/peek" "$dev/resource0" "$1")))
}

# regs REGISTER...: their values, in one line.
regs()
{
	for offset; do
		reg "$offset"
	done | xargs
}

# grown SINCE REGISTER...: by how much they grew since regs() said that.
grown()
{
	for before in $1; do
		shift
		echo $(($(reg "$1") - before))
	done | xargs
}

# grew BY SINCE REGISTER...: is that by how much?
grew()
{
	wanted=$1
	shift
	[ "$(grown "$@")" = "$wanted" ] || {
		since=$1
		shift
		ktap_print_msg "registers $*: $since, then $(regs "$@"), expected growth $wanted"
		return 1
	}
}

# do_queue VERB QUEUE: ring, mask or unmask.
do_queue()
{
	echo "$1 $2" > "$dir/control"
}

# refuses_command ERROR COMMAND: the shell's own echo knows no errors.
refuses_command()
{
	answer=$(echo "$2" | LC_ALL=C tee "$dir/control" 2>&1 > /dev/null)
	[ "${answer##*: }" = "$1" ] || {
		ktap_print_msg "'$2': '$answer', expected $1"
		return 1
	}
}

# virq QUEUE
virq()
{
	awk -v name="$driver-$bdf-queue$1" '$NF == name { print $1 + 0 }' /proc/interrupts
}

# row QUEUE COLUMN: of the table of slots.
row()
{
	awk -v irq="$(virq "$1")" -v column="$2" 'NR > 1 && $2 == irq { print $column }' \
		"$dir/slots"
}

state_is()
{
	[ "$(row "$1" 4)" = "$2" ] || {
		ktap_print_msg "queue $1: $(row "$1" 4), expected $2"
		return 1
	}
}

# total VIRQ: its count, in $sum, without a process.
total()
{
	read -r line < "/sys/kernel/irq/$1/per_cpu_count" || return 1
	sum=0 IFS=,
	for number in $line; do
		sum=$((sum + number))
	done
	unset IFS
}

# arrive VIRQ COUNT: waits until that many came, for 5 seconds at most.
arrive()
{
	tries=0
	while total "$1" && [ "$sum" -lt "$2" ]; do
		tries=$((tries + 1))
		if [ $tries -ge $((600 * slow)) ]; then
			ktap_print_msg "irq $1 came $sum times, expected $2"
			return 1
		fi
		[ $tries -lt 100 ] || sleep 0.01
	done
}

# arrived VIRQ COUNT: did that many come, and no more?
arrived()
{
	sleep 0.1
	total "$1" && [ "$sum" = "$2" ] || {
		ktap_print_msg "irq $1 came $sum times, expected $2"
		return 1
	}
}

# ring QUEUE [VIRQ]: rings it once, and waits for its interrupt.
ring()
{
	irq=${2:-$(virq "$1")}
	total "$irq" && do_queue ring "$1" && arrive "$irq" $((sum + 1))
}

delivers_all()
{
	for queue in $all; do
		ring "$queue" || return 1
	done
}

# What the device has against the driver: errors of an UPDATE, doorbells it ignored,
# messages that the host refused.
device_is_content()
{
	[ "$(regs $status $ignored $refused)" = "0 0 0" ] || {
		ktap_print_msg "status, ignored, refused: $(regs $status $ignored $refused)"
		return 1
	}
}

chain()
{
	sed -n 's/^ *name: *//p' $irq_debugfs/domains/*"QUEUE-IMS-$bdf"* | xargs
}

chain_is_stacked()
{
	ktap_print_msg "$(chain)"
	[ "$(names $irq_debugfs/domains | grep -c "QUEUE-IMS-$bdf")" = 1 ] &&
		chain | grep -q -E "^IR-QUEUE-IMS-${bdf}[^ ]* (INTEL-IR-|AMD-IR)[^ ]* VECTOR\$"
}

# Rows of /proc/interrupts name the chip, the slot and the queue.
rows_are_there()
{
	for queue in $all; do
		grep -q "^ *[0-9]*: .* IR-QUEUE-IMS-$bdf *$queue-edge *$driver-$bdf-queue$queue\$" \
			/proc/interrupts || {
			ktap_print_msg "$(grep "queue$queue\$" /proc/interrupts)"
			return 1
		}
	done
	# And the domain's own.
	[ "$(grep -c "$bdf" /proc/interrupts)" = $((count + 1)) ]
}

# Each queue has the slot of its number, unmasked.
slots_are_in_order()
{
	for queue in $all; do
		[ "$(row "$queue" 1)" = "$queue" ] && state_is "$queue" unmasked || return 1
	done
	[ "$(awk 'END { print NR - 1 }' "$dir/slots")" = "$count" ]
}

# msi_irqs has them and the sink, and nothing else: the device has no other interrupts.
msi_irqs_are_all()
{
	[ "$(names "$dev/msi_irqs" | xargs)" = \
		"$( (sink_virq; for queue in $all; do virq "$queue"; done) | sort -n | xargs)" ]
}

# One at a time: two messages for one interrupt could become one in the local APIC.
rings_are_counted()
{
	for queue in $all; do
		before=$(regs $sent $latched $replayed $updates)
		irq=$(virq "$queue")
		total "$irq"
		expected=$((sum + rings)) nth=0
		while [ $nth -lt $rings ]; do
			nth=$((nth + 1))
			ring "$queue" "$irq" || return 1
		done
		arrived "$irq" "$expected" &&
			grew "$rings 0 0 0" "$before" $sent $latched $replayed $updates || return 1
	done
}

masked_latches()
{
	irq=$(virq 0)
	total "$irq"
	came=$sum before=$(regs $sent $latched $replayed)
	do_queue mask 0 && state_is 0 masked &&
		do_queue ring 0 && do_queue ring 0 && do_queue ring 0 &&
		arrived "$irq" "$came" && state_is 0 masked,pending &&
		grew "0 3 0" "$before" $sent $latched $replayed
}

unmasked_replays_once()
{
	do_queue unmask 0 && arrive "$irq" $((came + 1)) && state_is 0 unmasked &&
		arrived "$irq" $((came + 1)) && grew "1 3 1" "$before" $sent $latched $replayed &&
		ring 0
}

# What the device forgets, the kernel has: masks, messages, and what is pending.
reset_is_survived()
{
	irq=$(virq 0)
	do_queue mask 0 && do_queue ring 0 && state_is 0 masked,pending || return 1
	total "$irq"
	came=$sum
	echo 1 > "$dev/reset" && state_is 0 masked,pending && state_is 1 unmasked &&
		arrived "$irq" "$came" && do_queue unmask 0 && arrive "$irq" $((came + 1)) &&
		rings_are_counted
}

# A queue that is masked does not concern the others.
others_go_on()
{
	do_queue mask 0 || return 1
	for queue in $all; do
		[ "$queue" = 0 ] || ring "$queue" || return 1
	done
	do_queue unmask 0 && ring 0
}

mask_alone_delivers_nothing()
{
	irq=$(virq 0)
	total "$irq"
	came=$sum before=$(regs $sent $latched $replayed)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		do_queue mask 0 && do_queue unmask 0 || return 1
	done
	arrived "$irq" "$came" && grew "0 0 0" "$before" $sent $latched $replayed
}

# updates_of VERB UPDATES
updates_of()
{
	before=$(regs $updates)
	do_queue "$1" 0 && grew "$2" "$before" $updates
}

each_costs_one_update()
{
	updates_of mask 1 && updates_of unmask 1 && updates_of mask 1 && updates_of ring 0 &&
		updates_of unmask 1 && updates_of ring 0
}

# Under interrupt remapping the message stays the same, so that the device needs no command.
moves_need_no_update()
{
	irq=$(virq 0)
	total "$irq"
	expected=$sum before=$(regs $updates)
	for _ in 1 2 3; do
		for cpu in 0 1; do
			echo $cpu > "/proc/irq/$irq/smp_affinity_list" && ring 0 || return 1
			expected=$((expected + 1))
			# The move is done by the time of the next one at the latest.
			came=$(cut -d , -f $((cpu + 1)) "/sys/kernel/irq/$irq/per_cpu_count")
			ring 0 || return 1
			expected=$((expected + 1))
			[ "$(cut -d , -f $((cpu + 1)) "/sys/kernel/irq/$irq/per_cpu_count")" = \
				$((came + 1)) ] || {
				ktap_print_msg "CPU $cpu did not get it"
				return 1
			}
		done
	done
	arrived "$irq" "$expected" && grew 0 "$before" $updates
}

# While another process masks and unmasks the queue without a pause, each one that is rung
# arrives, sooner or later and once.
loses_nothing_under_a_stream()
{
	irq=$(virq 0)
	total "$irq"
	came=$sum before=$(regs $sent $latched $replayed)
	(while do_queue mask 0 && do_queue unmask 0; do :; done) &
	masker=$! nth=0 lost=
	while [ $nth -lt $stream ] && [ -z "$lost" ]; do
		nth=$((nth + 1))
		do_queue ring 0 && arrive "$irq" $((came + nth)) || lost=$nth
	done
	kill $masker || lost="the masker"
	wait $masker 2>/dev/null
	masker=
	[ -z "$lost" ] || ktap_print_msg "lost: $lost"

	# It may have been stopped between the two.
	do_queue unmask 0 && [ -z "$lost" ] && arrived "$irq" $((came + stream)) || return 1
	since=$(grown "$before" $sent $latched $replayed)
	ktap_print_msg "sent, latched, replayed: $since"
	replays=${since##* }
	[ "$since" = "$stream $replays $replays" ] && [ "$replays" -gt 0 ]
}

refuses_nonsense()
{
	for text in "" " " ring "ring x" "ring -1" "ring 0x0" "ring 0 0" "ring 4294967296x" \
		"mask" "unmask x" "mask 1.5" "Ring 0" "raise 0" "0" \
		"ring 0000000000000000000000000000000000000000"; do
		refuses_command "Invalid argument" "$text" || return 1
	done
}

refuses_other_queues()
{
	for verb in ring mask unmask; do
		for number in "$count" 63 64 65536; do
			refuses_command "No such file or directory" "$verb $number" || return 1
		done
	done
	refuses_command "No such file or directory" "ring 4294967296"
}

commands_are_refused()
{
	before=$(regs $sent $latched $updates $ignored)
	refuses_nonsense && refuses_other_queues &&
		grew "0 0 0 0" "$before" $sent $latched $updates $ignored
}

unbind()
{
	echo "$bdf" > "$bus/drivers/$driver/unbind"
}

bind()
{
	echo "$bdf" > "$bus/drivers/$driver/bind"
}

# Nothing is left, and the device does nothing any more.
is_off()
{
	is_gone && [ "$(regs $control $status)" = "0 0" ]
}

# The counters go on, unless the driver resets the device.
binds_with_few_updates()
{
	unbind && is_off || return 1
	before=$(reg $updates)
	bind || return 1
	after=$(reg $updates)
	[ "$after" -ge "$before" ] || before=0
	ktap_print_msg "$((after - before)) UPDATEs for $count queues"
	[ $((after - before)) -ge "$count" ] &&
		[ $((after - before)) -le $((updates_per_queue * count + updates_once)) ]
}

rebinds()
{
	nth=0
	while [ $nth -lt $rebinds ]; do
		nth=$((nth + 1))
		unbind && is_off && bind && slots_are_in_order && delivers_all || return 1
	done
}

# Masked and pending when the driver goes: the next owner has none of it.
rebinds_while_pending()
{
	do_queue mask 0 && do_queue ring 0 && state_is 0 masked,pending &&
		unbind && is_off && bind &&
		irq=$(virq 0) && arrived "$irq" 0 && slots_are_in_order && delivers_all
}

reloads()
{
	rmmod $driver && is_off && ! loaded && load && slots_are_in_order && delivers_all
}

ktap_print_header
find_device || skip_all "no device"
[ -d "$dir" ] || load || ktap_exit_fail_msg "$driver does not load"
[ -d "$dir" ] || ktap_exit_fail_msg "$driver does not bind $bdf"
mark_log
masker=
trap '[ -z "$masker" ] || kill "$masker"; clean_up' EXIT
count=$(reg $queues)
[ "$count" -le $most_queues ] || count=$most_queues
all=$(seq 0 $((count - 1)))

ktap_set_plan 21
if [ -d $irq_debugfs/domains ]; then
	check "one domain, stacked on interrupt remapping, on the vectors" chain_is_stacked
else
	ktap_test_skip "one domain, stacked on interrupt remapping, on the vectors"
fi
check "rows in /proc/interrupts" rows_are_there
check "the table of slots: in order, unmasked" slots_are_in_order
check "msi_irqs lists them" msi_irqs_are_all
check "binding makes no more UPDATEs than it has to" binds_with_few_updates
check "every queue: $rings rung are $rings sent and counted" rings_are_counted
check "masked: nothing arrives, three are latched" masked_latches
check "unmasked: one arrives, once" unmasked_replays_once
check "a reset loses nothing" reset_is_survived
check "other queues go on meanwhile" others_go_on
check "mask and unmask alone deliver nothing" mask_alone_delivers_nothing
check "mask and unmask cost one UPDATE each" each_costs_one_update
if [ "$(nproc)" -gt 1 ]; then
	check "moves between CPUs lose nothing and need no UPDATE" moves_need_no_update
else
	ktap_test_skip "moves between CPUs lose nothing and need no UPDATE"
fi
check "mask and unmask without a pause: none of $stream is lost or doubled" \
	loses_nothing_under_a_stream
check "nonsense and other queues are refused" commands_are_refused
check "the device has nothing to complain of" device_is_content
check "unbind and bind, $rebinds times" rebinds
check "unbind while one is pending" rebinds_while_pending
if is_module; then
	check "unload and load" reloads
else
	ktap_test_skip "unload and load"
fi
check "the device still has nothing to complain of" device_is_content
check "the kernel's log is clean" log_is_clean
ktap_finished
