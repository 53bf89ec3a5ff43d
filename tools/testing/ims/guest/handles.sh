#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: a device that has two interrupt handles only. The third interrupt is refused, nothing is left of
# it, and the others go on.
imsctl=selftests/ims/imsctl
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

echo "KTAP version 1"
echo "1..5"
insmod modules/idxd_ims.ko emulated=1
set -- /dev/idxd_ims/*.wq0
check "the driver binds" 1 "$([ -c "$1" ] && echo 1)"
found=$($imsctl -k "$1" 'alloc 2' alloc 'noop 1' 'alloc unbound' 'bind 2' 'state 2' 'unbind 0' \
	'bind 2' 'noop 2' | sed 's/ virq .*//; s/ (.*//' | xargs)
check "a handle for each of two" \
	"0 1 error: EIO 1 arrived 2 error: EIO masked count 0 unbound bound 1 arrived" "$found"
check "all slots are back" "used 0" "$(grep used /sys/kernel/debug/idxd_ims-*/counters)"
check "so are the handles" "0 1 1 arrived" \
	"$($imsctl "$1" 'alloc 2' 'noop 1' | sed 's/ virq .*//' | xargs)"
rmmod idxd_ims
check "the module unloads" "" "$(grep idxd_ims /proc/modules)"
exit $failed
