// SPDX-License-Identifier: GPL-2.0
/* As bench_c.c, with a layer between the irq chip and the driver. */
#define LAYERED
#include "bench_c.c"
