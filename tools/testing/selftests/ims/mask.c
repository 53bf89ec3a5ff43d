// SPDX-License-Identifier: GPL-2.0
/*
 * A masked slot latches: it sends nothing, and one message when it is unmasked
 * if it was raised meanwhile, however often.
 */
#include "interrupt.h"

#define RAISES 200

TEST_F(interrupt, latches_and_delivers_once)
{
	EXPECT_STATE(&self->irq, false, false);
	ASSERT_EQ(0, ims_mask(&self->irq));
	EXPECT_STATE(&self->irq, true, false);
	ASSERT_EQ(0, ims_noop(&self->irq));
	settle();
	EXPECT_STATE(&self->irq, true, true);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
	EXPECT_DEVICE(&self->irq, 0, 1, 0);

	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	EXPECT_STATE(&self->irq, false, false);
	EXPECT_DEVICE(&self->irq, 1, 1, 1);
}

TEST_F(interrupt, raises_collapse_into_one)
{
	ASSERT_EQ(0, ims_mask(&self->irq));
	for (int i = 0; i < 7; i++)
		ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);

	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	EXPECT_DEVICE(&self->irq, 1, 7, 1);
}

TEST_F(interrupt, unmask_without_pending_delivers_nothing)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, ims_mask(&self->irq));
		ASSERT_EQ(0, ims_unmask(&self->irq));
	}
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
	EXPECT_DEVICE(&self->irq, 0, 0, 0);
}

TEST_F(interrupt, is_idempotent)
{
	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);

	/* One is enough, and another does no harm. */
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_STATE(&self->irq, false, false);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	ASSERT_EQ(0, ims_unmask(&self->irq));
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 2);

	/* Nor is it masked more than once after that. */
	ASSERT_EQ(0, ims_mask(&self->irq));
	EXPECT_STATE(&self->irq, true, false);
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_STATE(&self->irq, false, false);
}

TEST_F(interrupt, leaves_other_slots_alone)
{
	struct ims_irq other;

	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &other));
	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_noop(&other));
	EXPECT_ARRIVED_IN_ALL(&other, 1);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
	EXPECT_STATE(&other, false, false);
}

/* Without an eventfd while one is pending, it has no handler that could be called. */
TEST_F(interrupt, pending_waits_for_an_eventfd)
{
	int eventfd = self->irq.eventfd;

	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_noop(&self->irq));
	settle();
	ASSERT_EQ(0, ims_bind(&self->irq, -1));
	settle();
	EXPECT_STATE(&self->irq, true, true);
	EXPECT_EQ(0, take(eventfd));
	EXPECT_EQ(0, kernel_count(self->irq.virq));
	EXPECT_DEVICE(&self->irq, 0, 1, 0);

	/* The next gets it. */
	ASSERT_EQ(0, ims_bind(&self->irq, eventfd));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	EXPECT_STATE(&self->irq, false, false);
}

/*
 * While another process masks and unmasks the slot all the time, each raise is
 * delivered, sooner or later and once. The next waits for that, as two messages
 * could become one in the local APIC.
 */
TEST_F_TIMEOUT(interrupt, loses_nothing_under_a_stream, 60)
{
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (;;) {
			if (ims_mask(&self->irq) || ims_unmask(&self->irq))
				_exit(1);
		}
	}

	for (int i = 1; i <= RAISES; i++) {
		if (ims_page())
			page_write(PAGE_RAISE, self->irq.slot);
		else
			EXPECT_EQ(0, ims_noop(&self->irq));
		if (!wait_for(ims_signals(&self->irq) >= i)) {
			EXPECT_EQ(i, ims_signals(&self->irq));
			break;
		}
	}
	EXPECT_TRUE(stop(child)) TH_LOG("mask or unmask failed");

	/* It may have been stopped between the two. */
	EXPECT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, RAISES);
	if (ims_page()) {
		uint32_t replayed = slot_counter(self->irq.slot, SLOT_REPLAYED) -
				    self->irq.before.replayed;

		TH_LOG("%u of %d were raised while masked", replayed, RAISES);
		EXPECT_LT(0, replayed);
		EXPECT_GT(RAISES, replayed);
		EXPECT_DEVICE(&self->irq, RAISES, replayed, replayed);
	}
}

TEST_HARNESS_MAIN
