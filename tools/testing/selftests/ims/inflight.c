// SPDX-License-Identifier: GPL-2.0
/*
 * What ends while the device is at work: calls on what it uses, files, processes of all kinds,
 * and the device itself. Every item that was accepted completes once, with its result or as
 * aborted, and nothing is written to memory that was given back.
 */
#include "work_fixture.h"

#define AT_ONCE 16
#define ROUNDS 20
#define RESETS 8
#define SLICE (64 << 10)
/* Of the memory that a process that ends has registered. */
#define ITS_BUFFER (4 * MIB)

/* Items that keep the device at work for some time: @count copies of 1 MiB. */
static void set_slow_items(struct idxd_ims_item *items, int count, __u32 source, __u32 target,
			   int interrupt)
{
	for (int i = 0; i < count; i++) {
		items[i] = copy_item(source, i % PAGE, target, 0, MIB, i);
		items[i].interrupt = interrupt;
	}
}

/* An interrupt that items in flight name cannot be freed, and is signalled. */
TEST_F_TIMEOUT(work, free_interrupt, 60)
{
	struct idxd_ims_completion completions[AT_ONCE];
	struct idxd_ims_item items[AT_ONCE];
	int busy = 0;

	ims_set_nonblock(self->file, true);
	for (int round = 0; round < ROUNDS && !busy; round++) {
		struct ims_irq irq;
		int accepted, err;

		ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &irq));
		set_slow_items(items, AT_ONCE, self->source.buffer, self->target.buffer, irq.id);
		accepted = ims_work(self->file, items, AT_ONCE);
		ASSERT_LT(0, accepted);
		err = ims_free(&irq);
		if (err) {
			EXPECT_EQ(-EBUSY, err);
			busy++;
		}
		ASSERT_EQ(accepted, ims_collect(self->file, completions, accepted));
		expect_each_once(_metadata, completions, accepted, 0);
		if (err) {
			ASSERT_TRUE(wait_for(ims_signals(&irq)));
			EXPECT_EQ(0, ims_free(&irq));
		}
		close(irq.eventfd);
	}
	EXPECT_LT(0, busy);
	EXPECT_EQ(1, ims_counter("used"));
}

/* Completions that nobody has read keep no interrupt. */
TEST_F(work, free_interrupt_with_unread_completions)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(4);

	item.interrupt = self->irq.id;
	ASSERT_EQ(1, ims_work(self->file, &item, 1));
	ASSERT_EQ(POLLIN, ims_poll(self->file, POLLIN, DEADLINE_MS));
	EXPECT_EQ(0, ims_free(&self->irq));
	ASSERT_EQ(1, ims_read(self->file, &completion, 1));
	EXPECT_EQ(4, completion.cookie);
	EXPECT_EQ(0, ims_counter("used"));
}

/* Closed with work in flight, and opened and used again. */
TEST_F_TIMEOUT(work, close, 60)
{
	unsigned char *bytes = untouched(REGION);

	ASSERT_NE(NULL, bytes);
	for (int round = 0; round < ROUNDS; round++) {
		struct idxd_ims_item items[AT_ONCE];
		struct ims_irq irq;
		int file = ims_open(0);
		__u32 source, target;

		ASSERT_LE(0, file);
		ims_set_nonblock(file, true);
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
		ASSERT_EQ(0, ims_register(file, self->source.bytes, REGION, 0, &source));
		ASSERT_EQ(0, ims_register(file, bytes, REGION, IDXD_IMS_BUFFER_WRITE, &target));
		set_slow_items(items, AT_ONCE, source, target,
			       round & 1 ? (int)irq.id : IDXD_IMS_NO_INTERRUPT);
		ASSERT_LT(0, ims_work(file, items, AT_ONCE));
		ims_close(file);
		close(irq.eventfd);
		/* It is all over now. */
		memset(bytes, UNTOUCHED, REGION);
		if (round % 4 == 0) {
			settle();
			for (int i = 0; i < REGION; i++)
				ASSERT_EQ(UNTOUCHED, bytes[i]);
		}
		ASSERT_TRUE(ims_does(self->file, (struct idxd_ims_item[]) {
			copy_item(self->source.buffer, 0, self->target.buffer, 0, PAGE, 0)
		}, 1, PAGE));
	}
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_TRUE(ims_delivers(0, 8));
}

/* Closed with completions that nobody has read. */
TEST_F(work, close_unread)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct idxd_ims_item items[AT_ONCE];
		int file = ims_open(0);

		ASSERT_LE(0, file);
		for (int i = 0; i < AT_ONCE; i++)
			items[i] = noop_item(i);
		ASSERT_EQ(AT_ONCE, ims_work(file, items, AT_ONCE));
		ASSERT_EQ(POLLIN, ims_poll(file, POLLIN, DEADLINE_MS));
		ims_close(file);
	}
	/* They take no room from others. */
	for (int round = 0; round < 4; round++) {
		struct idxd_ims_item items[AT_ONCE];

		for (int i = 0; i < AT_ONCE; i++)
			items[i] = noop_item(i);
		ASSERT_TRUE(ims_does(self->file, items, AT_ONCE, 0));
	}
}

/* Ways for a process to end. */
enum end {
	EXIT, EXEC, CRASH, KILLED, KILLED_READING, KILLED_SUBMITTING, KILLED_UNREGISTERING, ENDS
};

static const struct {
	const char *name;
	int status;	/* What finish() returns, if it ends by itself */
} ends[ENDS] = {
	[EXIT] = { "exit", 7 },
	[EXEC] = { "exec", 0 },
	[CRASH] = { "crash", -1 },
	[KILLED] = { "kill", -1 },
	[KILLED_READING] = { "kill in read", -1 },
	[KILLED_SUBMITTING] = { "kill in WORK", -1 },
	[KILLED_UNREGISTERING] = { "kill in UNREGISTER", -1 },
};

/* A process that has work in flight and ends, or waits to be ended. Never returns. */
static void end_at_work(enum end end, int *ready)
{
	unsigned char *bytes = untouched(ITS_BUFFER);
	struct idxd_ims_item items[AT_ONCE];
	struct idxd_ims_completion completions[AT_ONCE];
	int file = ims_open(0), accepted;
	struct ims_irq irq;
	__u32 buffer;

	if (!bytes || file < 0 || ims_alloc(file, new_eventfd(), &irq) ||
	    ims_register(file, bytes, ITS_BUFFER, IDXD_IMS_BUFFER_WRITE, &buffer))
		_exit(1);
	ims_set_nonblock(file, true);
	set_slow_items(items, AT_ONCE, buffer, buffer, irq.id);
	for (int i = 0; i < AT_ONCE; i++)
		items[i].target_offset = 2 * MIB;
	accepted = ims_work(file, items, AT_ONCE);
	if (accepted <= 0)
		_exit(2);
	ims_set_nonblock(file, false);
	__atomic_store_n(ready, accepted, __ATOMIC_RELEASE);
	switch (end) {
	case EXIT:
		_exit(7);
	case EXEC:
		execl("/bin/true", "true", NULL);
		_exit(3);
	case CRASH:
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		_exit(4);
	case KILLED_READING:
		for (;;)
			ims_read(file, completions, AT_ONCE);
	case KILLED_SUBMITTING:
		for (;;)
			if (ims_work(file, items, AT_ONCE) == -EBUSY)
				ims_read(file, completions, AT_ONCE);
	case KILLED_UNREGISTERING:
		for (;;) {
			ims_unregister(file, buffer);
			ims_register(file, bytes, ITS_BUFFER, IDXD_IMS_BUFFER_WRITE, &buffer);
			for (int i = 0; i < AT_ONCE; i++) {
				items[i].source = buffer;
				items[i].target = buffer;
			}
			ims_set_nonblock(file, true);
			ims_read(file, completions, AT_ONCE);
			ims_work(file, items, AT_ONCE);
			ims_set_nonblock(file, false);
		}
	default:
		for (;;)
			pause();
	}
}

/* It takes no longer than its work, and others go on meanwhile. */
TEST_F_TIMEOUT(work, process_ends, 120)
{
	int *ready = share(sizeof(*ready));
	struct rlimit no_core = {};

	ASSERT_NE(NULL, ready);
	setrlimit(RLIMIT_CORE, &no_core);
	for (int round = 0; round < 4 * ENDS; round++) {
		const enum end end = round % ENDS;
		struct idxd_ims_item items[4];
		pid_t child;

		*ready = 0;
		child = start();
		ASSERT_LE(0, child);
		if (!child)
			end_at_work(end, ready);
		ASSERT_TRUE(wait_for(__atomic_load_n(ready, __ATOMIC_ACQUIRE)))
			TH_LOG("%s: it could not work", ends[end].name);
		if (end >= KILLED) {
			usleep(round * 997);
			kill(child, SIGKILL);
		}
		for (int i = 0; i < 4; i++)
			items[i] = copy_item(self->source.buffer, i, self->target.buffer,
					     i * SLICE, SLICE, 0);
		EXPECT_TRUE(ims_does(self->file, items, 4, SLICE))
			TH_LOG("%s", ends[end].name);
		for (int i = 0; i < 4; i++) {
			EXPECT_EQ(0, memcmp(self->target.bytes + i * SLICE,
					    self->source.bytes + i, SLICE));
		}
		EXPECT_EQ(ends[end].status, finish(child, DEADLINE_MS))
			TH_LOG("%s", ends[end].name);
		EXPECT_TRUE(wait_for(ims_counter("used") == 1))
			TH_LOG("%s: slots are in use", ends[end].name);
	}
	EXPECT_TRUE(ims_delivers(0, 8));
}

/* A child has the file of its parent, whose work goes on when the child ends. */
TEST_F_TIMEOUT(work, fork_at_work, 60)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct idxd_ims_completion completions[AT_ONCE];
		struct idxd_ims_item items[AT_ONCE];
		pid_t child;

		for (int i = 0; i < AT_ONCE; i++)
			items[i] = copy_item(self->source.buffer, i + round, self->target.buffer,
					     i * SLICE, SLICE, i);
		ASSERT_EQ(AT_ONCE, ims_work(self->file, items, AT_ONCE));
		child = start();
		ASSERT_LE(0, child);
		if (!child) {
			/* Not the memory that the device writes to. */
			memset(self->target.bytes, 0, REGION);
			_exit(0);
		}
		if (round & 1)
			stop(child);
		else
			EXPECT_EQ(0, finish(child, DEADLINE_MS));
		ASSERT_EQ(AT_ONCE, ims_collect(self->file, completions, AT_ONCE));
		expect_each_once(_metadata, completions, AT_ONCE, 0);
		for (int i = 0; i < AT_ONCE; i++) {
			EXPECT_EQ(0, memcmp(self->target.bytes + i * SLICE,
					    self->source.bytes + i + round, SLICE))
				TH_LOG("round %d, item %d", round, i);
		}
	}
}

/* What items work on while the device is reset, and how often one met a reset, and not. */
struct trial {
	int file;
	int interrupt;
	struct region source;
	struct region target;
	int accepted;
	int completed;
	int aborted;
	int refused;
};

/* May a call meet a reset? It says so. */
static bool may_fail(int err)
{
	return err == -EAGAIN || err == -EIO;
}

/*
 * Submits AT_ONCE items, each to a place of its own, has the device reset by @reset, if it
 * is set, and checks all that were accepted.
 */
static void reset_at_work(struct __test_metadata *_metadata, struct trial *trial,
			  bool reset)
{
	struct idxd_ims_completion completions[AT_ONCE];
	struct idxd_ims_item items[AT_ONCE];
	int accepted;

	memset(trial->target.bytes, UNTOUCHED, REGION);
	for (int i = 0; i < AT_ONCE; i++) {
		items[i] = copy_item(trial->source.buffer, i * 3, trial->target.buffer, i * SLICE,
				     SLICE, i);
		items[i].interrupt = i & 1 ? trial->interrupt : IDXD_IMS_NO_INTERRUPT;
	}
	accepted = ims_work(trial->file, items, AT_ONCE);
	if (accepted < 0) {
		EXPECT_TRUE(may_fail(accepted)) TH_LOG("%s", strerror(-accepted));
		trial->refused++;
		accepted = 0;
	}
	if (reset)
		ASSERT_EQ(0, ims_reset());
	ASSERT_EQ(accepted, ims_collect(trial->file, completions, accepted));
	expect_each_once(_metadata, completions, accepted, 0);
	trial->accepted += accepted;
	for (int i = 0; i < accepted; i++) {
		const struct idxd_ims_completion *one = &completions[i];
		const uint64_t at = one->cookie;

		if (one->status == IDXD_IMS_ABORTED) {
			EXPECT_EQ(0, one->result);
			EXPECT_GE(SLICE, one->bytes);
			trial->aborted++;
			continue;
		}
		EXPECT_EQ(IDXD_IMS_COMPLETED, one->status);
		EXPECT_EQ(SLICE, one->bytes);
		EXPECT_EQ(0, memcmp(trial->target.bytes + at * SLICE, trial->source.bytes + at * 3,
				    SLICE))
			TH_LOG("item %d", (int)at);
		trial->completed++;
	}
	/* The device writes nothing of what it has aborted. */
	if (accepted < AT_ONCE)
		return;
	EXPECT_NOTHING_LEFT(trial->file);
}

/* One of the fixture's file. */
#define TRIAL ((struct trial) {							\
	.file = self->file, .interrupt = self->irq.id,				\
	.source = self->source, .target = self->target,				\
})

static void expect_law(struct __test_metadata *_metadata, const struct trial *trial)
{
	TH_LOG("%d accepted, %d completed, %d aborted, %d calls refused", trial->accepted,
	       trial->completed, trial->aborted, trial->refused);
	EXPECT_LT(0, trial->accepted);
	EXPECT_EQ(trial->accepted, trial->completed + trial->aborted);
}

TEST_F_TIMEOUT(work, reset, 90)
{
	struct trial trial = TRIAL;

	for (int i = 0; i < RESETS; i++)
		reset_at_work(_metadata, &trial, true);
	expect_law(_metadata, &trial);
	/* Buffers and interrupts are as before. */
	trial = TRIAL;
	reset_at_work(_metadata, &trial, false);
	EXPECT_EQ(AT_ONCE, trial.completed);
	ASSERT_EQ(1, ims_counter("used"));
	ims_signals(&self->irq);
	EXPECT_TRUE(ims_delivers(0, 8));
}

/* Resets at any time, while work comes and goes. */
TEST_F_TIMEOUT(work, resets_under_load, 120)
{
	const uint64_t end = now_ms() + 5000 * slow();
	struct trial trial = TRIAL;
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 0;; i++) {
			usleep(20000 + i % 7 * 7919);
			if (ims_reset())
				_exit(1);
		}
	}
	while (now_ms() < end)
		reset_at_work(_metadata, &trial, false);
	EXPECT_TRUE(stop(child));
	expect_law(_metadata, &trial);
	trial = TRIAL;
	EXPECT_TRUE(wait_for(!ims_noop(&self->irq)));
	reset_at_work(_metadata, &trial, false);
	EXPECT_EQ(AT_ONCE, trial.completed);
}

/* A reader that waits when the device is reset gets what there is. */
TEST_F_TIMEOUT(work, reset_wakes_readers, 60)
{
	for (int round = 0; round < 4; round++) {
		struct idxd_ims_item items[AT_ONCE];
		int *accepted = share(sizeof(*accepted));
		pid_t child;

		ASSERT_NE(NULL, accepted);
		set_slow_items(items, AT_ONCE, self->source.buffer, self->target.buffer,
			       IDXD_IMS_NO_INTERRUPT);
		*accepted = AT_ONCE;
		child = start();
		ASSERT_LE(0, child);
		if (!child) {
			struct idxd_ims_completion completions[AT_ONCE];

			for (int got = 0; got < __atomic_load_n(accepted, __ATOMIC_RELAXED);) {
				int err = ims_read(self->file, completions, AT_ONCE);

				if (err <= 0)
					_exit(1);
				got += err;
			}
			_exit(0);
		}
		ASSERT_EQ(AT_ONCE, ims_work(self->file, items, AT_ONCE));
		ASSERT_EQ(0, ims_reset());
		EXPECT_EQ(0, finish(child, DEADLINE_MS));
		EXPECT_NOTHING_LEFT(self->file);
	}
}

/* The device halts at work, and is reset by the driver: the same law. */
TEST_F_TIMEOUT(work, halt, 90)
{
	struct idxd_ims_completion completions[AT_ONCE];
	struct idxd_ims_item items[AT_ONCE];
	struct trial trial = TRIAL;

	if (!ims_page())
		SKIP(return, "no test page");
	for (int round = 0; round < 4; round++) {
		int accepted;

		set_slow_items(items, AT_ONCE, self->source.buffer, self->target.buffer,
			       self->irq.id);
		ASSERT_TRUE(wait_for((accepted = ims_work(self->file, items, AT_ONCE)) > 0));
		page_write(PAGE_HALT, 0);
		ASSERT_EQ(accepted, ims_collect(self->file, completions, accepted));
		expect_each_once(_metadata, completions, accepted, 0);
		trial.accepted += accepted;
		for (int i = 0; i < accepted; i++) {
			trial.completed += completions[i].status == IDXD_IMS_COMPLETED;
			trial.aborted += completions[i].status == IDXD_IMS_ABORTED;
		}
	}
	expect_law(_metadata, &trial);
	EXPECT_TRUE(wait_for(!ims_noop(&self->irq)));
	EXPECT_EQ(1, ims_counter("used"));
}

/* The driver is unbound at work: what is unread can still be read, and then nothing comes. */
TEST_F_TIMEOUT(work, unbind, 60)
{
	struct idxd_ims_completion completions[AT_ONCE];
	struct idxd_ims_item items[AT_ONCE];
	int accepted, got;

	ims_set_nonblock(self->file, true);
	set_slow_items(items, AT_ONCE, self->source.buffer, self->target.buffer, self->irq.id);
	accepted = ims_work(self->file, items, AT_ONCE);
	ASSERT_LT(0, accepted);
	ASSERT_EQ(0, ims_bind_driver("unbind"));
	/* Calls fail, and the memory is no longer the device's. */
	EXPECT_EQ(-ENODEV, ims_work(self->file, items, 1));
	memset(self->target.bytes, UNTOUCHED, REGION);
	EXPECT_NE(0, ims_poll(self->file, POLLIN, DEADLINE_MS)) TH_LOG("a poller sleeps on");
	for (got = 0; got < accepted;) {
		int err = ims_read(self->file, completions + got, accepted - got);

		ASSERT_LT(0, err);
		got += err;
	}
	expect_each_once(_metadata, completions, accepted, 0);
	EXPECT_EQ(-ENODEV, ims_read(self->file, completions, 1));
	for (int i = 0; i < REGION; i++)
		ASSERT_EQ(UNTOUCHED, self->target.bytes[i]);
	ims_close(self->file);
	ASSERT_EQ(0, ims_bind_driver("bind"));
	EXPECT_TRUE(ims_delivers(0, 8));
}

TEST_HARNESS_MAIN
