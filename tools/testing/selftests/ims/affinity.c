// SPDX-License-Identifier: GPL-2.0
/*
 * Under interrupt remapping an interrupt moves between CPUs without a change
 * of the message in its slot, and none is lost or doubled on the way. One that is
 * allocated for a CPU begins there.
 */
#include "expect.h"

#define MOVES 40
#define MOST_TRIES 100
#define RAISES 300
#define OFFLINES 5

static const char cpu1_online[] = "/sys/devices/system/cpu/cpu1/online";

FIXTURE(affinity) {
	FIXTURE_DATA(ims) ims;
	int file;
	struct ims_irq irq;
	struct ims_slot slot;
};

FIXTURE_SETUP(affinity)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->file = ims_open(0);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &self->irq));
	ASSERT_TRUE(ims_slot(self->irq.slot, &self->slot));
	ASSERT_NE(0, self->slot.address);
}

FIXTURE_TEARDOWN(affinity)
{
	stop_all();
	if (!access(cpu1_online, W_OK))
		EXPECT_EQ(0, write_text(cpu1_online, "1"));
	ims_teardown(_metadata, &self->ims, NULL);
}

static int move_to(const struct ims_irq *irq, int cpu)
{
	return write_text(path_of("/proc/irq/%u/smp_affinity_list", irq->virq),
			  path_of("%d", cpu));
}

static bool is_on(const struct ims_irq *irq, int cpu)
{
	char line[64] = "";

	read_line(line, sizeof(line), path_of("/proc/irq/%u/effective_affinity_list", irq->virq));
	return !strcmp(line, path_of("%d", cpu));
}

/* Can CPU 1 go offline? */
static bool has_hotplug(void)
{
	return !access(cpu1_online, W_OK);
}

/* Was it raised that often in all, as everybody counts? */
static void expect_count(struct __test_metadata *_metadata, struct ims_irq *irq, int raises)
{
	EXPECT_ARRIVED_IN_ALL(irq, raises);
	EXPECT_DEVICE(irq, raises, 0, 0);
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
	expect_count(_metadata, &self->irq, raises);
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
	expect_count(_metadata, &self->irq, RAISES);
	expect_message(_metadata, &self->irq, &self->slot);
	for (int cpu = 0; cpu < 2; cpu++) {
		EXPECT_LT(0, kernel_count_on(self->irq.virq, cpu))
			TH_LOG("it was never on CPU %d", cpu);
	}
}

TEST_F_TIMEOUT(affinity, survives_cpu_offline, 60)
{
	int status, raises = 0;
	pid_t child;

	if (!has_hotplug())
		SKIP(return, "CPU 1 cannot go offline");
	ASSERT_EQ(0, move_to(&self->irq, 1));
	ASSERT_TRUE(wait_for(is_on(&self->irq, 1)));

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 0; i < OFFLINES; i++) {
			if (write_text(cpu1_online, "0") || !wait_for(!is_on(&self->irq, 1)))
				_exit(1);
			if (write_text(cpu1_online, "1") || move_to(&self->irq, 1) ||
			    !wait_for(is_on(&self->irq, 1)))
				_exit(2);
		}
		_exit(0);
	}

	while (!waitpid(child, &status, WNOHANG))
		raise_one(_metadata, &self->irq, ++raises);
	EXPECT_EQ(0, status);
	EXPECT_LT(2 * OFFLINES, raises);
	expect_count(_metadata, &self->irq, raises);
	expect_message(_metadata, &self->irq, &self->slot);
}

static int alloc_for(int file, int cpu, int eventfd, struct ims_irq *irq)
{
	struct idxd_ims_alloc alloc = {
		.flags = IDXD_IMS_ALLOC_CPU, .cpu = cpu, .eventfd = eventfd,
	};

	return ims_alloc_as(file, &alloc, irq);
}

/* From the first interrupt on, also if it gets its eventfd later. */
TEST_F(affinity, allocated_for_a_cpu)
{
	for (int i = 0; i < 4; i++) {
		int cpu = i % 2, later = i & 2;
		struct ims_irq irq;

		ASSERT_EQ(0, alloc_for(self->file, cpu, later ? -1 : new_eventfd(), &irq));
		if (later) {
			EXPECT_STATE(&irq, true, false);
			ASSERT_EQ(0, ims_bind(&irq, new_eventfd()));
		}
		EXPECT_TRUE(is_on(&irq, cpu)) TH_LOG("CPU %d", cpu);
		raise_one(_metadata, &irq, 1);
		expect_count(_metadata, &irq, 1);
		EXPECT_EQ(1, kernel_count_on(irq.virq, cpu)) TH_LOG("CPU %d", cpu);

		/* It is there again after a time without eventfd. */
		ASSERT_EQ(0, ims_bind(&irq, -1));
		ASSERT_EQ(0, ims_bind(&irq, new_eventfd()));
		raise_one(_metadata, &irq, 1);
		EXPECT_EQ(2, kernel_count_on(irq.virq, cpu)) TH_LOG("CPU %d", cpu);
		ASSERT_EQ(0, ims_free(&irq));
		close(irq.eventfd);
	}
}

TEST_F(affinity, allocated_for_a_cpu_and_moved)
{
	struct ims_irq irq;
	int raises = 0;

	ASSERT_EQ(0, alloc_for(self->file, 1, new_eventfd(), &irq));
	ASSERT_EQ(0, move_to(&irq, 0));
	for (int i = 0; i < MOST_TRIES && !is_on(&irq, 0); i++)
		raise_one(_metadata, &irq, ++raises);
	EXPECT_TRUE(is_on(&irq, 0));
	raise_one(_metadata, &irq, ++raises);
	EXPECT_LT(0, kernel_count_on(irq.virq, 0));
}

/* It arrives at another CPU while its CPU is offline. */
TEST_F_TIMEOUT(affinity, allocated_for_an_offline_cpu, 60)
{
	struct ims_irq irq, again;

	if (!has_hotplug())
		SKIP(return, "CPU 1 cannot go offline");
	ASSERT_EQ(0, alloc_for(self->file, 1, new_eventfd(), &irq));
	ASSERT_EQ(0, write_text(cpu1_online, "0"));
	raise_one(_metadata, &irq, 1);
	ASSERT_EQ(0, alloc_for(self->file, 1, new_eventfd(), &again));
	raise_one(_metadata, &again, 1);
	ASSERT_EQ(0, write_text(cpu1_online, "1"));
	raise_one(_metadata, &irq, 2);
	raise_one(_metadata, &again, 2);
	expect_count(_metadata, &irq, 2);
	expect_count(_metadata, &again, 2);
}

TEST_HARNESS_MAIN
