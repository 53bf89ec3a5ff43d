#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The interrupts of the message store as the kernel shows them: the chain of irq
# domains, the device's interrupts in sysfs, debugfs and /proc, and MSI-X beside them.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

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

# The virqs of the driver's interrupts, and that of vector 0.
ims_virqs()
{
	awk '{ print $3 }' "$dir/interrupts"
}

msix_virq()
{
	awk '$NF == "idxd-ims-events" { print $1 + 0 }' /proc/interrupts
}

msi_irqs_are_all()
{
	sysfs=$(names "$dev/msi_irqs" | xargs)
	ktap_print_msg "msi_irqs: $sysfs"
	[ "$sysfs" = "$( (msix_virq; ims_virqs) | sort -n | xargs)" ]
}

# The hwirq of each virq is its slot, its chip and domain are the device's.
irqs_are_slots()
{
	while read -r _ slot irq _ _; do
		file=$irq_debugfs/irqs/$irq
		hwirq=$(sed -n 's/^ hwirq: *//p' "$file")
		chip=$(sed -n 's/^ chip: *//p' "$file")
		[ $((hwirq)) = "$slot" ] && [ "$chip" = "IR-IDXD-IMS-$bdf" ] || return 1
		grep -q "^domain: *IR-IDXD-IMS-$bdf" "$file" || return 1
	done < "$dir/interrupts"
}

# Rows look like "29: 0 0 IR-IDXD-IMS-0000:00:05.0 3-edge idxd-ims", 3 being the slot.
rows_are_there()
{
	while read -r _ slot irq _ _; do
		grep -q "^ *$irq: .* IR-IDXD-IMS-$bdf *$slot-edge *idxd-ims\$" /proc/interrupts ||
			return 1
	done < "$dir/interrupts"
}

slots_is_complete()
{
	interrupts=$(awk '{ print $2, $3 }' "$dir/interrupts" | sort -n)
	slots=$(awk 'NR > 1 { print $1, $2 }' "$dir/slots" | sort -n)
	[ -n "$slots" ] && [ "$interrupts" = "$slots" ]
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
	[ "$(ims_count)" = "$1" ]
}

# A descriptor's completion comes by the message store, and not by vector 0. One at a
# time: two messages for the same interrupt could become one in the local APIC.
descriptors_use_ims()
{
	msix=$(count "$(msix_virq)") ims=$(ims_count)
	for command in "noop 0 0" "memmove 0 0 64" "noop 0 0"; do
		ims=$((ims + 1))
		control "$command" && wait_for ims_count_is "$ims" || return 1
	done
	sleep 0.1
	[ "$(count "$(msix_virq)")" = "$msix" ] && ims_count_is "$ims"
}

# A command's completion comes by vector 0, and not by the message store.
commands_use_msix()
{
	msix=$(count "$(msix_virq)") ims=$(ims_count) commands=$(counter commands)
	for _ in 1 2 3; do
		control release 0 && control request 0 || return 1
	done
	sleep 0.1
	done=$(($(counter commands) - commands))
	ktap_print_msg "$done commands"
	[ $done -gt 0 ] && [ "$(count "$(msix_virq)")" = $((msix + done)) ] && ims_count_is "$ims"
}

ktap_print_header
need_device
[ -d $irq_debugfs/domains ] || skip_all "CONFIG_GENERIC_IRQ_DEBUGFS is not set"
ktap_set_plan 9
check "one domain of the device" one_domain
check "stacked on interrupt remapping, on the vectors" chain_is_stacked
check "msi_irqs lists vector 0 and the message store's interrupts" msi_irqs_are_all
check "hwirq is the slot, chip is the device's" irqs_are_slots
check "rows in /proc/interrupts" rows_are_there
check "the table of slots is complete" slots_is_complete
check "descriptors complete by the message store" descriptors_use_ims
check "commands complete by MSI-X" commands_use_msix
check "the kernel's log is clean" log_is_clean
ktap_finished
