# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Sourced by init for make boot: loads the drivers, and prints examples.
export PATH="$PATH:/mnt/selftests/ims"
for module in idxd_ims:emulated=1 rust_driver_ims:; do
	[ ! -e "modules/${module%%:*}.ko" ] || insmod "modules/${module%%:*}.ko" ${module#*:}
done
echo 'The root is the build root, read-only; /mnt is out/ of this clone (modules, selftests, guest).'
set -- /dev/idxd_ims/*.wq0
if [ -e "$1" ]; then
	export WQ="$1"
	cat <<'EOF_TEXT'
idxd_ims has the device, and $WQ is the file of work queue 0. Interrupts come from no-operations, and from
copies of a file:
  imsctl $WQ 'alloc 2' 'noop 0 1000' 'copy 1 8000' 'run grep IDXD /proc/interrupts'
  imscopy -w $WQ /bin/bash /tmp/copy
  imsctl                                    shows what other commands there are
  cat /sys/kernel/debug/irq/domains/*IDXD*  shows the irq domain
EOF_TEXT
fi
set -- /sys/kernel/debug/rust_driver_ims-*
if [ -d "$1" ]; then
	export DIR="$1"
	cat <<'EOF_TEXT'
rust_driver_ims has the queue device, and $DIR is its directory in debugfs. Queues are rung by hand:
  echo ring 1 >$DIR/control; grep ims /proc/interrupts; cat $DIR/slots
EOF_TEXT
fi
echo 'Leave with exit (or Ctrl-A X).'
