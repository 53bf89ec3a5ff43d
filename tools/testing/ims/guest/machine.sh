#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: is this the machine that was asked for? A test of remapping means nothing on another one.
# $1: PCI ID of the device that is modelled.
# shellcheck disable=SC2329 # the conditions are called by way of check
domains=/sys/kernel/debug/irq/domains
device=${1:-8086:0b25}
n=0 failed=0

check()
{
	n=$((n + 1))
	name=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok $n $name"
	else
		echo "not ok $n $name"
		failed=1
	fi
}

has_domain()
{
	for domain in "$domains"/*; do
		case ${domain##*/} in
		"$1"*) return 0 ;;
		esac
	done
	return 1
}

no_remapping()
{
	! has_domain INTEL-IR- && ! has_domain AMD-IR-
}

x2apic()
{
	dmesg | grep -q 'x2apic enabled\|Enabled IRQ remapping in x2apic mode'
}

# At once, so that a message or a write to where nothing is mapped any more does not get through.
translates()
{
	[ "$(cat /sys/kernel/iommu_groups/*/type | sort -u)" = DMA ]
}

no_x2apic()
{
	! x2apic
}

model_present()
{
	lspci -n -d "$device" | grep -q .
}

tests=2
[ -z "$IMS_MODEL" ] || tests=3
echo "KTAP version 1"
echo "1..$tests"
case $IMS_MACHINE in
vtd)
	check "VT-d remaps interrupts" has_domain INTEL-IR-
	check "xAPIC mode" no_x2apic
	;;
vtd-x2apic | vtd-virt)
	check "VT-d remaps interrupts" has_domain INTEL-IR-
	check "x2APIC mode" x2apic
	;;
vtd-dma | vtd-caching)
	check "VT-d remaps interrupts" has_domain INTEL-IR-
	check "VT-d translates DMA" translates
	;;
amdvi | amdvi-virt)
	check "AMD-Vi remaps interrupts" has_domain AMD-IR-
	check "xAPIC mode" no_x2apic
	;;
noremap)
	check "nothing remaps interrupts" no_remapping
	check "the vector domain is there" has_domain VECTOR
	;;
*)
	check "a known machine" false
	check "IMS_MACHINE=$IMS_MACHINE" false
	;;
esac
[ -z "$IMS_MODEL" ] || check "the device model is on the bus" model_present
exit $failed
