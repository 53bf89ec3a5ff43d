/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The slot allocator of rust/kernel/ims/slots.rs in C, with the same policy:
 * owners with a quota each; the next free slot after the last one allocated.
 */
#ifndef IMS_BENCH_SLOTS_H
#define IMS_BENCH_SLOTS_H

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/mutex.h>
#include <linux/slab.h>

struct owner {
	u32 min;
	u32 max;
	u32 used;
};

struct slots {
	struct mutex lock;	/* of all of it */
	unsigned long *taken;
	u32 size;
	u32 cursor;		/* where the search for a free slot starts */
	u32 spare;		/* free slots that are not reserved */
	u32 nr_owners;
	struct owner *owners;
};

static inline int slots_init(struct slots *slots, u32 size)
{
	*slots = (struct slots){ .size = size, .spare = size };
	mutex_init(&slots->lock);
	slots->taken = bitmap_zalloc(size, GFP_KERNEL);
	return slots->taken ? 0 : -ENOMEM;
}

static inline void slots_exit(struct slots *slots)
{
	kfree(slots->owners);
	bitmap_free(slots->taken);
}

static inline int slots_add_owner(struct slots *slots, u32 min, u32 max)
{
	struct owner *owners;

	if (!max || min > max)
		return -EINVAL;
	if (max > slots->size)
		return -ERANGE;

	guard(mutex)(&slots->lock);
	if (slots->nr_owners > U16_MAX || min > slots->spare)
		return -ENOSPC;
	owners = krealloc_array(slots->owners, slots->nr_owners + 1, sizeof(*owners), GFP_KERNEL);
	if (!owners)
		return -ENOMEM;
	slots->owners = owners;
	owners[slots->nr_owners] = (struct owner){ min, max, 0 };
	slots->spare -= min;
	return slots->nr_owners++;
}

static inline int slots_take(struct slots *slots, u16 index)
{
	struct owner *owner;
	bool spare;
	u32 slot;

	guard(mutex)(&slots->lock);
	if (index >= slots->nr_owners)
		return -EDQUOT;
	owner = &slots->owners[index];
	if (owner->used >= owner->max)
		return -EDQUOT;
	spare = owner->used >= owner->min;
	if (spare && !slots->spare)
		return -ENOSPC;

	slot = find_next_zero_bit(slots->taken, slots->size, slots->cursor);
	if (slot >= slots->size)
		slot = find_first_zero_bit(slots->taken, slots->size);
	if (slot >= slots->size)
		return -ENOSPC;
	__set_bit(slot, slots->taken);
	slots->cursor = slot + 1;
	slots->spare -= spare;
	owner->used++;
	return slot;
}

/* As in Rust, and in irq_matrix_free(), a wrong number must not harm memory. */
static inline void slots_free(struct slots *slots, u16 index, u16 slot)
{
	struct owner *owner;

	guard(mutex)(&slots->lock);
	if (WARN_ON_ONCE(index >= slots->nr_owners || slot >= slots->size))
		return;
	owner = &slots->owners[index];
	owner->used--;
	slots->spare += owner->used >= owner->min;
	__clear_bit(slot, slots->taken);
}

#endif
