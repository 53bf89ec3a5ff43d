// SPDX-License-Identifier: GPL-2.0
/*
 * The device breaks down, and is reset when it is to work again. What is allocated
 * outlasts that.
 */
#include "interrupt.h"

#define FUNCTION_RESET 1
#define WARM_RESET 2
#define LIMIT 10
#define REVOCATIONS 300

/* Interrupts that only wait, beside the fixture's that works. */
struct waiting {
	struct ims_irq masked;
	struct ims_irq masked_pending;
	struct ims_irq unbound_pending;
};

static void make_waiting(struct __test_metadata *_metadata, int file, struct waiting *w)
{
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &w->masked));
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &w->masked_pending));
	ASSERT_EQ(0, ims_alloc(file, -1, &w->unbound_pending));
	ASSERT_EQ(0, ims_mask(&w->masked));
	ASSERT_EQ(0, ims_mask(&w->masked_pending));
	page_write(PAGE_RAISE, w->masked_pending.slot);
	page_write(PAGE_RAISE, w->unbound_pending.slot);
	EXPECT_TRUE(wait_pending(&w->masked_pending));
	EXPECT_TRUE(wait_pending(&w->unbound_pending));
}

/* They wait as before, and get what is theirs: once. */
static void expect_waiting(struct __test_metadata *_metadata, struct waiting *w)
{
	settle();
	EXPECT_EQ(IDXD_IMS_STATE_MASKED, ims_flags(&w->masked));
	EXPECT_EQ(0, ims_signals(&w->masked));
	EXPECT_EQ(0, ims_signals(&w->masked_pending));
	EXPECT_EQ(IDXD_IMS_STATE_MASKED | IDXD_IMS_STATE_PENDING, ims_flags(&w->masked_pending));
	EXPECT_EQ(IDXD_IMS_STATE_MASKED | IDXD_IMS_STATE_PENDING, ims_flags(&w->unbound_pending));

	ASSERT_EQ(0, ims_unmask(&w->masked));
	ASSERT_EQ(0, ims_unmask(&w->masked_pending));
	ASSERT_EQ(0, ims_bind(&w->unbound_pending, new_eventfd()));
	EXPECT_ARRIVED_IN_ALL(&w->masked_pending, 1);
	EXPECT_ARRIVED_IN_ALL(&w->unbound_pending, 1);
	EXPECT_ARRIVED_IN_ALL(&w->masked, 0);
	EXPECT_EQ(0, ims_flags(&w->masked_pending));
	EXPECT_EQ(0, ims_flags(&w->unbound_pending));
	raise_one(_metadata, &w->masked, 1);
	raise_one(_metadata, &w->masked_pending, 2);
	raise_one(_metadata, &w->unbound_pending, 2);
}

static void halt(struct __test_metadata *_metadata, int reset_type)
{
	const int64_t halts = ims_counter("halts");

	page_write(PAGE_HALT, reset_type);
	ASSERT_TRUE(wait_for(ims_counter("halts") == halts + 1));
}

TEST_F(interrupt, halt_that_a_reset_helps)
{
	struct waiting waiting;

	if (!ims_page())
		SKIP(return, "no test page");
	self->ims.rebind = true;
	raise_one(_metadata, &self->irq, 1);
	make_waiting(_metadata, self->file, &waiting);
	for (int type = 0; type <= FUNCTION_RESET; type++) {
		halt(_metadata, type);
		raise_one(_metadata, &self->irq, type + 2);
		EXPECT_EQ(type + 1, ims_counter("recoveries"));
	}
	expect_waiting(_metadata, &waiting);
	EXPECT_EQ(2, ims_counter("recoveries"));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 3);
}

TEST_F(interrupt, halt_that_takes_more)
{
	struct ims_irq other;
	struct waiting waiting;

	if (!ims_page())
		SKIP(return, "no test page");
	self->ims.rebind = true;
	make_waiting(_metadata, self->file, &waiting);
	halt(_metadata, WARM_RESET);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(-EIO, ims_noop(&self->irq));
		EXPECT_EQ(-EIO, ims_alloc(self->file, self->irq.eventfd, &other));
	}
	EXPECT_EQ(0, ims_counter("recoveries"));

	/* What takes no work goes on. */
	EXPECT_EQ(0, ims_mask(&self->irq));
	EXPECT_EQ(0, ims_unmask(&self->irq));
	EXPECT_EQ(IDXD_IMS_STATE_MASKED, ims_flags(&waiting.masked));

	ASSERT_EQ(0, ims_reset());
	raise_one(_metadata, &self->irq, 1);
	/* Once more, with what is pending kept by the kernel. */
	ASSERT_EQ(0, ims_reset());
	raise_one(_metadata, &self->irq, 2);
	expect_waiting(_metadata, &waiting);
}

TEST_F(interrupt, command_that_hangs_once)
{
	uint64_t begin = now_ms();
	struct waiting waiting;
	struct ims_irq other;

	if (!ims_page())
		SKIP(return, "no test page");
	if (!has_handle_commands())
		SKIP(return, "no handle commands");
	self->ims.rebind = true;
	make_waiting(_metadata, self->file, &waiting);
	ims_break(FAULT_COMMAND_HANGS, 0);
	EXPECT_EQ(-ETIMEDOUT, ims_alloc(self->file, new_eventfd(), &other));
	EXPECT_GT(DEADLINE_MS, now_ms() - begin);
	EXPECT_EQ(4, ims_file_used(self->file));

	ims_break(FAULT_NONE, 0);
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &other));
	raise_one(_metadata, &other, 1);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(1, ims_counter("recoveries"));
	expect_waiting(_metadata, &waiting);
}

TEST_F(interrupt, command_that_hangs_for_good)
{
	struct waiting waiting;
	struct ims_irq other;

	if (!ims_page())
		SKIP(return, "no test page");
	if (!has_handle_commands())
		SKIP(return, "no handle commands");
	self->ims.rebind = true;
	make_waiting(_metadata, self->file, &waiting);
	ims_break(FAULT_COMMAND_HANGS, 0);
	EXPECT_EQ(-ETIMEDOUT, ims_alloc(self->file, new_eventfd(), &other));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EIO, ims_alloc(self->file, new_eventfd(), &other));
	EXPECT_EQ(-EIO, ims_noop(&self->irq));
	EXPECT_EQ(1, ims_counter("recoveries"));
	EXPECT_EQ(4, ims_file_used(self->file));

	ims_break(FAULT_NONE, 0);
	ASSERT_EQ(0, ims_reset());
	raise_one(_metadata, &self->irq, 1);
	expect_waiting(_metadata, &waiting);
}

/* What is not masked when the slots are written again is not used. */
TEST_F(interrupt, slots_that_do_not_mask_after_a_reset)
{
	struct ims_irq masked, other;

	if (!ims_page())
		SKIP(return, "no test page");
	self->ims.rebind = true;
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &masked));
	ASSERT_EQ(0, ims_mask(&masked));
	ims_break(FAULT_STUCK_MASK, 0);
	ASSERT_EQ(0, ims_reset());
	EXPECT_EQ(-EIO, ims_noop(&self->irq));
	EXPECT_EQ(-EIO, ims_alloc(self->file, new_eventfd(), &other));

	ims_break(FAULT_NONE, 0);
	ASSERT_EQ(0, ims_reset());
	raise_one(_metadata, &self->irq, 1);
	ASSERT_EQ(0, ims_noop(&masked));
	EXPECT_TRUE(wait_pending(&masked));
	ASSERT_EQ(0, ims_unmask(&masked));
	EXPECT_ARRIVED_IN_ALL(&masked, 1);
}

/* That a command is done, the device's status says; its interrupt may be late, or lost. */
TEST_F(interrupt, commands_without_interrupt)
{
	const int64_t enabled = ims_counter("enabled");
	const int64_t failures = ims_counter("failures");
	struct ims_irq other;

	if (!ims_page())
		SKIP(return, "no test page");
	self->ims.rebind = true;
	ims_break(FAULT_COMMAND_SILENT, 0);
	ASSERT_EQ(0, ims_reset());
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &other));
	raise_one(_metadata, &other, 1);
	EXPECT_EQ(0, ims_free(&other));
	EXPECT_EQ(enabled, ims_counter("enabled"));

	ims_break(FAULT_NONE, 0);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(failures, ims_counter("failures"));
	EXPECT_EQ(0, ims_counter("recoveries"));
}

/* The device does not know the interrupts any more that descriptors name. */
TEST_F(interrupt, handles_that_are_revoked)
{
	const int64_t revoked = ims_counter("handles_revoked");
	struct waiting waiting;

	if (!ims_page())
		SKIP(return, "no test page");
	self->ims.rebind = true;
	raise_one(_metadata, &self->irq, 1);
	make_waiting(_metadata, self->file, &waiting);
	for (int i = 1; i <= 3; i++) {
		page_write(PAGE_REVOKE, 1);
		ASSERT_TRUE(wait_for(ims_counter("handles_revoked") == revoked + i));
		raise_one(_metadata, &self->irq, i + 1);
	}
	EXPECT_EQ(0, ims_copy(&self->irq, 100));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 5);
	EXPECT_EQ(0, ims_counter("recoveries"));
	expect_waiting(_metadata, &waiting);
}

/* A device that never stops to revoke is told from one that does it at a bad moment. */
TEST_F(interrupt, handles_that_are_always_revoked)
{
	const int64_t failures = ims_counter("failures");
	struct ims_irq other;

	if (!ims_page())
		SKIP(return, "no test page");
	if (!has_handle_commands())
		SKIP(return, "no handle commands");
	self->ims.rebind = true;
	ims_break(FAULT_HANDLES_REVOKED, 1);
	EXPECT_EQ(-EIO, ims_alloc(self->file, new_eventfd(), &other));
	EXPECT_EQ(failures + 1, ims_counter("failures"));

	ims_break(FAULT_HANDLES_REVOKED, 0);
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &other));
	EXPECT_EQ(-EIO, ims_noop(&other));
	EXPECT_EQ(failures + 2, ims_counter("failures"));

	ims_break(FAULT_NONE, 0);
	raise_one(_metadata, &other, 1);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(0, ims_free(&other));
	EXPECT_EQ(failures + 2, ims_counter("failures"));
}

struct changes {
	int end;
	int made[2];
};

/* Allocates, uses and frees interrupts of its own until it is to end. */
static int change(struct changes *changes, int wq)
{
	int error = 0, file = ims_open(wq);

	while (!error && !__atomic_load_n(&changes->end, __ATOMIC_RELAXED)) {
		struct ims_irq irq;

		error = ims_alloc(file, new_eventfd(), &irq) ?: ims_noop(&irq);
		if (!error && (!wait_for(ims_count(&irq)) || ims_count(&irq) != 1))
			error = -ERANGE;
		error = error ?: ims_free(&irq);
		if (!error)
			close(irq.eventfd);
		__atomic_fetch_add(&changes->made[wq], !error, __ATOMIC_RELAXED);
	}
	return error;
}

static int made(struct changes *changes, int wq)
{
	return __atomic_load_n(&changes->made[wq], __ATOMIC_RELAXED);
}

/*
 * Whatever call a revocation meets, it succeeds, and nobody gets the interrupts of who had the
 * handle before. The device has no handle for nothing.
 */
TEST_F_TIMEOUT(interrupt, handles_revoked_while_they_change, 60)
{
	const int64_t failures = ims_counter("failures");
	struct changes *changes = share(sizeof(*changes));
	pid_t children[ARRAY_SIZE(changes->made)];

	if (!ims_page())
		SKIP(return, "no test page");
	ASSERT_NE(NULL, changes);
	/* Which the fixture's does not count among. */
	page_write(PAGE_REVOKE, 1);
	ims_break(FAULT_HANDLE_LIMIT, ARRAY_SIZE(children));
	for (int wq = 0; wq < ARRAY_SIZE(children); wq++) {
		children[wq] = start();
		if (!children[wq])
			_exit(!!change(changes, wq));
	}
	for (int wq = 0; wq < ARRAY_SIZE(children); wq++)
		ASSERT_TRUE(wait_for(made(changes, wq)));
	for (int i = 0; i < REVOCATIONS; i++) {
		page_write(PAGE_REVOKE, 1);
		usleep((1000 + i % 7 * 300) * slow());
	}
	__atomic_store_n(&changes->end, 1, __ATOMIC_RELAXED);
	for (int wq = 0; wq < ARRAY_SIZE(children); wq++)
		EXPECT_EQ(0, finish(children[wq], DEADLINE_MS));

	ims_break(FAULT_NONE, 0);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(failures, ims_counter("failures"));
}

/* Lines in the log, since it was last asked, with @words. */
static int lines_with(int kmsg, const char *words)
{
	char record[8192];
	int lines = 0;
	ssize_t len;

	while ((len = read(kmsg, record, sizeof(record) - 1)) > 0) {
		record[len] = '\0';
		lines += !!strstr(record, words);
	}
	return lines;
}

/* A descriptor of no operation, with no place for its completion record. */
static void make_error(uint32_t *portals)
{
	for (int word = 0; word < 16; word++)
		__atomic_store_n(&portals[word], word == 1 ? 0xff << 24 : 0, __ATOMIC_RELAXED);
}

TEST_F(interrupt, software_errors_are_counted_and_said_once)
{
	int kmsg = open_log();
	uint32_t *portals;
	size_t size;

	ASSERT_EQ(0, ims_rebind());
	ASSERT_EQ(0, ims_counter("errors"));
	portals = ims_map(2, &size);
	ASSERT_NE(NULL, portals);

	for (int errors = 1; errors <= 3; errors++) {
		make_error(portals);
		ASSERT_TRUE(wait_for(ims_counter("errors") == errors));
	}
	EXPECT_EQ(1, lines_with(kmsg, "software error"));
	EXPECT_TRUE(ims_delivers(0, 1));
	munmap(portals, size);
	close(kmsg);
}

/* A driver that masks what comes too often. */
FIXTURE(storm) {
	FIXTURE_DATA(ims) ims;
	struct ims_irq irq, other;
};

FIXTURE_SETUP(storm)
{
	int file;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	if (!ims_is_module())
		SKIP(return, "the driver is built in");
	ASSERT_EQ(0, ims_unload());
	ASSERT_EQ(0, ims_load("storm_limit=10"));
	ASSERT_TRUE(ims_find());
	file = ims_open(0);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &self->irq));
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &self->other));
}

FIXTURE_TEARDOWN(storm)
{
	ims_teardown(_metadata, &self->ims, NULL);
	EXPECT_EQ(0, ims_unload());
	EXPECT_EQ(0, ims_load(""));
}

/* Not all at once: messages that follow each other too closely merge in the CPU. */
static void raise_often(const struct ims_irq *irq, int times, int rate)
{
	page_write(PAGE_SOURCE_COUNT, times);
	page_write(PAGE_SOURCE_RATE, rate);
	page_write(PAGE_SOURCE_FIRST, irq->slot);
	page_write(PAGE_SOURCE_SLOTS, 1);
	page_write(PAGE_SOURCE_CONTROL, SOURCE_START);
	wait_for(!page_read(PAGE_SOURCE_CONTROL));
}

TEST_F(storm, is_masked_and_said)
{
	char line[sizeof(ims_bdf) + 64];
	int kmsg = open_log();
	uint64_t count;

	if (!ims_page())
		SKIP(return, "no test page");
	snprintf(line, sizeof(line), DRIVER "-%s-wq0 arrived more than", ims_bdf);
	for (int nth = 1; nth <= 2; nth++) {
		/* A busy machine takes longer, and sees fewer of them. */
		raise_often(&self->irq, 100 * LIMIT, 100 * LIMIT);
		ASSERT_TRUE(wait_for(ims_flags(&self->irq) & IDXD_IMS_STATE_MASKED));
		count = ims_count(&self->irq);
		EXPECT_LE(nth * LIMIT, count);
		page_write(PAGE_RAISE, self->irq.slot);
		settle();
		EXPECT_EQ(count, ims_count(&self->irq));
		raise_one(_metadata, &self->other, nth);
		EXPECT_EQ(nth == 1, lines_with(kmsg, line));
		ASSERT_EQ(0, ims_unmask(&self->irq));
	}

	/* It can be masked and unmasked as ever, once what was pending has come. */
	EXPECT_TRUE(wait_for(ims_count(&self->irq) > count));
	settle();
	EXPECT_EQ(0, ims_flags(&self->irq) & IDXD_IMS_STATE_MASKED);
	ASSERT_EQ(0, ims_mask(&self->irq));
	ims_signals(&self->irq);
	settle();
	ASSERT_EQ(0, ims_bind(&self->irq, new_eventfd()));
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_TRUE(wait_pending(&self->irq));
	EXPECT_EQ(0, ims_signals(&self->irq));
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_TRUE(wait_for(ims_signals(&self->irq) == 1));
	close(kmsg);
}

/* So many that the device's own interrupt is masked. */
static void storm_of_errors(struct __test_metadata *_metadata)
{
	bool masked = false;
	int kmsg = open_log();
	uint32_t *portals;
	size_t size;

	portals = ims_map(2, &size);
	ASSERT_NE(NULL, portals);
	for (int i = 0; i < 100 * LIMIT && !masked; i++) {
		make_error(portals);
		usleep(1000);
		masked = lines_with(kmsg, "times in a second: masked");
	}
	ASSERT_TRUE(masked);
	munmap(portals, size);
	close(kmsg);
}

TEST_F(storm, of_errors_hides_no_revocation)
{
	const int64_t revoked = ims_counter("handles_revoked");

	if (!ims_page())
		SKIP(return, "no test page");
	storm_of_errors(_metadata);
	page_write(PAGE_REVOKE, 1);
	settle();
	ASSERT_EQ(revoked, ims_counter("handles_revoked"));

	raise_one(_metadata, &self->irq, 1);
	raise_one(_metadata, &self->other, 1);
	EXPECT_EQ(0, ims_counter("failures"));
	EXPECT_EQ(0, ims_counter("recoveries"));
}

/* The device gives the next slot what it has revoked. */
TEST_F(storm, of_errors_confuses_no_handles)
{
	struct ims_irq next;

	if (!ims_page())
		SKIP(return, "no test page");
	storm_of_errors(_metadata);
	page_write(PAGE_REVOKE, 1);
	settle();

	ASSERT_EQ(0, ims_alloc(self->other.file, new_eventfd(), &next));
	ASSERT_EQ(self->other.slot + 1, next.slot);
	raise_one(_metadata, &self->other, 1);
	EXPECT_ARRIVED_IN_ALL(&next, 0);
	raise_one(_metadata, &next, 1);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(0, ims_counter("failures"));
}

/* None is kept that goes back, as the device has few, and none goes back that was revoked. */
TEST_F(storm, of_errors_keeps_no_handles)
{
	struct ims_irq next, another;

	if (!ims_page())
		SKIP(return, "no test page");
	storm_of_errors(_metadata);
	page_write(PAGE_REVOKE, 1);
	settle();

	ASSERT_EQ(0, ims_alloc(self->other.file, new_eventfd(), &next));
	ASSERT_EQ(0, ims_free(&next));
	ims_break(FAULT_HANDLE_LIMIT, 1);
	ASSERT_EQ(0, ims_alloc(self->other.file, new_eventfd(), &another));
	EXPECT_NE(next.slot, another.slot);

	/* What was revoked is not returned. */
	page_write(PAGE_REVOKE, 1);
	settle();
	EXPECT_EQ(0, ims_free(&another));
	EXPECT_EQ(0, ims_free(&self->other));
	EXPECT_EQ(0, ims_counter("failures"));
}

TEST_F(storm, of_errors_hides_no_halt)
{
	const int64_t halts = ims_counter("halts");
	struct ims_irq more;
	int file;

	if (!ims_page())
		SKIP(return, "no test page");
	storm_of_errors(_metadata);
	page_write(PAGE_HALT, 0);
	settle();
	ASSERT_EQ(halts, ims_counter("halts"));

	file = ims_open(1);
	ASSERT_LE(0, file);
	/* The next command fails, or what is submitted. */
	EXPECT_EQ(has_handle_commands() ? -EIO : -ETIMEDOUT,
		  has_handle_commands() ? ims_alloc(file, new_eventfd(), &more) :
					  ims_noop(&self->other));
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &more));
	raise_one(_metadata, &more, 1);
	raise_one(_metadata, &self->other, 1);
	EXPECT_EQ(1, ims_counter("recoveries"));

	/* From then on it is heard of again. */
	page_write(PAGE_HALT, 0);
	EXPECT_TRUE(wait_for(ims_counter("halts") == halts + 1));
}

/* Twice as often as it may come in a second, which a part of a second would not show. */
TEST_F(storm, is_counted_by_the_second)
{
	if (!ims_page())
		SKIP(return, "no test page");
	raise_often(&self->irq, 6 * LIMIT, 2 * LIMIT);
	EXPECT_TRUE(wait_for(ims_flags(&self->irq) & IDXD_IMS_STATE_MASKED));
}

TEST_F(storm, is_not_what_is_slower)
{
	if (!ims_page())
		SKIP(return, "no test page");
	raise_often(&self->irq, LIMIT, LIMIT / 2);
	settle();
	EXPECT_EQ(0, ims_flags(&self->irq));
	EXPECT_LE(LIMIT / 4, ims_count(&self->irq));
}

TEST_HARNESS_MAIN
