// SPDX-License-Identifier: GPL-2.0
/*
 * More interrupts than there are vectors, and more than there are slots.
 */
#include "ims.h"

#define MANY 1200

TEST_F_TIMEOUT(ims, no_more_than_slots, 60)
{
	int slots = ims_counter("slots"), count;
	struct idxd_ims_query before, after;
	struct ims_irq *irqs, more;

	count = ims_alloc_all(&irqs);
	ASSERT_LT(0, count);
	EXPECT_EQ(count, ims_counter("used"));
	if (count < slots)
		SKIP(return, "remapping entries for %d of %d slots", count, slots);
	ASSERT_EQ(slots, count);

	ASSERT_EQ(0, ims_query(irqs[0].file, &before));
	EXPECT_EQ(-ENOSPC, ims_alloc(irqs[0].file, -1, &more));
	EXPECT_EQ(-ENOSPC, ims_alloc(irqs[0].file, new_eventfd(), &more));
	ASSERT_EQ(0, ims_query(irqs[0].file, &after));
	EXPECT_EQ(before.used, after.used);
	EXPECT_EQ(before.file_used, after.file_used);
	EXPECT_EQ(slots, ims_counter("used"));

	/* Nothing of what failed is in the way of what fits. */
	ASSERT_EQ(0, ims_free(&irqs[0]));
	EXPECT_EQ(slots - 1, ims_counter("used"));
	EXPECT_EQ(0, ims_alloc(irqs[0].file, -1, &more));
	EXPECT_EQ(irqs[0].slot, more.slot);
	EXPECT_EQ(slots, ims_counter("used"));
	free(irqs);
}

/* Allocates without eventfd, from work queue 0. Returns how many there was room for. */
static int alloc_many(struct __test_metadata *_metadata, int file, struct ims_irq *irqs, int count)
{
	for (int i = 0; i < count; i++) {
		int err = ims_alloc(file, -1, &irqs[i]);

		if (err) {
			EXPECT_EQ(-ENOSPC, err);
			return i;
		}
	}
	return count;
}

TEST_F_TIMEOUT(ims, many, 60)
{
	static struct ims_irq irqs[MANY];
	int slots = ims_counter("slots"), file = ims_open(0), count;

	ASSERT_LE(0, file);
	if (slots < MANY + ims_wqs())
		SKIP(return, "%d slots", slots);
	count = alloc_many(_metadata, file, irqs, MANY);
	EXPECT_EQ(count, ims_counter("used"));
	EXPECT_EQ(count, ims_file_used(file));
	if (count < MANY)
		SKIP(return, "remapping entries for %d", count);

	/* In another order than they came. */
	for (int first = MANY - 100; first >= 0; first -= 100)
		for (int i = 0; i < 100; i++)
			ASSERT_EQ(0, ims_free(&irqs[first + i]));
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(0, ims_file_used(file));
}

/* Gives eventfds to those from @first on. Returns how many there was a vector for. */
static int bind_until_full(struct __test_metadata *_metadata, struct ims_irq *irqs, int first,
			   int count)
{
	for (int i = 0; i < count; i++) {
		int eventfd = new_eventfd(), err;

		ASSERT_LE(0, eventfd);
		err = ims_bind(&irqs[first + i], eventfd);
		if (err) {
			EXPECT_EQ(-ENOSPC, err);
			close(eventfd);
			return i;
		}
	}
	return count;
}

static void deliver_one(struct __test_metadata *_metadata, struct ims_irq *irq)
{
	uint64_t before = ims_signals(irq);

	ASSERT_EQ(0, ims_noop(irq));
	EXPECT_TRUE(wait_for(ims_signals(irq) > before && ims_count(irq) > before));
	EXPECT_EQ(before + 1, ims_signals(irq));
	EXPECT_EQ(before + 1, ims_count(irq));
}

TEST_F_TIMEOUT(ims, beyond_vectors, 60)
{
	static struct ims_irq irqs[MANY];
	int file = ims_open(0), count, full, rest, more;
	struct ims_irq none;

	ASSERT_LE(0, file);
	/* AMD-Vi has fewer remapping entries than that. */
	count = alloc_many(_metadata, file, irqs, MANY);
	ASSERT_LT(0, count);
	full = bind_until_full(_metadata, irqs, 0, count);
	if (full == count)
		SKIP(return, "vectors for all of %d", count);
	TH_LOG("%d of %d were given a vector", full, count);

	/* It stays refused, and so do others, and one that is allocated with an eventfd. */
	EXPECT_EQ(0, bind_until_full(_metadata, irqs, full, 1));
	EXPECT_EQ(0, bind_until_full(_metadata, irqs, count - 1, 1));
	EXPECT_EQ(-EINVAL, ims_noop(&irqs[full]));
	EXPECT_EQ(-ENOSPC, ims_alloc(file, new_eventfd(), &none));
	EXPECT_EQ(count, ims_file_used(file));
	EXPECT_EQ(count, ims_counter("used"));
	deliver_one(_metadata, &irqs[0]);
	deliver_one(_metadata, &irqs[full - 1]);

	/*
	 * What is pending without a vector cannot be delivered to nobody when it is
	 * freed: its slot stays out of use.
	 */
	if (ims_page()) {
		self->rebind = true;
		page_write(PAGE_RAISE, irqs[--count].slot);
		ASSERT_TRUE(wait_pending(&irqs[count]));
		ASSERT_EQ(0, ims_free(&irqs[count]));
		EXPECT_EQ(1, ims_counter("stale"));
		EXPECT_EQ(count, ims_counter("used"));
	}

	/* With the vectors of others there is a place for it. */
	rest = count - full < 20 ? count - full : 20;
	for (int i = 0; i < rest; i++)
		ASSERT_EQ(0, ims_bind(&irqs[i], -1));
	more = bind_until_full(_metadata, irqs, full, rest);
	EXPECT_LT(0, more);
	for (int i = 0; i < more; i++)
		deliver_one(_metadata, &irqs[full + i]);
	EXPECT_EQ(-EINVAL, ims_noop(&irqs[0]));

	/* Freed, it makes place as well. */
	for (int i = 0; i < more; i++)
		ASSERT_EQ(0, ims_free(&irqs[full + i]));
	EXPECT_EQ(count - more, ims_counter("used"));
	EXPECT_EQ(more, bind_until_full(_metadata, irqs, 0, more));
	deliver_one(_metadata, &irqs[0]);
}

TEST_HARNESS_MAIN
