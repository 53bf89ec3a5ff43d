// SPDX-License-Identifier: GPL-2.0
/*
 * More interrupts than there are vectors, and more than there are slots.
 */
#include "ims.h"

#define MANY 1200

TEST_F(ims, no_more_than_slots)
{
	int slots = ims_counter("slots");
	int last = ims_last();

	EXPECT_EQ(-ENOSPC, ims_control("alloc %d", slots));
	EXPECT_EQ(self->used, ims_counter("used"));
	EXPECT_EQ(last, ims_last());

	/* Nothing of what failed is in the way of what fits. */
	EXPECT_LE(0, ims_alloc(1));
	EXPECT_EQ(self->used + 1, ims_counter("used"));
}

TEST_F(ims, many)
{
	int slots = ims_counter("slots"), first, err = 0;

	if (slots < MANY + self->used)
		SKIP(return, "%d slots", slots);
	first = ims_alloc(MANY);
	if (first == -ENOSPC) {
		EXPECT_EQ(self->used, ims_counter("used"));
		SKIP(return, "fewer remapping entries than %d", MANY);
	}
	ASSERT_LE(0, first);
	EXPECT_EQ(self->used + MANY, ims_counter("used"));

	/* In another order than they came. */
	for (int i = MANY - 100; !err && i >= 0; i -= 100)
		err = ims_control("free %d 100", first + i);
	EXPECT_EQ(0, err);
	EXPECT_EQ(self->used, ims_counter("used"));
}

/* Requests them one by one. Returns how many there was a vector for. */
static int request_until_full(struct __test_metadata *_metadata, int first, int count)
{
	for (int i = 0; i < count; i++) {
		int err = ims_control("request %d", first + i);

		if (err) {
			EXPECT_EQ(-ENOSPC, err);
			return i;
		}
	}
	return count;
}

static void deliver_one(struct __test_metadata *_metadata, int irq)
{
	uint64_t before = ims_irq(irq).handled;

	ASSERT_EQ(0, ims_control("noop 0 %d", irq));
	EXPECT_TRUE(wait_for(ims_irq(irq).handled == before + 1));
}

TEST_F_TIMEOUT(ims, beyond_vectors, 60)
{
	int count = ims_counter("slots") - self->used;
	int first, full, rest, more;

	if (count > MANY)
		count = MANY;
	/* AMD-Vi has fewer remapping entries than that. */
	while ((first = ims_alloc(count)) == -ENOSPC && count > 100)
		count -= 100;
	ASSERT_LE(0, first);

	full = request_until_full(_metadata, first, count);
	if (full == count)
		SKIP(return, "vectors for all of %d", count);
	TH_LOG("%d of %d were given a vector", full, count);

	/* It stays refused, and so do others. */
	EXPECT_EQ(-ENOSPC, ims_control("request %d", first + full));
	EXPECT_EQ(-ENOSPC, ims_control("request %d", first + count - 1));
	EXPECT_EQ(-EINVAL, ims_control("noop 0 %d", first + full));
	deliver_one(_metadata, first);
	deliver_one(_metadata, first + full - 1);

	/* With others released there is a place for it. */
	rest = count - full < 20 ? count - full : 20;
	ASSERT_EQ(0, ims_control("release %d %d", first, rest));
	more = request_until_full(_metadata, first + full, rest);
	EXPECT_LT(0, more);
	for (int i = 0; i < more; i++)
		deliver_one(_metadata, first + full + i);
	EXPECT_EQ(-EINVAL, ims_control("noop 0 %d", first));

	/* Freed, it makes place as well. */
	ASSERT_EQ(0, ims_control("free %d %d", first + full, more));
	EXPECT_EQ(self->used + count - more, ims_counter("used"));
	EXPECT_EQ(more, request_until_full(_metadata, first, more));
	deliver_one(_metadata, first);
}

TEST_HARNESS_MAIN
