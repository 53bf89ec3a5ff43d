// SPDX-License-Identifier: GPL-2.0
/*
 * Under interrupt remapping an interrupt moves between CPUs without a change
 * of the message in its slot, and none is lost or doubled on the way.
 */
#include "ims.h"

#define MOVES 40
#define MOST_TRIES 100
#define RAISES 300
#define OFFLINES 5

FIXTURE(affinity) {
	FIXTURE_DATA(ims) ims;
	struct ims_irq irq;
	struct ims_slot slot;
	uint32_t sent;
};

FIXTURE_SETUP(affinity)
{
	int number;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	number = ims_alloc(1);
	ASSERT_LE(0, number);
	ASSERT_EQ(0, ims_control("request %d", number));
	self->irq = ims_irq(number);
	ASSERT_TRUE(ims_slot(self->irq.slot, &self->slot));
	ASSERT_NE(0, self->slot.address);
	if (ims_page())
		self->sent = slot_counter(self->irq.slot, SLOT_SENT);
}

FIXTURE_TEARDOWN(affinity)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

static int move_to(const struct ims_irq *irq, int cpu)
{
	return write_text(path_of("/proc/irq/%d/smp_affinity_list", irq->virq),
			  path_of("%d", cpu));
}

static bool is_on(const struct ims_irq *irq, int cpu)
{
	char line[64] = "";

	read_line(line, sizeof(line), path_of("/proc/irq/%d/effective_affinity_list", irq->virq));
	return !strcmp(line, path_of("%d", cpu));
}

/* Raises the interrupt for the @nth time, and waits until it was handled. */
static void raise_one(struct __test_metadata *_metadata, const struct ims_irq *irq, int nth)
{
	ASSERT_EQ(0, ims_control("noop 0 %d", irq->number));
	ASSERT_TRUE(wait_for(kernel_count(irq->virq) >= nth)) TH_LOG("raise %d was lost", nth);
}

/* Was it raised that often in all, as everybody counts? */
static void expect_count(struct __test_metadata *_metadata, const struct ims_irq *irq,
			 uint32_t sent_before, int raises)
{
	settle();
	EXPECT_EQ(raises, kernel_count(irq->virq));
	EXPECT_EQ(raises, ims_irq(irq->number).handled);
	if (ims_page())
		EXPECT_EQ(raises, slot_counter(irq->slot, SLOT_SENT) - sent_before);
}

static void expect_message(struct __test_metadata *_metadata, const struct ims_irq *irq,
			   const struct ims_slot *before)
{
	struct ims_slot now;

	ASSERT_TRUE(ims_slot(irq->slot, &now));
	EXPECT_EQ(before->address, now.address);
	EXPECT_EQ(before->data, now.data);
}

TEST_F(affinity, follows_and_keeps_the_message)
{
	int raises = 0;

	for (int i = 0; i < MOVES; i++) {
		int cpu = i % 2, tries = 0;
		uint64_t before;

		ASSERT_EQ(0, move_to(&self->irq, cpu));
		/* It waits for the last move to end, which takes interrupts. */
		while (!is_on(&self->irq, cpu) && tries++ < MOST_TRIES) {
			raise_one(_metadata, &self->irq, ++raises);
			usleep(1000);
		}
		ASSERT_TRUE(is_on(&self->irq, cpu));

		/* Now that it is there it is counted there. */
		before = kernel_count_on(self->irq.virq, cpu);
		raise_one(_metadata, &self->irq, ++raises);
		EXPECT_EQ(before + 1, kernel_count_on(self->irq.virq, cpu));
		expect_message(_metadata, &self->irq, &self->slot);
	}
	expect_count(_metadata, &self->irq, self->sent, raises);
}

TEST_F_TIMEOUT(affinity, moves_under_a_stream, 60)
{
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 0;; i++) {
			if (move_to(&self->irq, i % 2))
				_exit(1);
			usleep(3000);
		}
	}

	for (int i = 1; i <= RAISES; i++)
		raise_one(_metadata, &self->irq, i);
	EXPECT_TRUE(stop(child)) TH_LOG("a move failed");
	expect_count(_metadata, &self->irq, self->sent, RAISES);
	expect_message(_metadata, &self->irq, &self->slot);
	for (int cpu = 0; cpu < 2; cpu++) {
		EXPECT_LT(0, kernel_count_on(self->irq.virq, cpu))
			TH_LOG("it was never on CPU %d", cpu);
	}
}

TEST_F_TIMEOUT(affinity, survives_cpu_offline, 60)
{
	static const char online[] = "/sys/devices/system/cpu/cpu1/online";
	int status, raises = 0;
	pid_t child;

	if (access(online, W_OK))
		SKIP(return, "CPU 1 cannot go offline");
	ASSERT_EQ(0, move_to(&self->irq, 1));
	ASSERT_TRUE(wait_for(is_on(&self->irq, 1)));

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 0; i < OFFLINES; i++) {
			if (write_text(online, "0") || !wait_for(!is_on(&self->irq, 1)))
				_exit(1);
			if (write_text(online, "1") || move_to(&self->irq, 1) ||
			    !wait_for(is_on(&self->irq, 1)))
				_exit(2);
		}
		_exit(0);
	}

	while (!waitpid(child, &status, WNOHANG))
		raise_one(_metadata, &self->irq, ++raises);
	EXPECT_EQ(0, status);
	EXPECT_LT(2 * OFFLINES, raises);
	expect_count(_metadata, &self->irq, self->sent, raises);
	expect_message(_metadata, &self->irq, &self->slot);
}

TEST_HARNESS_MAIN
