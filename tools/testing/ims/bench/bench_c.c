// SPDX-License-Identifier: GPL-2.0
/*
 * The C twin of the Rust stack: the same message store below the same core,
 * and the allocator alone. With LAYERED the store of bench_layered.c.
 */
#include "twin.h"

#define store		twin
#define store_irq	twin_irq
#define store_init	twin_init
#define store_exit	twin_exit
#define store_free	twin_free

static inline int store_alloc(struct twin *twin, struct twin_irq *irq)
{
	return twin_alloc(twin, irq, 0);
}

static inline unsigned int store_virq(struct twin_irq *irq)
{
	return irq->virq;
}

/* Beside the one that stays. */
static inline u32 store_room(struct twin *twin)
{
	return twin->size - 1;
}

#ifndef BARE
static void store_files(struct twin *twin, struct dentry *dir);
#endif

#include "contestant.h"
#ifndef BARE
#include "allocator.h"
#endif
