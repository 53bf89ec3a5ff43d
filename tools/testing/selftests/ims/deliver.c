// SPDX-License-Identifier: GPL-2.0
/*
 * Every slot of the device: N interrupts raised are N signals of the same slot's
 * eventfd, and the driver, the kernel and the device count N as well.
 */
#include "expect.h"

#define ROUNDS 4
#define AT_ONCE 40

/* Neighbours get different numbers, so that a stray one shows. */
static int rounds_of(int slot)
{
	return 1 + slot % ROUNDS;
}

/* What is counted of one slot. */
struct counts {
	uint64_t eventfd;
	uint64_t driver;
	uint64_t kernel;
	uint32_t device;
};

static struct counts counts_of(struct ims_irq *irq)
{
	return (struct counts) {
		.eventfd = ims_signals(irq),
		.driver = ims_count(irq),
		.kernel = kernel_count(irq->virq),
		.device = ims_page() ? slot_counter(irq->slot, SLOT_SENT) : 0,
	};
}

static int raise_by_noop(const struct ims_irq *irq)
{
	return ims_noop(irq);
}

static int raise_by_page(const struct ims_irq *irq)
{
	page_write(PAGE_RAISE, irq->slot);
	return 0;
}

/* Have all interrupts from @first to before @end arrived that often? */
static bool all_arrived(struct ims_irq *irqs, const struct counts *before, int first, int end,
			int rounds)
{
	for (int i = first; i < end; i++) {
		int wanted = rounds_of(irqs[i].slot);

		if (ims_signals(&irqs[i]) - before[i].eventfd < (rounds < wanted ? rounds : wanted))
			return false;
	}
	return true;
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
 * Raises the interrupts from @first to before @end. No slot is raised again before
 * the last one arrived: two messages could become one in the local APIC.
 */
static void deliver(struct __test_metadata *_metadata, struct ims_irq *irqs, int count,
		    int first, int end, int (*raise_irq)(const struct ims_irq *irq))
{
	struct counts *before = calloc(count, sizeof(*before));

	ASSERT_NE(NULL, before);
	for (int i = 0; i < count; i++)
		before[i] = counts_of(&irqs[i]);

	for (int round = 1; round <= ROUNDS; round++) {
		ASSERT_EQ(0, raise_round(irqs, first, end, round, raise_irq));
		ASSERT_TRUE(wait_for(all_arrived(irqs, before, first, end, round)))
			TH_LOG("round %d: not all have arrived", round);
	}
	settle();

	for (int i = 0; i < count; i++) {
		int raised = i >= first && i < end ? rounds_of(irqs[i].slot) : 0;
		struct counts after = counts_of(&irqs[i]);

		EXPECT_EQ(raised, after.eventfd - before[i].eventfd)
			TH_LOG("slot %u: eventfd", irqs[i].slot);
		EXPECT_EQ(raised, after.driver - before[i].driver)
			TH_LOG("slot %u: driver", irqs[i].slot);
		EXPECT_EQ(raised, after.kernel - before[i].kernel)
			TH_LOG("slot %u: kernel", irqs[i].slot);
		if (ims_page()) {
			EXPECT_EQ(raised, after.device - before[i].device)
				TH_LOG("slot %u: device", irqs[i].slot);
		}
	}
	free(before);
}

/* Uses all slots, as many at a time as there are vectors for. */
static void deliver_all(struct __test_metadata *_metadata,
			int (*raise_irq)(const struct ims_irq *irq))
{
	int slots = ims_counter("slots"), first = 0, end, err;
	struct ims_irq *irqs;
	int count = ims_alloc_all(&irqs);

	ASSERT_LT(0, count);
	if (count < slots)
		SKIP(return, "remapping entries for %d of %d slots", count, slots);
	ASSERT_EQ(slots, count);
	EXPECT_EQ(slots, ims_counter("used"));

	while (first < slots) {
		for (end = first, err = 0; end < slots; end++) {
			int eventfd = new_eventfd();

			ASSERT_LE(0, eventfd);
			err = ims_bind(&irqs[end], eventfd);
			if (err) {
				close(eventfd);
				break;
			}
		}
		if (end < slots)
			ASSERT_EQ(-ENOSPC, err);
		ASSERT_LT(first, end);
		deliver(_metadata, irqs, count, first, end, raise_irq);
		for (; first < end; first++) {
			close(irqs[first].eventfd);
			ASSERT_EQ(0, ims_bind(&irqs[first], -1));
		}
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
	int wqs = ims_wqs();

	for (int wq = 0; wq < wqs; wq++) {
		int file = ims_open(wq);
		struct ims_irq irq;

		ASSERT_LE(0, file);
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
		EXPECT_EQ(0, ims_noop(&irq));
		EXPECT_ARRIVED(&irq, 1);
		EXPECT_EQ(0, ims_copy(&irq, 1000 + wq));
		EXPECT_ARRIVED_IN_ALL(&irq, 2);
		EXPECT_DEVICE(&irq, 2, 0, 0);
	}
	EXPECT_EQ(wqs, ims_counter("used"));
}

TEST_F_TIMEOUT(ims, all_work_queues_at_once, 60)
{
	pid_t children[MOST_CHILDREN];
	int wqs = ims_wqs();

	ASSERT_GE(MOST_CHILDREN, wqs);
	for (int wq = 0; wq < wqs; wq++) {
		children[wq] = start();
		ASSERT_LE(0, children[wq]);
		if (!children[wq])
			_exit(!ims_delivers(wq, AT_ONCE));
	}
	for (int wq = 0; wq < wqs; wq++) {
		EXPECT_EQ(0, finish(children[wq], 50000))
			TH_LOG("work queue %d", wq);
	}
}

TEST_HARNESS_MAIN
