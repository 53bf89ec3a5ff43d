/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The slot allocator of rust/kernel/ims/slots.rs in C, with the same policy:
 * owners with a guarantee and a ceiling; the lowest free slot that does not
 * rest, or else the one that was freed longest ago.
 */
#ifndef IMS_BENCH_SLOTS_H
#define IMS_BENCH_SLOTS_H

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/mutex.h>
#include <linux/slab.h>

struct owner {
	u32 guarantee;
	u32 ceiling;
	u32 used;
};

struct slots {
	struct mutex lock;	/* of all of it */
	unsigned long *map;	/* clear: free, and does not rest */
	u16 *ring;		/* the free slots that rest */
	u32 size;
	u32 hint;		/* no bit below is clear */
	u32 room;
	u32 oldest;
	u32 resting;
	u32 free;
	u32 pledged;		/* to owners, of what is free */
	u32 nr_owners;
	struct owner *owners;
};

static inline int slots_init(struct slots *slots, u32 size)
{
	mutex_init(&slots->lock);
	slots->size = size;
	slots->room = size <= 256 ? size : size / 4;
	slots->hint = 0;
	slots->oldest = 0;
	slots->resting = 0;
	slots->free = size;
	slots->pledged = 0;
	slots->nr_owners = 0;
	slots->owners = NULL;
	slots->map = bitmap_zalloc(size, GFP_KERNEL);
	slots->ring = kvmalloc_array(slots->room, sizeof(*slots->ring), GFP_KERNEL);
	if (slots->map && slots->ring)
		return 0;
	bitmap_free(slots->map);
	kvfree(slots->ring);
	return -ENOMEM;
}

static inline void slots_exit(struct slots *slots)
{
	kfree(slots->owners);
	kvfree(slots->ring);
	bitmap_free(slots->map);
}

static inline u32 owner_pledge(const struct owner *owner)
{
	return owner->guarantee > owner->used ? owner->guarantee - owner->used : 0;
}

static inline int slots_add_owner(struct slots *slots, u32 guarantee, u32 ceiling)
{
	struct owner *owners;

	if (guarantee > ceiling || !ceiling)
		return -EINVAL;
	if (ceiling > slots->size)
		return -ERANGE;

	guard(mutex)(&slots->lock);
	if (slots->nr_owners > U16_MAX || slots->pledged + guarantee > slots->free)
		return -ENOSPC;
	owners = krealloc_array(slots->owners, slots->nr_owners + 1, sizeof(*owners), GFP_KERNEL);
	if (!owners)
		return -ENOMEM;
	slots->owners = owners;
	owners[slots->nr_owners] = (struct owner){ guarantee, ceiling, 0 };
	slots->pledged += guarantee;
	return slots->nr_owners++;
}

static inline u32 ring_next(const struct slots *slots, u32 at)
{
	return at + 1 == slots->room ? 0 : at + 1;
}

static inline u16 ring_pop(struct slots *slots)
{
	u16 slot = slots->ring[slots->oldest];

	slots->oldest = ring_next(slots, slots->oldest);
	slots->resting--;
	return slot;
}

static inline int slots_reserve(struct slots *slots, u16 index)
{
	struct owner *owner;
	u32 pledge, slot;

	guard(mutex)(&slots->lock);
	if (index >= slots->nr_owners)
		return -EINVAL;
	owner = &slots->owners[index];
	if (owner->used >= owner->ceiling)
		return -EDQUOT;
	pledge = owner_pledge(owner);
	if (1 + slots->pledged - pledge > slots->free)
		return -ENOSPC;

	slot = find_next_zero_bit(slots->map, slots->size, slots->hint);
	if (slot < slots->size)
		__set_bit(slot, slots->map);
	else if (slots->resting)
		slot = ring_pop(slots);
	else
		return -ENOSPC;
	slots->hint = max(slots->hint, slot + 1);
	owner->used++;
	slots->pledged -= !!pledge;
	slots->free--;
	return slot;
}

static inline void slots_release(struct slots *slots, u16 index, u16 slot)
{
	struct owner *owner;
	u32 end;

	guard(mutex)(&slots->lock);
	owner = &slots->owners[index];
	owner->used--;
	slots->pledged += owner->used < owner->guarantee;
	slots->free++;
	if (slots->resting == slots->room) {
		u16 woken = ring_pop(slots);

		__clear_bit(woken, slots->map);
		slots->hint = min(slots->hint, woken);
	}
	end = slots->oldest + slots->resting;
	if (end >= slots->room)
		end -= slots->room;
	slots->ring[end] = slot;
	slots->resting++;
}

/* A slot that is not clean: its owner has one less, and nobody gets it. */
static inline void slots_retire(struct slots *slots, u16 index)
{
	struct owner *owner;

	guard(mutex)(&slots->lock);
	owner = &slots->owners[index];
	owner->used--;
	slots->pledged += owner->used < owner->guarantee;
}

#endif
