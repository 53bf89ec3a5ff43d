// SPDX-License-Identifier: GPL-2.0
/*
 * Surprise removal at any register: after N more reads the device reads all ones and
 * takes no writes, for each N of binding, of use, of a reset and of unbinding. Calls
 * fail in time and in a documented way, everything comes down in order, and a device
 * that is there again binds again.
 */
#include "expect.h"

/* The driver waits so long for the device. */
#define TIMEOUT_MS (300 * slow())
#define PARAMETERS path_of("wqs=2 timeout_ms=%d", TIMEOUT_MS)

/* No call waits for more than a command and a descriptor. */
#define CALL_MS (3 * TIMEOUT_MS + 2000)

/* What the log may get of one that is gone. */
#define MOST_LINES 10

/* Reading all slots, the driver is at the same place all the time. */
#define FIRST_SLOT_READ 12
#define SLOT_READS_STEP 50

/* Nothing takes so many more reads than there are slots. */
#define MORE_READS 200

/* The device's, and what the log has got. */
static uint32_t *registers;
static int kmsg;

FIXTURE(surprise) {
	FIXTURE_DATA(ims) ims;
};

FIXTURE_SETUP(surprise)
{
	size_t size;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	if (!ims_page())
		SKIP(return, "no test page");
	if (!ims_is_module())
		SKIP(return, "not a module");
	registers = ims_map(0, &size);
	ASSERT_NE(NULL, registers);
	kmsg = open_log();
	ASSERT_EQ(0, ims_unload());
	ASSERT_EQ(0, ims_load(PARAMETERS));
}

FIXTURE_TEARDOWN(surprise)
{
	ims_break(FAULT_NONE, 0);
	ims_close_all();
	ims_unload();
	EXPECT_EQ(0, ims_load(""));
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Reads VERSION: was the device there up to now? */
static bool is_there(void)
{
	return __atomic_load_n(registers, __ATOMIC_RELAXED) != UINT32_MAX;
}

static void leave_after(int reads)
{
	ims_break(FAULT_ALL_ONES_AFTER, reads);
}

/* How many lines the log has got, since the last call, about the device. */
static int new_lines(void)
{
	char record[8192];
	int lines = 0;

	for (;;) {
		ssize_t len = read(kmsg, record, sizeof(record) - 1);

		if (len < 0 && errno == EPIPE)
			return INT_MAX;
		if (len <= 0)
			return lines;
		record[len] = '\0';
		lines += !!strstr(record, ims_bdf);
	}
}

/* Nothing of the driver is left at the device, and the log is short. */
static void expect_down(struct __test_metadata *_metadata, int reads)
{
	int lines = new_lines();

	EXPECT_FALSE(exists(ims_dir)) TH_LOG("after %d reads", reads);
	EXPECT_FALSE(exists(path_of("/dev/" DRIVER "/%s.*", ims_bdf)));
	EXPECT_FALSE(exists(path_of(PCI_DEVICES "%s/msi_irqs/*", ims_bdf)));
	EXPECT_FALSE(exists(path_of("/sys/kernel/debug/irq/domains/*IMS-%s*", ims_bdf)));
	EXPECT_GE(MOST_LINES, lines) TH_LOG("%d lines in the log after %d reads", lines, reads);
}

/* There again, it binds and works. */
static void expect_back(struct __test_metadata *_metadata, int reads)
{
	ims_break(FAULT_NONE, 0);
	ASSERT_EQ(0, ims_bind_driver("bind")) TH_LOG("after %d reads", reads);
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stuck"));
	ASSERT_TRUE(ims_delivers(0, 1)) TH_LOG("after %d reads", reads);
	new_lines();
}

static int most_reads(void)
{
	return page_read(PAGE_SLOTS) + MORE_READS;
}

static int next(int reads)
{
	int slots = page_read(PAGE_SLOTS), far = reads + SLOT_READS_STEP;

	return reads >= FIRST_SLOT_READ && far < FIRST_SLOT_READ + slots ? far : reads + 1;
}

TEST_F_TIMEOUT(surprise, while_it_binds, 60)
{
	bool there = false;
	int tries = 0;

	ASSERT_EQ(0, ims_bind_driver("unbind"));
	for (int reads = 0; !there && reads < most_reads(); reads = next(reads), tries++) {
		uint64_t start = now_ms();
		int err;

		leave_after(reads);
		err = ims_bind_driver("bind");
		there = !err && is_there();
		if (err) {
			EXPECT_TRUE(err == -EIO || err == -ETIMEDOUT || err == -EOPNOTSUPP)
				TH_LOG("%s after %d reads", strerror(-err), reads);
		} else {
			EXPECT_EQ(0, ims_bind_driver("unbind"));
		}
		EXPECT_GT(CALL_MS, now_ms() - start) TH_LOG("after %d reads", reads);
		expect_down(_metadata, reads);
	}
	EXPECT_TRUE(there);
	TH_LOG("%d tries", tries);
	expect_back(_metadata, -1);
}

/* How far one came: the device fails, but in no other way than this. */
static bool call(struct __test_metadata *_metadata, const char *name, int err, uint64_t *since)
{
	uint64_t now = now_ms();

	EXPECT_TRUE(!err || err == -EIO || err == -ETIMEDOUT || err == -ENODEV)
		TH_LOG("%s: %s", name, strerror(-err));
	EXPECT_GT(CALL_MS, now - *since) TH_LOG("%s took %d ms", name, (int)(now - *since));
	*since = now_ms();
	return !err;
}

/* All that one can do with a work queue. Returns whether all of it worked. */
static bool use(struct __test_metadata *_metadata, int file)
{
	uint64_t now = now_ms();
	struct idxd_ims_query query;
	struct ims_irq bound = {}, unbound = {};
	struct idxd_ims_state state;
	struct ims_slot slot;
	bool good = true;

#define CALL(name, ...)								\
({										\
	bool worked = call(_metadata, #name, ims_##name(__VA_ARGS__), &now);	\
										\
	good &= worked;								\
	worked;									\
})
	CALL(query, file, &query);
	if (CALL(alloc, file, new_eventfd(), &bound)) {
		CALL(noop, &bound);
		CALL(copy, &bound, 5000);
		CALL(mask, &bound);
		CALL(noop, &bound);
		ims_slot(bound.slot, &slot);
		CALL(state, &bound, &state);
		CALL(unmask, &bound);
		CALL(bind, &bound, -1);
		if (CALL(bind, &bound, new_eventfd()))
			CALL(noop, &bound);
	}
	if (CALL(alloc, file, -1, &unbound)) {
		page_write(PAGE_RAISE, unbound.slot);
		CALL(bind, &unbound, new_eventfd());
		CALL(free, &unbound);
	}
	if (bound.file)
		CALL(free, &bound);
#undef CALL
	return good;
}

TEST_F_TIMEOUT(surprise, while_it_is_used, 120)
{
	bool there = false;
	int tries = 0;

	for (int reads = 0; !there && reads < most_reads(); reads++, tries++) {
		int file = ims_open(0);
		bool good;

		ASSERT_LE(0, file);
		leave_after(reads);
		good = use(_metadata, file);
		there = is_there();
		EXPECT_TRUE(good || !there);
		if (reads & 1)
			ims_close(file);
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		expect_down(_metadata, reads);
		expect_back(_metadata, reads);
		ims_close(file);
	}
	EXPECT_TRUE(there);
	TH_LOG("%d tries", tries);
}

/* Interrupts in all states, and a file that is closed later. */
static int hold(struct __test_metadata *_metadata)
{
	struct ims_irq irqs[4];
	int file = ims_open(1);

	for (int i = 0; i < ARRAY_SIZE(irqs); i++)
		EXPECT_EQ(0, ims_alloc(file, i ? new_eventfd() : -1, &irqs[i]));
	EXPECT_EQ(0, ims_mask(&irqs[1]));
	EXPECT_EQ(0, ims_mask(&irqs[2]));
	page_write(PAGE_RAISE, irqs[0].slot);
	page_write(PAGE_RAISE, irqs[2].slot);
	return file;
}

TEST_F_TIMEOUT(surprise, while_it_is_unbound, 60)
{
	bool there = false;
	int tries = 0;

	for (int reads = 0; !there && reads < most_reads(); reads++, tries++) {
		int file = hold(_metadata);
		uint64_t start;

		leave_after(reads);
		start = now_ms();
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		EXPECT_GT(CALL_MS, now_ms() - start) TH_LOG("after %d reads", reads);
		there = is_there();
		expect_down(_metadata, reads);
		EXPECT_EQ(-1, ims_file_used(file));
		expect_back(_metadata, reads);
		ims_close(file);
	}
	EXPECT_TRUE(there);
	TH_LOG("%d tries", tries);
}

/* What is in use stays, and works when the device is reset while it is there. */
TEST_F_TIMEOUT(surprise, while_it_is_reset, 60)
{
	struct ims_irq irq, masked;
	int file = ims_open(0), tries = 0;
	bool there = false;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &masked));
	ASSERT_EQ(0, ims_mask(&masked));
	for (int reads = 0; !there && reads < most_reads(); reads = next(reads)) {
		uint64_t start = now_ms();
		int lines;

		leave_after(reads);
		ims_reset();
		EXPECT_GT(CALL_MS, now_ms() - start) TH_LOG("after %d reads", reads);
		there = is_there();
		lines = new_lines();
		EXPECT_GE(MOST_LINES, lines) TH_LOG("%d lines after %d reads", lines, reads);
		if (!there)
			EXPECT_NE(0, ims_noop(&irq)) TH_LOG("after %d reads", reads);

		ims_break(FAULT_NONE, 0);
		if (!there)
			ASSERT_EQ(0, ims_reset());
		raise_one(_metadata, &irq, ++tries);
		EXPECT_STATE(&masked, true, false);
		new_lines();
	}
	EXPECT_TRUE(there);
	TH_LOG("%d tries", tries);
	raise_one(_metadata, &irq, ++tries);
	EXPECT_ARRIVED_IN_ALL(&irq, tries);
	ASSERT_EQ(0, ims_unmask(&masked));
	raise_one(_metadata, &masked, 1);
	EXPECT_ARRIVED_IN_ALL(&masked, 1);
	ims_close(file);
}

/* A subdevice that comes and goes takes the device's commands. */
TEST_F_TIMEOUT(surprise, while_a_subdevice_is_unbound, 60)
{
	char name[64];
	bool there = false;

	for (int reads = 0; !there && reads < most_reads(); reads++) {
		int file = hold(_metadata);

		snprintf(name, sizeof(name), "%s", subdevice_of(1));
		ASSERT_STRNE("", name);
		leave_after(reads);
		EXPECT_EQ(0, bind_subdevice("unbind", name));
		EXPECT_EQ(0, bind_subdevice("bind", name));
		there = is_there();
		EXPECT_EQ(-1, ims_file_used(file));
		ims_close(file);
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		expect_down(_metadata, reads);
		expect_back(_metadata, reads);
	}
	EXPECT_TRUE(there);
}

TEST_F_TIMEOUT(surprise, unload, 60)
{
	for (int reads = 0; reads < 3; reads++) {
		ims_close(hold(_metadata));
		leave_after(reads);
		ASSERT_EQ(0, ims_unload());
		expect_down(_metadata, reads);
		ims_break(FAULT_NONE, 0);
		ASSERT_EQ(0, ims_load(PARAMETERS));
		ASSERT_TRUE(ims_delivers(0, 1));
		ASSERT_TRUE(ims_delivers(1, 1));
	}
}

TEST_HARNESS_MAIN
