#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# KTAP: interrupts which are freed while pending. Loading the module runs its tests, and fails.
insmod /mnt/modules/vectors.ko 2>/tmp/insmod.err
dmesg | sed -n 's/^\(\[[^]]*\] \)\{0,1\}vectors: //p' | grep . || cat /tmp/insmod.err
