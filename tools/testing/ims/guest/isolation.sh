#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: raises interrupts of the message store, also on another CPU and in a slot that had another
# owner, and prints their messages. The harness judges what the emulator's trace says of them.
imsctl=selftests/ims/imsctl
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

# messages WQ: raises six interrupts of a work queue, on the first CPU and the last, and writes their messages to a file.
messages()
{
	$imsctl "/dev/idxd_ims/$bdf.wq$1" 'alloc 3 cpu=0' "alloc 3 cpu=$(($(nproc) - 1))" 'noop 0' 'noop 1' 'copy 2 100' \
		'noop 3' 'noop 4' 'copy 5 100' "run grep -h . $debug/slots" > /tmp/raised
	awk -v bdf="$bdf" '$4 ~ /^0x/ {
		print "# raised by " bdf ": slot " $1 " address " $4 " data " $5 }' /tmp/raised >> /tmp/messages
	grep -c '^1 arrived' /tmp/raised
}

echo "KTAP version 1"
echo "1..4"
insmod modules/idxd_ims.ko emulated=1
debug=$(echo /sys/kernel/debug/idxd_ims-*)
bdf=${debug#*idxd_ims-}
: > /tmp/messages
check "interrupts arrive" 6 "$(messages 0)"
check "those of another owner in the same slots" 6 "$(messages 1)"
check "their messages are known" 12 "$(grep -c raised /tmp/messages)"
cat /tmp/messages
rmmod idxd_ims
check "the module unloads" "" "$(grep idxd_ims /proc/modules)"
exit $failed
