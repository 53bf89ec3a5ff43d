#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What lspci and lsirq show.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

lspci_shows()
{
	lspci -vv -s "$bdf" 2>/dev/null | grep -q "$1"
}

# lsirq prints one line for each row of /proc/interrupts.
lsirq_rows()
{
	[ "$(lsirq | grep -c "IDXD-IMS-$bdf")" = "$(awk 'END { print NR }' "$dir/interrupts")" ]
}

lsirq_counts()
{
	irq=$(virq 0)
	total=$(lsirq -n -o IRQ,TOTAL | awk -v irq="$irq" '$1 == irq { print $2 }')
	[ -n "$total" ] && [ "$total" = "$(count "$irq")" ]
}

ktap_print_header
need_device
ktap_set_plan 6
check "lspci: driver in use" lspci_shows "Kernel driver in use: $driver\$"
check "lspci: MSI-X is on" lspci_shows "MSI-X: Enable+"
check "lspci: the device is a bus master" lspci_shows "BusMaster+"
if command -v lsirq > /dev/null; then
	check "lsirq: a row for each interrupt" lsirq_rows
	check "an interrupt for lsirq to count" delivers
	check "lsirq: the count of that interrupt" lsirq_counts
else
	ktap_test_skip "lsirq: a row for each interrupt"
	ktap_test_skip "an interrupt for lsirq to count"
	ktap_test_skip "lsirq: the count of that interrupt"
fi
ktap_finished
