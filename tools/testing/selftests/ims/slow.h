/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IMS_SLOW_H
#define IMS_SLOW_H

#include <stdlib.h>

/*
 * How many times longer than usual everything may take: a kernel that checks what it does
 * takes its time. The environment's IMS_SLOW, or 1.
 */
static inline int slow(void)
{
	const char *value = getenv("IMS_SLOW");
	int factor = value ? atoi(value) : 1;

	return factor > 0 ? factor : 1;
}

#endif /* IMS_SLOW_H */
