#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# TAP: the script for owners of hardware, before and after the driver is loaded. Here it has to say that
# the device is emulated.
# shellcheck source=tools/testing/ims/guest/tap.sh
. guest/tap.sh

log()
{
	cat /tmp/said
}

# look NAME FILE [ARGUMENT...]
look()
{
	name=$1 file=$2
	shift 2
	hardware/report -s selftests/ims "$@" "$file" >/tmp/said 2>&1
	report $? "$name"
	grep -q '^# machine: emulated$' /tmp/said
	report $? "$name: it says that the machine is emulated"
}

# has FILE TEXT
has()
{
	grep -q "$2" "$1"
	report $? "it has: $2"
}

echo "KTAP version 1"
echo "1..16"
hardware/report >/tmp/said 2>&1
check "without arguments it says how it is used" "2 1" "$? $(grep -c '^usage' /tmp/said)"
hardware/report -s /tmp /tmp/none >/tmp/said 2>&1
check "without the kselftests it refuses" 2 $?
[ ! -e /tmp/none ]
report $? "and writes no report"
look "before the driver is loaded" /tmp/before
has /tmp/before '^GENCAP *0x40915f0107'
insmod modules/idxd_ims.ko emulated=1
look "when it is loaded" /tmp/after -t 'deliver mask'
for text in 'ok.* slots$' 'of its domain are in use' '^GENCAP *0x40915f0107' '^name: *IR-IDXD-IMS' '^enabled *1$' '^ok.*kselftest mask: .*pass:'; do
	has /tmp/after "$text"
done
! grep -i 'fee[0-9a-f]\{5\}' /tmp/after
report $? "no message is in the report"
! grep -l 'root=\|ims.run' /tmp/before /tmp/after
report $? "nor what else the kernel's command line has"
exit $failed
