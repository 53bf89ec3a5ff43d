#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The interrupts of the message store as the kernel shows them: the chain of irq
# domains, the device's interrupts in sysfs, debugfs and /proc, and MSI-X beside them.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

# The interrupts that this test holds: work queue, virq, slot.
table=$tmp/table

# The names of the domains from the device's up, in one line.
chain()
{
	sed -n 's/^ *name: *//p' $irq_debugfs/domains/*"IDXD-IMS-$bdf"* | xargs
}

chain_is_stacked()
{
	ktap_print_msg "$(chain)"
	chain | grep -q -E "^IR-IDXD-IMS-${bdf}[^ ]* (INTEL-IR-|AMD-IR)[^ ]* VECTOR\$"
}

one_domain()
{
	[ "$(names $irq_debugfs/domains | grep -c "IDXD-IMS-$bdf")" = 1 ]
}

# The virq of vector 0.
msix_virq()
{
	awk -v name="$driver-$bdf-events" '$NF == name { print $1 + 0 }' /proc/interrupts
}

# The virqs of the other vectors, one for each work queue.
work_virqs()
{
	awk -v name="$driver-$bdf-work" 'index($NF, name) == 1 { print $1 + 0 }' /proc/interrupts
}

# The driver holds the vectors, and the domain its sink.
idle()
{
	[ "$(names "$dev/msi_irqs" | xargs)" = "$( (msix_virq; work_virqs; sink_virq) |
		sort -n | xargs)" ] && [ "$(work_virqs | wc -l)" = "$wqs" ] &&
		counter_is used 0 && [ "$(grep -c "$bdf" /proc/interrupts)" = $((2 + wqs)) ] &&
		[ "$(awk 'END { print NR }' "$dir/slots")" = 1 ]
}

# take HOLDER WQ COUNT
take()
{
	hold "$1" "$2" && tell "$1" alloc "$3" &&
		echo "$answer" | awk -v wq="$2" '{ print wq, $3, $5 }' >> "$table"
}

take_all()
{
	take 1 0 3 && take 2 1 2
}

msi_irqs_are_all()
{
	sysfs=$(names "$dev/msi_irqs" | xargs)
	ktap_print_msg "msi_irqs: $sysfs"
	[ "$sysfs" = "$( (msix_virq; work_virqs; sink_virq; awk '{ print $2 }' "$table") |
		sort -n | xargs)" ]
}

# The hwirq of each virq is its slot, its chip and domain are the device's.
irqs_are_slots()
{
	while read -r _ irq slot; do
		file=$irq_debugfs/irqs/$irq
		hwirq=$(sed -n 's/^ hwirq: *//p' "$file")
		chip=$(sed -n 's/^ chip: *//p' "$file")
		ktap_print_msg "irq $irq: hwirq $hwirq, chip $chip"
		[ $((hwirq)) = "$slot" ] && [ "$chip" = "IR-IDXD-IMS-$bdf" ] || return 1
		grep -q "^domain: *IR-IDXD-IMS-$bdf" "$file" || return 1
	done < "$table"
}

# Rows look like "29: 0 0 IR-IDXD-IMS-0000:00:05.0 3-edge idxd_ims-0000:00:05.0-wq1", 3 being
# the slot.
rows_are_there()
{
	while read -r wq irq slot; do
		grep -q "^ *$irq: .* IR-IDXD-IMS-$bdf *$slot-edge *$driver-$bdf-wq$wq\$" \
			/proc/interrupts || {
			ktap_print_msg "$(grep "^ *$irq:" /proc/interrupts)"
			return 1
		}
	done < "$table"
}

slots_is_complete()
{
	[ "$(awk '{ print $3, $2 }' "$table" | sort -n)" = \
		"$(awk 'NR > 1 { print $1, $2 }' "$dir/slots" | sort -n)" ]
}

# The sum of the counts of all interrupts of the message store.
ims_count()
{
	awk -v chip="IR-IDXD-IMS-$bdf" '
		index($0, chip) { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

ims_count_is()
{
	[ "$(ims_count)" = "$1" ] || {
		ktap_print_msg "interrupts of the message store: $(ims_count), not $1"
		return 1
	}
}

msix_count_is()
{
	[ "$(count "$(msix_virq)")" = "$1" ] || {
		ktap_print_msg "interrupts of vector 0: $(count "$(msix_virq)"), not $1"
		return 1
	}
}

# A descriptor's completion comes by the message store, and not by vector 0.
descriptors_use_ims()
{
	msix=$(count "$(msix_virq)") ims=$(ims_count)
	answers '10 arrived' 1 noop 0 10 && answers '1 arrived' 1 copy 0 64 &&
		answers '1 arrived' 2 noop 1 || return 1
	sleep 0.1
	msix_count_is "$msix" && ims_count_is $((ims + 12))
}

# The device's own events come by vector 0: it was enabled. The commands that allocating an
# interrupt and freeing it take are none.
events_use_msix()
{
	msix=$(count "$(msix_virq)") ims=$(ims_count)
	for _ in 1 2 3; do
		tell 2 alloc && tell 2 free "${answer%% *}" || return 1
	done
	sleep 0.1
	[ "$msix" -gt 0 ] && [ "$(counter enabled)" -gt 0 ] && msix_count_is "$msix" &&
		ims_count_is "$ims"
}

# Without eventfd an interrupt has its slot, masked, and no row of /proc/interrupts.
unbound_has_slot_only()
{
	read -r _ irq slot < "$table"
	tell 1 unbind 0 && ! grep "^ *$irq:" /proc/interrupts &&
		awk -v slot="$slot" -v irq="$irq" '$1 == slot && $2 == irq { print $NF }' \
			"$dir/slots" | grep -q '^masked$' &&
		tell 1 bind 0 && rows_are_there && answers '1 arrived' 1 noop 0
}

give_back()
{
	release 1
	release 2
	idle
}

ktap_print_header
need_device
[ -d $irq_debugfs/domains ] || skip_all "CONFIG_GENERIC_IRQ_DEBUGFS is not set"
[ -c "$(node 1)" ] || skip_all "the device has one work queue"
wqs=$(find "$dev/" -maxdepth 1 -name "$driver.wq.*" | wc -l)
ktap_set_plan 13
check "one domain of the device" one_domain
check "stacked on interrupt remapping, on the vectors" chain_is_stacked
check "the driver has its vectors, and the domain its sink" idle
check "allocate interrupts for two work queues" take_all
check "msi_irqs lists the vectors, the sink and the message store's interrupts" msi_irqs_are_all
check "hwirq is the slot, chip is the device's" irqs_are_slots
check "rows in /proc/interrupts" rows_are_there
check "the table of slots is complete" slots_is_complete
check "descriptors complete by the message store" descriptors_use_ims
check "the device's own events come by MSI-X" events_use_msix
check "without eventfd an interrupt has a slot and no vector" unbound_has_slot_only
check "closing the files gives all of that back" give_back
check "the kernel's log is clean" log_is_clean
ktap_finished
