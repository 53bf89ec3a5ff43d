// SPDX-License-Identifier: GPL-2.0
/*
 * A masked slot latches: it sends nothing, and one message when it is unmasked
 * if it was raised meanwhile, however often.
 */
#include "ims.h"

#define RAISES 200

/* An interrupt of its own for each test. */
FIXTURE(mask) {
	FIXTURE_DATA(ims) ims;
	struct ims_irq irq;
	uint32_t sent;
	uint32_t latched;
	uint32_t replayed;
};

FIXTURE_SETUP(mask)
{
	int number;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	number = ims_alloc(1);
	ASSERT_LE(0, number);
	ASSERT_EQ(0, ims_control("request %d", number));
	self->irq = ims_irq(number);
	ASSERT_EQ(number, self->irq.number);
	if (ims_page()) {
		self->sent = slot_counter(self->irq.slot, SLOT_SENT);
		self->latched = slot_counter(self->irq.slot, SLOT_LATCHED);
		self->replayed = slot_counter(self->irq.slot, SLOT_REPLAYED);
	}
}

FIXTURE_TEARDOWN(mask)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

static uint64_t handled(const struct ims_irq *irq)
{
	return ims_irq(irq->number).handled;
}

/* What the device did for the slot since the test began, if it tells. */
#define EXPECT_DEVICE(sent_, latched_, replayed_)					\
do {											\
	if (ims_page()) {								\
		int slot_ = self->irq.slot;						\
											\
		EXPECT_EQ(sent_, slot_counter(slot_, SLOT_SENT) - self->sent);		\
		EXPECT_EQ(latched_, slot_counter(slot_, SLOT_LATCHED) - self->latched);	\
		EXPECT_EQ(replayed_,							\
			  slot_counter(slot_, SLOT_REPLAYED) - self->replayed);		\
	}										\
} while (0)

#define EXPECT_STATE(masked_, pending_)							\
do {											\
	struct ims_slot slot_;								\
											\
	ASSERT_TRUE(ims_slot(self->irq.slot, &slot_));					\
	EXPECT_EQ(masked_, slot_.masked);						\
	EXPECT_EQ(pending_, slot_.pending);						\
} while (0)

TEST_F(mask, latches_and_delivers_once)
{
	EXPECT_STATE(false, false);
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	EXPECT_STATE(true, false);
	ASSERT_EQ(0, ims_control("noop 0 %d", self->irq.number));
	settle();
	EXPECT_STATE(true, true);
	EXPECT_EQ(0, handled(&self->irq));
	EXPECT_EQ(0, kernel_count(self->irq.virq));
	EXPECT_DEVICE(0, 1, 0);

	ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	EXPECT_TRUE(wait_for(handled(&self->irq) == 1));
	settle();
	EXPECT_STATE(false, false);
	EXPECT_EQ(1, handled(&self->irq));
	EXPECT_EQ(1, kernel_count(self->irq.virq));
	EXPECT_DEVICE(1, 1, 1);
}

TEST_F(mask, raises_collapse_into_one)
{
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("noop 0 %d 7", self->irq.number));
	settle();
	EXPECT_EQ(0, handled(&self->irq));

	ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	EXPECT_TRUE(wait_for(handled(&self->irq) == 1));
	settle();
	EXPECT_EQ(1, handled(&self->irq));
	EXPECT_EQ(1, kernel_count(self->irq.virq));
	EXPECT_DEVICE(1, 7, 1);
}

TEST_F(mask, unmask_without_pending_delivers_nothing)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
		ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	}
	settle();
	EXPECT_EQ(0, handled(&self->irq));
	EXPECT_EQ(0, kernel_count(self->irq.virq));
	EXPECT_DEVICE(0, 0, 0);
}

TEST_F(mask, is_idempotent)
{
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("noop 0 %d", self->irq.number));
	settle();
	EXPECT_EQ(0, handled(&self->irq));

	/* One is enough, and another does no harm. */
	ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	EXPECT_STATE(false, false);
	EXPECT_TRUE(wait_for(handled(&self->irq) == 1));
	ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("noop 0 %d", self->irq.number));
	EXPECT_TRUE(wait_for(handled(&self->irq) == 2));
	settle();
	EXPECT_EQ(2, handled(&self->irq));

	/* Nor is it masked more than once after that. */
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	EXPECT_STATE(true, false);
	ASSERT_EQ(0, ims_control("unmask %d", self->irq.number));
	EXPECT_STATE(false, false);
}

TEST_F(mask, leaves_other_slots_alone)
{
	int other = ims_alloc(1);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ims_control("request %d", other));
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("noop 0 %d", other));
	EXPECT_TRUE(wait_for(ims_irq(other).handled == 1));
	EXPECT_EQ(0, handled(&self->irq));
}

/* Released while one is pending, it has no handler that could be called. */
TEST_F(mask, pending_has_no_handler_when_released)
{
	ASSERT_EQ(0, ims_control("mask %d", self->irq.number));
	ASSERT_EQ(0, ims_control("noop 0 %d", self->irq.number));
	settle();
	ASSERT_EQ(0, ims_control("release %d", self->irq.number));
	settle();
	EXPECT_STATE(true, true);
	EXPECT_EQ(0, kernel_count(self->irq.virq));
	EXPECT_DEVICE(0, 1, 0);

	/* The next gets it. */
	ASSERT_EQ(0, ims_control("request %d", self->irq.number));
	EXPECT_TRUE(wait_for(handled(&self->irq) == 1));
	EXPECT_STATE(false, false);
}

/*
 * While another process masks and unmasks the slot all the time, each raise is
 * delivered, sooner or later and once. The next waits for that, as two messages
 * could become one in the local APIC.
 */
TEST_F_TIMEOUT(mask, loses_nothing_under_a_stream, 60)
{
	uint32_t replayed = 0;
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (;;) {
			if (ims_control("mask %d", self->irq.number) ||
			    ims_control("unmask %d", self->irq.number))
				_exit(1);
		}
	}

	for (int i = 1; i <= RAISES; i++) {
		if (ims_page())
			page_write(PAGE_RAISE, self->irq.slot);
		else
			EXPECT_EQ(0, ims_control("noop 0 %d", self->irq.number));
		if (!wait_for(kernel_count(self->irq.virq) >= i)) {
			EXPECT_EQ(i, kernel_count(self->irq.virq));
			break;
		}
	}
	EXPECT_TRUE(stop(child)) TH_LOG("mask or unmask failed");

	/* It may have been stopped between the two. */
	EXPECT_EQ(0, ims_control("unmask %d", self->irq.number));
	settle();
	EXPECT_EQ(RAISES, kernel_count(self->irq.virq));
	EXPECT_EQ(RAISES, handled(&self->irq));
	if (ims_page()) {
		replayed = slot_counter(self->irq.slot, SLOT_REPLAYED) - self->replayed;
		TH_LOG("%u of %d were raised while masked", replayed, RAISES);
		EXPECT_LT(0, replayed);
		EXPECT_GT(RAISES, replayed);
		EXPECT_DEVICE(RAISES, replayed, replayed);
	}
}

TEST_HARNESS_MAIN
