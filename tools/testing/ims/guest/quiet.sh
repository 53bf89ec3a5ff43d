#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: requesting and freeing an interrupt does not disturb CPUs that have nothing to do with it.
# The kernel's line isolates CPUs 2 to 7.
cycles=100
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

# counts ROW: that row of /proc/interrupts, for CPUs 2 to 7
counts()
{
	awk -v row="$1:" '$1 == row { for (cpu = 2; cpu < 8; cpu++) print $(cpu + 2) }' /proc/interrupts
}

cycle()
{
	calls=$1
	set --
	while [ "$calls" -gt 0 ]; do
		set -- "$@" alloc 'free 0'
		calls=$((calls - 1))
	done
	selftests/ims/imsctl "$wq" "$@" | grep -c '^0 virq'
}

# quiet ROW WHAT: its counts have grown by few
quiet()
{
	counts "$1" >/tmp/after
	most=$(paste "/tmp/before.$1" /tmp/after | awk '{ if ($2 - $1 > most) most = $2 - $1 } END { print most + 0 }')
	echo "# $cycles cycles: at most $most $2 on a CPU"
	[ "$(wc -l </tmp/after)" = 6 ] && [ "$most" -lt $((cycles / 10)) ]
	report $? "hardly any $2"
}

echo "KTAP version 1"
echo "1..4"
insmod modules/idxd_ims.ko emulated=1
set -- /dev/idxd_ims/*.wq0
wq=$1
# What happens at the first time only.
cycle 3 >/tmp/first
for row in RES CAL TLB; do
	counts $row >/tmp/before.$row
done
check "$cycles interrupts are requested and freed" $cycles "$(cycle $cycles)"
quiet RES reschedulings
quiet CAL "function calls"
quiet TLB "TLB shootdowns"
exit $failed
