// SPDX-License-Identifier: GPL-2.0
/*
 * A work queue's subdevice, or the device, goes while files are open and have
 * interrupts in all states: the slots come back, calls fail with ENODEV, closing
 * works, and nobody else notices.
 */
#include "calls.h"
#include "expect.h"

#define TIMES 3
#define RACES 20
#define COMMAND_MS 200

/* A file that has an interrupt in each state. */
struct held {
	int file;
	int pending;	/* How many of them are */
	struct ims_irq bound;
	struct ims_irq unbound;
	struct ims_irq masked;
	struct ims_irq masked_pending;
	struct ims_irq unbound_pending;
};

static void hold(struct __test_metadata *_metadata, int wq, struct held *held)
{
	held->file = ims_open(wq);
	ASSERT_LE(0, held->file);
	ASSERT_EQ(0, ims_alloc(held->file, new_eventfd(), &held->bound));
	ASSERT_EQ(0, ims_alloc(held->file, -1, &held->unbound));
	ASSERT_EQ(0, ims_alloc(held->file, new_eventfd(), &held->masked));
	ASSERT_EQ(0, ims_alloc(held->file, new_eventfd(), &held->masked_pending));
	ASSERT_EQ(0, ims_alloc(held->file, -1, &held->unbound_pending));

	raise_one(_metadata, &held->bound, 1);
	ASSERT_EQ(0, ims_mask(&held->masked));
	ASSERT_EQ(0, ims_mask(&held->masked_pending));
	ASSERT_EQ(0, ims_noop(&held->masked_pending));
	held->pending = 1;
	if (ims_page()) {
		page_write(PAGE_RAISE, held->unbound_pending.slot);
		held->pending = 2;
	}
	settle();
	EXPECT_STATE(&held->masked_pending, true, true);
	EXPECT_STATE(&held->unbound_pending, true, held->pending == 2);
}

/* Is every call of the file refused, as its device is gone? */
static void expect_gone(struct __test_metadata *_metadata, const struct held *held)
{
	for (int call = 0; call < device_calls(); call++) {
		union call_argument argument = valid_argument(call, &held->bound), before;

		before = argument;
		EXPECT_EQ(-ENODEV, ims_call(held->file, calls[call].request, &argument))
			TH_LOG("%s", calls[call].name);
		EXPECT_EQ(0, memcmp(&before, &argument, sizeof(before)));
	}
}

/* Work queues 0, whose subdevice goes, and 1, which must not notice. */
FIXTURE(unbind) {
	FIXTURE_DATA(ims) ims;
	char subdevice[64];
	struct held held;
	struct ims_irq other;
};

FIXTURE_SETUP(unbind)
{
	int file;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	snprintf(self->subdevice, sizeof(self->subdevice), "%s", subdevice_of(0));
	ASSERT_STRNE("", self->subdevice);
	file = ims_open(1);
	if (file == -ENOENT)
		SKIP(return, "one work queue");
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &self->other));
}

FIXTURE_TEARDOWN(unbind)
{
	int err = 0;

	/* Whatever went wrong, the next test gets a device. */
	if (!exists(ims_dir))
		err = ims_bind_driver("bind");
	else if (!ims_wqs())
		err = ims_rebind();
	EXPECT_EQ(0, err);
	ims_teardown(_metadata, &self->ims, NULL);
}

/* As the driver, the kernel and its eventfd count, from its first on. */
static void expect_undisturbed(struct __test_metadata *_metadata, struct ims_irq *other)
{
	uint64_t before = ims_signals(other);

	ASSERT_EQ(0, ims_noop(other));
	EXPECT_ARRIVED_IN_ALL(other, before + 1);
	EXPECT_STATE(other, false, false);
}

TEST_F_TIMEOUT(unbind, subdevice, 60)
{
	for (int i = 0; i < TIMES; i++) {
		hold(_metadata, 0, &self->held);
		EXPECT_EQ(6, ims_counter("used"));
		expect_undisturbed(_metadata, &self->other);
		ASSERT_EQ(0, bind_subdevice("unbind", self->subdevice));

		/* The file is still open, but what it had is not any more. */
		EXPECT_EQ(1, ims_counter("used"));
		EXPECT_EQ(0, ims_counter("stuck"));
		EXPECT_FALSE(exists(node_of(0)));
		EXPECT_EQ(-ENOENT, ims_open(0));
		EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->held.bound.virq)));
		EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->held.unbound.virq)));
		EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->held.masked.virq)));
		expect_gone(_metadata, &self->held);
		expect_undisturbed(_metadata, &self->other);

		/* Nor when there is a new one. */
		ASSERT_EQ(0, bind_subdevice("bind", self->subdevice));
		EXPECT_TRUE(exists(node_of(0)));
		expect_gone(_metadata, &self->held);
		EXPECT_TRUE(ims_delivers(0, 4));
		expect_gone(_metadata, &self->held);
		ims_close(self->held.file);
		EXPECT_EQ(1, ims_counter("used"));
		expect_undisturbed(_metadata, &self->other);
	}
}

/* Closed while there is no subdevice. */
TEST_F(unbind, subdevice_and_close)
{
	hold(_metadata, 0, &self->held);
	ASSERT_EQ(0, bind_subdevice("unbind", self->subdevice));
	ims_close(self->held.file);
	EXPECT_EQ(1, ims_counter("used"));
	ASSERT_EQ(0, bind_subdevice("bind", self->subdevice));
	EXPECT_TRUE(ims_delivers(0, 4));
	expect_undisturbed(_metadata, &self->other);
}

TEST_F_TIMEOUT(unbind, device, 60)
{
	for (int i = 0; i < TIMES; i++) {
		struct held second;
		int64_t used;

		hold(_metadata, 0, &self->held);
		hold(_metadata, 1, &second);
		used = ims_counter("used");
		EXPECT_EQ(i ? 10 : 11, used);
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		EXPECT_FALSE(exists(path_of("/dev/" DRIVER "/%s.*", ims_bdf)));
		EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->held.bound.virq)));
		EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", second.unbound.virq)));
		expect_gone(_metadata, &self->held);
		expect_gone(_metadata, &second);
		ims_close(second.file);

		ASSERT_EQ(0, ims_bind_driver("bind"));
		EXPECT_EQ(0, ims_counter("used"));
		EXPECT_EQ(0, ims_counter("stuck"));
		expect_gone(_metadata, &self->held);
		EXPECT_TRUE(ims_delivers(0, 4));
		EXPECT_TRUE(ims_delivers(1, 4));
		ims_close(self->held.file);
		EXPECT_EQ(0, ims_counter("used"));
	}
}

/* Submits until the device is gone, and ends with 0 then. */
static void submit_until_gone(const struct ims_irq *irq)
{
	int err = 0;

	while (!err)
		err = irq->id & 1 ? ims_noop(irq) : ims_copy(irq, 8000);
	_exit(err != -ENODEV);
}

/* Allocates and frees until the device is gone, and ends with 0 then. */
static void alloc_until_gone(int file, int eventfd)
{
	struct ims_irq irq;
	int err = 0;

	while (!err) {
		struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = eventfd };

		err = ims_call(file, IDXD_IMS_ALLOC, &alloc);
		if (err)
			break;
		irq = (struct ims_irq) { .file = file, .id = alloc.id };
		err = ims_free(&irq);
	}
	_exit(err != -ENODEV);
}

/* Uses work queue 1 without end, and counts what arrives. */
static void use_other(struct ims_irq *other)
{
	for (uint64_t i = ims_signals(other) + 1;; i++) {
		if ((i & 1 ? ims_noop(other) : ims_copy(other, 3000)) ||
		    !wait_for(ims_signals(other) >= i) || ims_signals(other) != i)
			_exit(1);
	}
}

#define USERS 4

/* Starts processes that use a file, in calls of all kinds. */
static void start_users(struct __test_metadata *_metadata, const struct held *held,
			pid_t users[USERS])
{
	for (int i = 0; i < USERS; i++) {
		users[i] = start();
		ASSERT_LE(0, users[i]);
		if (!users[i]) {
			if (i < 2)
				submit_until_gone(i ? &held->bound : &held->masked);
			alloc_until_gone(held->file, i == 2 ? -1 : held->bound.eventfd);
		}
	}
}

static void expect_users_to_end(struct __test_metadata *_metadata, pid_t users[USERS])
{
	for (int i = 0; i < USERS; i++) {
		EXPECT_EQ(0, finish(users[i], DEADLINE_MS))
			TH_LOG("user %d", i);
	}
}

TEST_F_TIMEOUT(unbind, subdevice_under_traffic, 90)
{
	pid_t users[USERS], undisturbed = start();

	ASSERT_LE(0, undisturbed);
	if (!undisturbed)
		use_other(&self->other);
	for (int i = 0; i < TIMES; i++) {
		hold(_metadata, 0, &self->held);
		start_users(_metadata, &self->held, users);
		usleep(100000 + i * 7919);
		ASSERT_EQ(0, bind_subdevice("unbind", self->subdevice));
		expect_users_to_end(_metadata, users);
		EXPECT_EQ(1, ims_counter("used"));
		ims_close(self->held.file);
		ASSERT_EQ(0, bind_subdevice("bind", self->subdevice));
		EXPECT_TRUE(ims_delivers(0, 8));
	}
	EXPECT_TRUE(stop(undisturbed)) TH_LOG("work queue 1 was disturbed");
}

TEST_F_TIMEOUT(unbind, device_under_traffic, 90)
{
	for (int i = 0; i < TIMES; i++) {
		pid_t users[2][USERS];
		struct held second;

		hold(_metadata, 0, &self->held);
		hold(_metadata, 1, &second);
		start_users(_metadata, &self->held, users[0]);
		start_users(_metadata, &second, users[1]);
		usleep(100000 + i * 7919);
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		expect_users_to_end(_metadata, users[0]);
		expect_users_to_end(_metadata, users[1]);
		ims_close(self->held.file);
		ASSERT_EQ(0, ims_bind_driver("bind"));
		ims_close(second.file);
		EXPECT_EQ(0, ims_counter("used"));
		EXPECT_EQ(0, ims_counter("stuck"));
		EXPECT_TRUE(ims_delivers(0, 8));
		EXPECT_TRUE(ims_delivers(1, 8));
	}
}

/* A call that the device takes its time for is waited for, and is no way in. */
TEST_F_TIMEOUT(unbind, subdevice_during_a_call, 60)
{
	pid_t child;

	if (!ims_page())
		SKIP(return, "no test page");
	self->held.file = ims_open(0);
	ASSERT_LE(0, self->held.file);
	ASSERT_EQ(0, ims_alloc(self->held.file, new_eventfd(), &self->held.bound));
	ims_break(FAULT_COMMAND_TAKES_MS, COMMAND_MS);
	child = start();
	ASSERT_LE(0, child);
	if (!child)
		alloc_until_gone(self->held.file, self->held.bound.eventfd);
	settle();
	ASSERT_EQ(0, bind_subdevice("unbind", self->subdevice));
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	EXPECT_EQ(1, ims_counter("used"));
	ims_break(FAULT_NONE, 0);
	expect_gone(_metadata, &self->held);
	expect_undisturbed(_metadata, &self->other);
	ASSERT_EQ(0, bind_subdevice("bind", self->subdevice));
	EXPECT_TRUE(ims_delivers(0, 4));
}

/* Opened in the moment in which the subdevice comes or goes. */
TEST_F_TIMEOUT(unbind, subdevice_while_it_is_opened, 60)
{
	int *opened = share(sizeof(*opened));
	pid_t child;

	ASSERT_NE(NULL, opened);
	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		for (;;) {
			int file = ims_open(0), err;
			struct ims_irq irq;

			if (file == -ENOENT || file == -ENODEV || file == -ENXIO)
				continue;
			if (file < 0)
				_exit(1);
			err = ims_alloc(file, -1, &irq);
			if (err && err != -ENODEV)
				_exit(2);
			(*opened)++;
			ims_close(file);
		}
	}
	for (int i = 0; i < RACES; i++) {
		ASSERT_EQ(0, bind_subdevice("unbind", self->subdevice));
		usleep(i * 317);
		ASSERT_EQ(0, bind_subdevice("bind", self->subdevice));
		usleep(i * 317);
	}
	EXPECT_TRUE(stop(child)) TH_LOG("it cannot be opened or used");
	EXPECT_LT(0, *opened);
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_TRUE(ims_delivers(0, 4));
	expect_undisturbed(_metadata, &self->other);
}

TEST_HARNESS_MAIN
