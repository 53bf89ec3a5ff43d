# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# For scripts that print TAP: they begin with their plan and exit with $failed.
n=0 failed=0

# What of the log explains a failure. Scripts may have one of their own.
log()
{
	:
}

# report STATUS NAME
report()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n $2"
	else
		failed=1
		log | sed 's/^/# /'
		echo "not ok $n $2"
	fi
}

# check NAME EXPECTED FOUND
check()
{
	[ "$2" = "$3" ] || printf '# expected: %s\n# found:    %s\n' "$2" "$3"
	[ "$2" = "$3" ]
	report $? "$1"
}
