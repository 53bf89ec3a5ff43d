#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: after what ran in this guest, the drivers unload and have left no memory behind.
kmemleak=/sys/kernel/debug/kmemleak
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

unload()
{
	for module in idxd_ims rust_driver_ims; do
		[ ! -d /sys/module/$module ] || rmmod $module || return
	done
}

# One scan learns the contents of what nothing points to, the next reports what kept them. Of that it
# leaves out what is younger than 5 seconds.
scan()
{
	echo scan > $kmemleak && sleep 5 && echo scan > $kmemleak
}

echo "KTAP version 1"
echo "1..3"
unload
report $? "the drivers unload"
scan
report $? "kmemleak is on"
cat $kmemleak > /tmp/leaks
sed 's/^/# /' /tmp/leaks
[ ! -s /tmp/leaks ]
report $? "no memory is left behind"
exit $failed
