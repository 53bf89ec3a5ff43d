#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What lspci, lsirq and irqtop show.

# shellcheck source=tools/testing/selftests/ims/ims.sh
. "$(dirname "$0")/ims.sh"

lspci_shows()
{
	lspci -vv -s "$bdf" 2>/dev/null | grep -q "$1" || {
		ktap_print_msg "lspci -vv has no line: $1"
		return 1
	}
}

# Its width is in PASID capability bits 12:8; lspci prints it in hex.
lspci_pasid()
{
	width=$(printf '%02x' $((0x$(setpci -s "$bdf" ECAP_PASID+4.w) >> 8 & 0x1f)))
	lspci_shows 'Process Address Space ID (PASID)' &&
		lspci_shows "PASIDCap:.*Max PASID Width: $width\$"
}

has_dvsec()
{
	lspci -vv -s "$bdf" 2>/dev/null | grep -q "Designated Vendor-Specific"
}

# Three interrupts: ids 0 to 2, their virqs.
take()
{
	hold 1 0 && tell 1 alloc 3 && virqs=$(echo "$answer" | awk '{ print $3 }') &&
		tell 1 noop 0 5 && tell 1 noop 2 12
}

# lsirq prints one line for each row of /proc/interrupts.
lsirq_rows()
{
	rows=$(lsirq -n -o IRQ,NAME)
	for irq in $virqs; do
		echo "$rows" | grep -q "^ *$irq .*IR-IDXD-IMS-$bdf .*$driver-$bdf-wq0\$" || {
			ktap_print_msg "no row of $irq in: $rows"
			return 1
		}
	done
	# And the domain's own.
	[ "$(echo "$rows" | grep -c "IDXD-IMS-$bdf")" = 4 ]
}

lsirq_counts()
{
	totals=$(for irq in $virqs; do
		lsirq -n -o IRQ,TOTAL | awk -v irq="$irq" '$1 == irq { print $2 }'
	done | xargs)
	counts=$(for irq in $virqs; do count "$irq"; done | xargs)
	ktap_print_msg "lsirq: $totals; the kernel: $counts"
	[ "$totals" = "5 0 12" ]
}

# irqtop_rate ID: the highest number that it shows in a row of that interrupt.
irqtop_rate()
{
	irq=$(echo "$virqs" | sed -n "$(($1 + 1))p")
	awk -v irq="$irq" -v name="IR-IDXD-IMS-$bdf" '
		index($0, name) && ($1 + 0 == irq || $2 + 0 == irq) {
			for (i = 3; i < NF && $i != name; i++)
				if ($i + 0 > rate)
					rate = $i + 0
		}
		END { print rate + 0 }' "$tmp/irqtop"
}

# Two of three interrupts are raised until it has shown that, for 20 seconds at most.
irqtop_rates()
{
	: > "$tmp/irqtop"
	irqtop -b -d 1 >> "$tmp/irqtop" 2>&1 3>&- 4<&- &
	running=$!
	deadline=$(($(date +%s) + 20 * slow))
	until [ "$(irqtop_rate 0)" -gt 0 ] && [ "$(irqtop_rate 2)" -gt 0 ]; do
		if [ "$(date +%s)" -ge $deadline ] || ! answers '20 arrived' 1 noop 0 20 ||
			! answers '20 arrived' 1 noop 2 20; then
			break
		fi
	done
	{ kill $running; wait $running; } 2>/dev/null
	ktap_print_msg "rates: $(irqtop_rate 0) $(irqtop_rate 1) $(irqtop_rate 2)"
	[ "$(irqtop_rate 0)" -gt 0 ] && [ "$(irqtop_rate 1)" = 0 ] &&
		[ "$(irqtop_rate 2)" -gt 0 ] || {
		sed 's/^/# /' "$tmp/irqtop"
		return 1
	}
}

ktap_print_header
need_device
ktap_set_plan 10
check "lspci: driver in use" lspci_shows "Kernel driver in use: $driver\$"
check "lspci: MSI-X is on" lspci_shows "MSI-X: Enable+"
check "lspci: the device is a bus master" lspci_shows "BusMaster+"
if setpci -s "$bdf" ECAP_PASID+4.w > /dev/null 2>&1; then
	check "lspci: the PASID capability" lspci_pasid
else
	ktap_test_skip "lspci: the PASID capability: the device has none"
fi
if has_dvsec; then
	check "lspci: the SIOV capability, which states the message store" \
		lspci_shows "Designated Vendor-Specific: Vendor=8086 ID=0005 "
else
	ktap_test_skip "lspci: the SIOV capability: the device has none"
fi
check "interrupts to look at" take
if command -v lsirq > /dev/null; then
	check "lsirq: a row for each interrupt" lsirq_rows
	check "lsirq: the counts" lsirq_counts
else
	ktap_test_skip "lsirq: a row for each interrupt: no lsirq"
	ktap_test_skip "lsirq: the counts: no lsirq"
fi
# There are two of that name; not every version of them can do without a terminal.
if irqtop --help 2>/dev/null | grep -q -e --batch; then
	check "irqtop: the rates of interrupts that come" irqtop_rates
else
	ktap_test_skip "irqtop: the rates of interrupts that come: no irqtop with --batch"
fi
check "the kernel's log is clean" log_is_clean
ktap_finished
