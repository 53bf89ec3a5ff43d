// SPDX-License-Identifier: GPL-2.0
/* bench_c.c as a driver without the measuring, for its size. */
#define BARE
#include "bench_c.c"
