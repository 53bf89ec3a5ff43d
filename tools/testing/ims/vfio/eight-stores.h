/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before the sources of the kernel's user-space driver for DSA: the emulator has
 * no MOVDIR64B, so descriptors are written with eight stores. The device model takes one
 * with the last of them.
 */
#include <linux/io.h>

static inline void write_eight_times(void *dst, const void *src)
{
	const uint64_t *words = src;

	for (int i = 0; i < 8; i++)
		writeq(words[i], dst + i * sizeof(*words));
}

#define iosubmit_cmds512(dst, src, count) ((void)(count), write_eight_times(dst, src))
