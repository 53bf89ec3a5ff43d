#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel's own user-space driver for DSA, with its test program, judges the device model: copies and
# batches of copies through the limited MSI-X portal, a completion interrupt, and that addresses which are
# not mapped do no harm. It has no opinion on message stores, groups and error codes.
pci=/sys/bus/pci
for file in "$pci"/devices/*/device; do
	[ "$(cat "$file")" != 0x0b25 ] || dev=${file%/device}
done
bdf=${dev##*/}
echo vfio-pci >"$dev/driver_override"
echo "$bdf" >$pci/drivers_probe
# A gigabyte is mapped for each test.
echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
# One of the ways to map it: they are the kernel's own.
cd selftests/vfio && exec ./vfio_pci_driver_test -v vfio_type1v2_iommu "$bdf"
