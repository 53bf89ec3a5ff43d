#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: a kernel ends while the device is in use and raises interrupts. The next one gets none of them from
# when the driver binds there, and delivers exactly. $1 is how the kernel ends; the next runs this as well.
how=$1
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

log()
{
	dmesg | tail -n 20
}

# The number of kernels that have booted.
kernels()
{
	echo '@@ims ask kernels 0' >"$IMS_HOST"
	read -r answer <"$IMS_HOST"
	echo "$answer"
}

# holds WHAT FILE: within 10 seconds
holds()
{
	tries=0
	until grep -q "$1" "$2"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.1
	done
}

# A file with interrupts, one of which the device goes on to raise, and programs that do all there is.
use()
{
	insmod modules/idxd_ims.ko emulated=1 || return
	set -- /dev/idxd_ims/*.wq0
	selftests/ims/imsctl "$1" 'alloc 4' 'noop 0' 'run sleep 1000' >/tmp/held 2>&1 &
	holds '^1 arrived' /tmp/held || return
	selftests/ims/traffic >/tmp/traffic 2>&1 &
	holds running /tmp/traffic || return
	selftests/ims/traffic "$(sed -n 's/^0 virq .* slot //p' /tmp/held)"
	sleep 1
}

end()
{
	line=$(sed 's/crashkernel=[^ ]*//' /proc/cmdline)
	image=$IMS_KERNEL/bzImage
	case $how in
	reboot) busybox reboot -f ;;
	# Without a word to any driver.
	restart) echo b >/proc/sysrq-trigger ;;
	off) busybox poweroff -f ;;
	kexec) kexec -s -l "$image" --command-line="$line" && kexec -e ;;
	crash)
		kexec -s -p "$image" --command-line="$line nr_cpus=1" && taskset 1 sh -c 'echo c >/proc/sysrq-trigger'
		;;
	esac
}

# How many interrupts came that nobody has a handler for, or that remapping refused.
strays()
{
	awk '$1 ~ /^(SPU|ERR|MIS):$/ { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+$/) sum += $i } END { print sum + 0 }' \
		/proc/interrupts
	dmesg | grep -c 'No irq handler\|INTR-REMAP\|AMD-Vi: Event'
}

counter()
{
	awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/idxd_ims-*/counters
}

case $(kernels) in
1)
	echo "KTAP version 1"
	echo "1..10"
	use
	report $? "the device is in use"
	end
	sleep 60
	report 1 "the kernel ends"
	;;
2)
	n=1
	report 0 "the next one boots"
	sleep 1
	before=$(strays | xargs)
	# A kernel that crashes does not tell its drivers: what the device sends until it is reset, and what
	# the CPU had accepted, the next one reports and drops.
	expected="0 0"
	[ "$how" != crash ] || expected=$before
	check "no interrupt is a stray" "$expected" "$before"
	insmod modules/idxd_ims.ko emulated=1 && test -c /dev/idxd_ims/*.wq0
	report $? "the driver binds"
	check "no slot is in use" "0 0" "$(counter used) $(counter stuck)"
	for program in deliver eventfd mask; do
		(cd selftests/ims && ./$program >/tmp/program 2>&1)
		status=$?
		[ $status = 0 ] || sed 's/^/# /' /tmp/program
		report $status "interrupts are exact: $program"
	done
	rmmod idxd_ims
	report $? "the driver unloads"
	check "nor is one since the driver was loaded" "$before" "$(strays | xargs)"
	;;
esac
exit $failed
