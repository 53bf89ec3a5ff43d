// SPDX-License-Identifier: GPL-2.0
/*
 * Resets of the function through sysfs, with live interrupts and under traffic.
 */
#include "kept.h"

#define RESETS 5
#define USERS 4
#define COMMAND_MS 150

FIXTURE(reset) {
	FIXTURE_DATA(kept) kept;
	char methods[64];
	char names[64];
	char *next;
};

static const char *method_file(void)
{
	return path_of(PCI_DEVICES "%s/reset_method", ims_bdf);
}

FIXTURE_SETUP(reset)
{
	kept_setup(_metadata, &self->kept, NULL);
	if (_metadata->exit_code)
		return;
	ASSERT_TRUE(read_line(self->methods, sizeof(self->methods), method_file()));
	snprintf(self->names, sizeof(self->names), "%s", self->methods);
	self->next = self->names;
}

FIXTURE_TEARDOWN(reset)
{
	if (self->methods[0])
		EXPECT_EQ(0, write_text(method_file(), self->methods));
	kept_teardown(_metadata, &self->kept, NULL);
}

TEST_F_TIMEOUT(reset, keeps_all, 60)
{
	const char *method;

	while ((method = strsep(&self->next, " "))) {
		uint32_t resets = page_read(PAGE_RESETS);

		TH_LOG("by %s", method);
		ASSERT_EQ(0, write_text(method_file(), method));
		hold(_metadata, &self->kept.kept);
		ASSERT_EQ(0, ims_reset());
		EXPECT_LT(resets, page_read(PAGE_RESETS));
		EXPECT_EQ(self->kept.kept.cpu, cpu_of(&self->kept.kept.moved));
		expect_kept(_metadata, &self->kept.kept);
		page_write(PAGE_COUNTER_RESET, 1);
	}
}

/* Again and again, without anything in between that would put right what is wrong. */
TEST_F_TIMEOUT(reset, keeps_all_each_time, 60)
{
	hold(_metadata, &self->kept.kept);
	for (int i = 0; i < RESETS; i++)
		ASSERT_EQ(0, ims_reset());
	expect_kept(_metadata, &self->kept.kept);
}

/* What is masked meanwhile stays so, and what is allocated or freed is so. */
TEST_F_TIMEOUT(reset, between_calls, 60)
{
	struct ims_irq irqs[2];
	int file = ims_open(0);

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irqs[0]));
	ASSERT_EQ(0, ims_mask(&irqs[0]));
	ASSERT_EQ(0, ims_reset());
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irqs[1]));
	ASSERT_EQ(0, ims_reset());
	ASSERT_EQ(0, ims_noop(&irqs[0]));
	ASSERT_TRUE(wait_pending(&irqs[0]));
	ASSERT_EQ(0, ims_reset());
	ASSERT_EQ(0, ims_unmask(&irqs[0]));
	EXPECT_ARRIVED_IN_ALL(&irqs[0], 1);
	ASSERT_EQ(0, ims_free(&irqs[0]));
	ASSERT_EQ(0, ims_reset());
	raise_one(_metadata, &irqs[1], 1);
	EXPECT_ARRIVED_IN_ALL(&irqs[1], 1);
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stuck"));
}

/* May a descriptor or a command meet a reset? Only that it did, it says so. */
static bool may_fail(int err)
{
	return err == -EAGAIN || err == -EIO;
}

/* How often calls met a reset. */
struct report {
	int successes;
	int failures;
	int error;
};

/* Submits, or allocates and frees, without end. */
static void use(int file, struct ims_irq *irq, int user, struct report *report)
{
	for (;;) {
		struct ims_irq other = {};
		int err;

		if (user & 1)
			err = ims_alloc(file, irq->eventfd, &other) ?: ims_free(&other);
		else
			err = user & 2 ? ims_noop(irq) : ims_copy(irq, 8000);
		if (may_fail(err)) {
			report->failures++;
		} else if (err) {
			report->error = err;
			_exit(1);
		} else {
			report->successes++;
		}
	}
}

TEST_F_TIMEOUT(reset, under_traffic, 90)
{
	struct report *reports = share(USERS * sizeof(*reports));
	pid_t users[USERS];

	ASSERT_NE(NULL, reports);
	for (int i = 0; i < USERS; i++) {
		struct ims_irq irq;
		int file = ims_open(i & 1);

		ASSERT_LE(0, file);
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
		users[i] = start();
		ASSERT_LE(0, users[i]);
		if (!users[i])
			use(file, &irq, i, &reports[i]);
	}
	for (int i = 0; i < RESETS; i++) {
		int before[USERS];

		for (int j = 0; j < USERS; j++)
			before[j] = reports[j].successes;
		ASSERT_EQ(0, ims_reset());
		/* Each gets through again before the next one. */
		for (int j = 0; j < USERS; j++)
			ASSERT_TRUE(wait_for(reports[j].successes > before[j] + 1));
	}
	for (int i = 0; i < USERS; i++) {
		EXPECT_TRUE(stop(users[i])) TH_LOG("user %d: %s", i, strerror(-reports[i].error));
		EXPECT_GE(RESETS, reports[i].failures) TH_LOG("user %d", i);
	}
	ims_close_all();
	EXPECT_TRUE(wait_for(!ims_counter("used")));
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_TRUE(ims_delivers(0, 8));
	EXPECT_TRUE(ims_delivers(1, 8));
}

/* The device is at a command when it is reset. */
TEST_F_TIMEOUT(reset, during_a_command, 60)
{
	struct ims_irq irq, other;
	int file = ims_open(0);
	pid_t child;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
	ims_break(FAULT_COMMAND_TAKES_MS, COMMAND_MS);
	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		int err = ims_alloc(file, irq.eventfd, &other);

		_exit(err && !may_fail(err));
	}
	usleep(COMMAND_MS * 1000 / 3);
	ASSERT_EQ(0, ims_reset());
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	ims_break(FAULT_NONE, 0);
	raise_one(_metadata, &irq, 1);
	EXPECT_ARRIVED_IN_ALL(&irq, 1);
	EXPECT_TRUE(ims_delivers(0, 4));
}

/* Files that are closed, and work queues that go, while the device is reset. */
TEST_F_TIMEOUT(reset, while_files_close, 60)
{
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (;;) {
			int file = ims_open(1), eventfd = new_eventfd(), err;
			struct ims_irq irq;

			if (file < 0)
				_exit(1);
			err = ims_alloc(file, eventfd, &irq) ?: ims_noop(&irq);
			close(eventfd);
			ims_close(file);
			if (err && !may_fail(err))
				_exit(2);
		}
	}
	for (int i = 0; i < RESETS; i++) {
		usleep(20000 + i * 7919);
		ASSERT_EQ(0, ims_reset());
	}
	EXPECT_TRUE(stop(child));
	EXPECT_TRUE(wait_for(!ims_counter("used")));
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_TRUE(ims_delivers(1, 8));
}

TEST_HARNESS_MAIN
