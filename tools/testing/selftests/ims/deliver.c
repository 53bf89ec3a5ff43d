// SPDX-License-Identifier: GPL-2.0
/*
 * Every slot of the device: N interrupts raised are N interrupts handled, by
 * the same slot's handler, as the driver, the kernel and the device count.
 */
#include "ims.h"

#define ROUNDS 4

/* Neighbours get different numbers, so that a stray one shows. */
static int rounds_of(int slot)
{
	return 1 + slot % ROUNDS;
}

/* What is counted of one slot. */
struct counts {
	uint64_t driver;
	uint64_t kernel;
	uint32_t device;
};

static struct counts counts_of(const struct ims_irq *irq)
{
	return (struct counts) {
		.driver = irq->handled,
		.kernel = kernel_count(irq->virq),
		.device = ims_page() ? slot_counter(irq->slot, SLOT_SENT) : 0,
	};
}

static int raise_by_noop(const struct ims_irq *irq)
{
	return ims_control("noop 0 %d", irq->number);
}

static int raise_by_page(const struct ims_irq *irq)
{
	page_write(PAGE_RAISE, irq->slot);
	return 0;
}

/* Have all interrupts from @first to before @end been handled that often? */
static bool all_handled(const struct ims_irq *before, int first, int end, int rounds)
{
	struct ims_irq *now;
	bool all = ims_irqs(&now) >= end;

	for (int i = first; all && i < end; i++) {
		int wanted = rounds_of(now[i].slot);

		all = now[i].handled - before[i].handled >= (rounds < wanted ? rounds : wanted);
	}
	free(now);
	return all;
}

/* Raises those whose turn it is in that round. Returns 0 or the first error. */
static int raise_round(const struct ims_irq *irqs, int first, int end, int round,
		       int (*raise_irq)(const struct ims_irq *irq))
{
	int err = 0;

	for (int i = first; !err && i < end; i++)
		if (rounds_of(irqs[i].slot) >= round)
			err = raise_irq(&irqs[i]);
	return err;
}

/*
 * Raises the interrupts from @first to before @end. No slot is raised again
 * before the last one was handled: two messages could become one in the local
 * APIC.
 */
static void deliver(struct __test_metadata *_metadata, int first, int end,
		    int (*raise_irq)(const struct ims_irq *irq))
{
	struct counts *before;
	struct ims_irq *irqs, *now;
	int count = ims_irqs(&irqs);

	before = calloc(count, sizeof(*before));
	ASSERT_NE(NULL, before);
	for (int i = 0; i < count; i++)
		before[i] = counts_of(&irqs[i]);

	for (int round = 1; round <= ROUNDS; round++) {
		ASSERT_EQ(0, raise_round(irqs, first, end, round, raise_irq));
		ASSERT_TRUE(wait_for(all_handled(irqs, first, end, round)))
			TH_LOG("round %d: not all were handled", round);
	}
	settle();

	ASSERT_EQ(count, ims_irqs(&now));
	for (int i = 0; i < count; i++) {
		int raised = i >= first && i < end ? rounds_of(now[i].slot) : 0;
		struct counts after = counts_of(&now[i]);

		EXPECT_EQ(raised, after.driver - before[i].driver)
			TH_LOG("slot %d: driver", now[i].slot);
		EXPECT_EQ(raised, after.kernel - before[i].kernel)
			TH_LOG("slot %d: kernel", now[i].slot);
		if (ims_page()) {
			EXPECT_EQ(raised, after.device - before[i].device)
				TH_LOG("slot %d: device", now[i].slot);
		}
	}
	free(now);
	free(irqs);
	free(before);
}

/* Uses all slots, as many at a time as there are vectors for. */
static void deliver_all(struct __test_metadata *_metadata,
			int (*raise_irq)(const struct ims_irq *irq))
{
	int slots = ims_counter("slots"), used = ims_counter("used");
	struct ims_irq *irqs;
	int first = 0, end, err;

	err = ims_alloc(slots - used);
	if (err == -ENOSPC)
		SKIP(return, "fewer remapping entries than %d slots", slots);
	ASSERT_LE(0, err);
	ASSERT_EQ(slots, ims_irqs(&irqs));
	EXPECT_EQ(slots, ims_counter("used"));

	while (first < slots) {
		for (end = first; end < slots; end++) {
			if (irqs[end].requested)
				continue;
			err = ims_control("request %d", irqs[end].number);
			if (err)
				break;
		}
		if (end < slots)
			ASSERT_EQ(-ENOSPC, err);
		ASSERT_LT(first, end);
		deliver(_metadata, first, end, raise_irq);
		for (err = 0; !err && first < end; first++)
			if (!irqs[first].requested)
				err = ims_control("release %d", irqs[first].number);
		ASSERT_EQ(0, err);
	}
	free(irqs);
}

TEST_F_TIMEOUT(ims, every_slot_by_descriptor, 60)
{
	deliver_all(_metadata, raise_by_noop);
}

TEST_F_TIMEOUT(ims, every_slot_by_the_device, 60)
{
	if (!ims_page())
		SKIP(return, "no test page");
	deliver_all(_metadata, raise_by_page);
}

TEST_F(ims, every_work_queue)
{
	int wqs = 0, irq = ims_alloc(1);
	uint64_t before;

	ASSERT_LE(0, irq);
	ASSERT_EQ(0, ims_control("request %d", irq));
	before = kernel_count(ims_irq(irq).virq);
	while (ims_counter(path_of("wq%d_submitted", wqs)) >= 0)
		wqs++;
	ASSERT_LT(0, wqs);
	for (int wq = 0; wq < wqs; wq++) {
		EXPECT_EQ(0, ims_control("noop %d %d", wq, irq));
		EXPECT_TRUE(wait_for(ims_irq(irq).handled == 2 * wq + 1));
		EXPECT_EQ(0, ims_control("memmove %d %d %d", wq, irq, 1000 + wq));
		EXPECT_TRUE(wait_for(ims_irq(irq).handled == 2 * wq + 2));
	}
	settle();
	EXPECT_EQ(2 * wqs, kernel_count(ims_irq(irq).virq) - before);
}

TEST_HARNESS_MAIN
