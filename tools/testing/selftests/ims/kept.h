/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interrupts in all states, for tests of what the device forgets and the driver keeps:
 * suspend and reset are transparent to open files. Each interrupt keeps its slot,
 * message, eventfd, mask and affinity. What is pending stays pending and is delivered
 * once, what is not masked works at once, and nothing arrives that was not raised.
 */
#ifndef IMS_KEPT_H
#define IMS_KEPT_H

#include "expect.h"

#define OFFSETS_IMS 0x66
#define OFFSETS_UNIT 0x100
#define SLOT_WORDS 4
#define CONTROL 3
#define CONTROL_PENDING 0x2

/* An interrupt in each state, and the slots as the device has them. */
struct kept {
	uint32_t *table;
	uint32_t *before;
	int slots;
	int cpu;
	int file;
	struct ims_irq bound;
	struct ims_irq moved;		/* To another CPU */
	struct ims_irq masked;
	struct ims_irq masked_pending;
	struct ims_irq unbound;
	struct ims_irq unbound_pending;
};

FIXTURE(kept) {
	FIXTURE_DATA(ims) ims;
	struct kept kept;
};

/* Some other CPU than the first, or that one. */
static inline int last_cpu(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) - 1;
}

static inline int move_to(const struct ims_irq *irq, int cpu)
{
	return write_text(path_of("/proc/irq/%u/smp_affinity_list", irq->virq), path_of("%d", cpu));
}

static inline int cpu_of(const struct ims_irq *irq)
{
	char line[64] = "";

	read_line(line, sizeof(line), path_of("/proc/irq/%u/effective_affinity_list", irq->virq));
	return atoi(line);
}

static inline void read_slots(const struct kept *kept, uint32_t *words)
{
	for (int i = 0; i < kept->slots * SLOT_WORDS; i++)
		words[i] = __atomic_load_n(&kept->table[i], __ATOMIC_RELAXED);
}

static inline void raise_irq(const struct ims_irq *irq)
{
	page_write(PAGE_RAISE, irq->slot);
}

static inline void hold(struct __test_metadata *_metadata, struct kept *kept)
{
	kept->file = ims_open(0);
	ASSERT_LE(0, kept->file);
	ASSERT_EQ(0, ims_alloc(kept->file, new_eventfd(), &kept->bound));
	ASSERT_EQ(0, ims_alloc(kept->file, new_eventfd(), &kept->moved));
	ASSERT_EQ(0, ims_alloc(kept->file, new_eventfd(), &kept->masked));
	ASSERT_EQ(0, ims_alloc(kept->file, new_eventfd(), &kept->masked_pending));
	ASSERT_EQ(0, ims_alloc(kept->file, -1, &kept->unbound));
	ASSERT_EQ(0, ims_alloc(kept->file, -1, &kept->unbound_pending));

	ASSERT_EQ(0, move_to(&kept->moved, kept->cpu));
	raise_one(_metadata, &kept->bound, 1);
	raise_one(_metadata, &kept->moved, 1);
	ASSERT_EQ(0, ims_mask(&kept->masked));
	ASSERT_EQ(0, ims_mask(&kept->masked_pending));
	for (int i = 0; i < 3; i++)
		raise_irq(&kept->masked_pending);
	raise_irq(&kept->unbound_pending);
	settle();
	EXPECT_STATE(&kept->masked_pending, true, true);
	EXPECT_STATE(&kept->unbound_pending, true, true);
	read_slots(kept, kept->before);
}

static inline bool has_slot(const struct kept *kept, int slot)
{
	return slot == kept->bound.slot || slot == kept->moved.slot ||
		slot == kept->masked.slot || slot == kept->masked_pending.slot ||
		slot == kept->unbound.slot || slot == kept->unbound_pending.slot;
}

/*
 * Are all slots of the device as they were? What is pending, the driver may keep. A free
 * slot has a message of earlier, or none.
 */
static inline void expect_same_slots(struct __test_metadata *_metadata, const struct kept *kept)
{
	uint32_t *after = calloc(kept->slots * SLOT_WORDS, sizeof(*after));

	ASSERT_NE(NULL, after);
	read_slots(kept, after);
	for (int i = 0; i < kept->slots * SLOT_WORDS; i++) {
		bool control = i % SLOT_WORDS == CONTROL;
		uint32_t ignored = control ? CONTROL_PENDING :
			has_slot(kept, i / SLOT_WORDS) ? 0 : ~0U;

		EXPECT_EQ(kept->before[i] | ignored, after[i] | ignored)
			TH_LOG("slot %d, word %d", i / SLOT_WORDS, i % SLOT_WORDS);
	}
	free(after);
}

/* One that is not masked: has it arrived @times times, and does it go on? */
static inline void expect_works(struct __test_metadata *_metadata, struct ims_irq *irq, int times)
{
	EXPECT_STATE(irq, false, false);
	EXPECT_ARRIVED_IN_ALL(irq, times);
	raise_irq(irq);
	EXPECT_ARRIVED(irq, times + 1);
	ASSERT_EQ(0, ims_noop(irq));
	EXPECT_ARRIVED(irq, times + 2);
	ASSERT_EQ(0, ims_copy(irq, 5000));
	EXPECT_ARRIVED_IN_ALL(irq, times + 3);
}

/* Everything is as it was, and goes on. */
static inline void expect_kept(struct __test_metadata *_metadata, struct kept *kept)
{
	EXPECT_EQ(0, page_read(PAGE_UNPOWERED)) TH_LOG("accesses while not in D0");
	EXPECT_EQ(0, page_read(PAGE_REFUSED)) TH_LOG("messages that the device could not send");
	expect_same_slots(_metadata, kept);
	EXPECT_EQ(6, ims_counter("used"));
	EXPECT_EQ(6, ims_file_used(kept->file));

	expect_works(_metadata, &kept->bound, 1);
	expect_works(_metadata, &kept->moved, 1);

	EXPECT_STATE(&kept->masked, true, false);
	EXPECT_EQ(0, ims_unmask(&kept->masked));
	expect_works(_metadata, &kept->masked, 0);

	EXPECT_EQ(IDXD_IMS_STATE_MASKED | IDXD_IMS_STATE_PENDING, ims_flags(&kept->masked_pending));
	EXPECT_EQ(0, ims_signals(&kept->masked_pending));
	EXPECT_EQ(0, ims_unmask(&kept->masked_pending));
	expect_works(_metadata, &kept->masked_pending, 1);

	EXPECT_STATE(&kept->unbound, true, false);
	EXPECT_EQ(0, ims_bind(&kept->unbound, new_eventfd()));
	expect_works(_metadata, &kept->unbound, 0);

	EXPECT_EQ(IDXD_IMS_STATE_MASKED | IDXD_IMS_STATE_PENDING,
		  ims_flags(&kept->unbound_pending));
	EXPECT_EQ(0, ims_bind(&kept->unbound_pending, new_eventfd()));
	expect_works(_metadata, &kept->unbound_pending, 1);

	ims_close(kept->file);
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_TRUE(ims_delivers(1, 4));
}

FIXTURE_SETUP(kept)
{
	struct kept *kept = &self->kept;
	uint32_t *registers;
	size_t size;
	int at;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	if (!ims_page())
		SKIP(return, "no test page");
	registers = ims_map(0, &size);
	ASSERT_NE(NULL, registers);
	at = __atomic_load_n((uint16_t *)registers + OFFSETS_IMS / 2, __ATOMIC_RELAXED) *
		OFFSETS_UNIT;
	kept->slots = ims_counter("slots");
	ASSERT_LE(at + kept->slots * SLOT_WORDS * sizeof(uint32_t), size);
	kept->table = registers + at / sizeof(uint32_t);
	kept->before = calloc(kept->slots * SLOT_WORDS, sizeof(*kept->before));
	ASSERT_NE(NULL, kept->before);
	kept->cpu = last_cpu();
	page_write(PAGE_COUNTER_RESET, 1);
}

FIXTURE_TEARDOWN(kept)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

#endif /* IMS_KEPT_H */
