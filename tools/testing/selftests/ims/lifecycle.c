// SPDX-License-Identifier: GPL-2.0
/*
 * The driver comes and goes, at rest and under traffic. What becomes of open files
 * then is in unbind.c.
 */
#include "expect.h"

#define REBINDS 10
#define UNDER_TRAFFIC 3
#define SOME 20
#define TRAFFIC 3

/* Does the device do what it is for? */
static bool works(void)
{
	return exists(ims_dir) && ims_delivers(0, 4);
}

/* Is nothing of the driver left? */
static bool is_gone(void)
{
	char line[1024];
	bool gone = true;
	FILE *file;

	if (exists(ims_dir) || exists(path_of("/dev/" DRIVER "/%s.*", ims_bdf)) ||
	    exists(path_of("/sys/kernel/debug/irq/domains/*IMS-%s*", ims_bdf)) ||
	    exists(path_of(PCI_DEVICES "%s/msi_irqs/*", ims_bdf)) ||
	    exists(path_of(PCI_DEVICES "%s/" DRIVER ".wq.*", ims_bdf)) ||
	    exists(path_of(PCI_DEVICES "%s/driver", ims_bdf)))
		return false;
	/* Its address is in the names of all its interrupts. */
	file = fopen("/proc/interrupts", "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (strstr(line, ims_bdf))
			gone = false;
	fclose(file);
	return gone;
}

FIXTURE(lifecycle) {
	FIXTURE_DATA(ims) ims;
	pid_t traffic[TRAFFIC];
};

FIXTURE_SETUP(lifecycle)
{
	ims_setup(_metadata, &self->ims, NULL);
}

FIXTURE_TEARDOWN(lifecycle)
{
	int err = 0;

	stop_all();
	ims_close_all();
	/* Whatever went wrong, the next test gets a device. */
	if (!exists("/sys/module/" DRIVER))
		err = ims_load("");
	else if (!exists(ims_dir))
		err = ims_bind_driver("bind");
	EXPECT_EQ(0, err);
	EXPECT_TRUE(works());
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Raises slots without end: those of @irqs, or the first ones. */
static void raise_slots(const struct ims_irq *irqs)
{
	if (!ims_page())
		pause();
	for (int i = 0;; i = (i + 1) % SOME) {
		page_write(PAGE_RAISE, irqs ? irqs[i].slot : i);
		/* Wait until the device has seen it: writes alone would flood it. */
		page_read(PAGE_MAGIC);
	}
}

/* Opens, submits and closes without end, whatever comes of it. */
static void submit(int wq, bool copy, int times, int pause_us)
{
	for (;;) {
		int file = ims_open(wq), eventfd = new_eventfd();
		struct ims_irq irq;

		if (file >= 0 && !ims_alloc(file, eventfd, &irq)) {
			for (int i = 0; i < times; i++)
				if (copy ? ims_copy(&irq, 8000) : ims_noop(&irq))
					break;
		}
		close(eventfd);
		ims_close(file);
		usleep(pause_us);
	}
}

/*
 * Starts descriptors on two work queues, @times with each file that is opened for
 * that, and raises of the slots of @irqs, or of any.
 */
static void start_traffic(struct __test_metadata *_metadata, pid_t traffic[TRAFFIC],
			  const struct ims_irq *irqs, int times, int pause_us)
{
	for (int i = 0; i < TRAFFIC; i++) {
		traffic[i] = start();
		ASSERT_LE(0, traffic[i]);
		if (traffic[i])
			continue;
		if (i == TRAFFIC - 1)
			raise_slots(irqs);
		submit(i % ims_wqs(), i, times, pause_us);
	}
	usleep(200000);
}

static void stop_traffic(pid_t traffic[TRAFFIC])
{
	for (int i = 0; i < TRAFFIC; i++)
		stop(traffic[i]);
}

TEST_F_TIMEOUT(lifecycle, bind, 60)
{
	for (int i = 0; i < REBINDS; i++) {
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		ASSERT_TRUE(is_gone());
		ASSERT_EQ(0, ims_bind_driver("bind"));
		ASSERT_TRUE(works());
		EXPECT_EQ(0, ims_counter("used"));
	}
}

/* The driver takes back what its user did not. */
TEST_F(lifecycle, unbind_in_use)
{
	struct ims_irq irqs[SOME];
	int file = ims_open(0);

	ASSERT_LE(0, file);
	for (int i = 0; i < SOME; i++)
		ASSERT_EQ(0, ims_alloc(file, i < SOME / 2 ? new_eventfd() : -1, &irqs[i]));
	ASSERT_EQ(0, ims_mask(&irqs[0]));
	ASSERT_EQ(0, ims_noop(&irqs[0]));
	ASSERT_EQ(0, ims_bind_driver("unbind"));
	EXPECT_TRUE(is_gone());
	ASSERT_EQ(0, ims_bind_driver("bind"));
	EXPECT_TRUE(works());
	ims_close(file);
}

/* Pending when it is freed, or its file closed, it is nobody's: not the next owner's either. */
TEST_F_TIMEOUT(lifecycle, pending_when_freed, 60)
{
	for (int close_it = 0; close_it < 2; close_it++) {
		struct ims_irq irq, *irqs;
		int file = ims_open(0), count, next = -1;

		ASSERT_LE(0, file);
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
		ASSERT_EQ(0, ims_mask(&irq));
		ASSERT_EQ(0, ims_noop(&irq));
		ASSERT_TRUE(wait_pending(&irq));
		if (close_it)
			ims_close(file);
		else
			ASSERT_EQ(0, ims_free(&irq));
		EXPECT_EQ(0, ims_counter("used"));
		EXPECT_EQ(0, ims_counter("stuck"));
		EXPECT_EQ(0, take(irq.eventfd));

		count = ims_alloc_all(&irqs);
		ASSERT_LT(0, count);
		for (int i = 0; i < count; i++)
			if (irqs[i].slot == irq.slot)
				next = i;
		ASSERT_LE(0, next) TH_LOG("slot %u is not in use again", irq.slot);
		ASSERT_EQ(0, ims_bind(&irqs[next], new_eventfd()));
		settle();
		EXPECT_STATE(&irqs[next], false, false);
		EXPECT_EQ(0, ims_signals(&irqs[next]));
		EXPECT_EQ(0, kernel_count(irqs[next].virq));
		free(irqs);
		ims_close_all();
	}
}

/* A file that is open across an unbind answers no more, and harms nobody. */
TEST_F(lifecycle, unbind_with_open_files)
{
	int node = ims_open(0), slots = open(path_of("%s/slots", ims_dir), O_RDONLY | O_CLOEXEC);
	int limit = open(attribute_of(0, "min"), O_RDWR | O_CLOEXEC);
	char buffer[256];

	ASSERT_LE(0, node);
	ASSERT_LE(0, slots);
	ASSERT_LE(0, limit);
	ASSERT_EQ(0, ims_bind_driver("unbind"));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(-1, ims_file_used(node));
		EXPECT_GE(0, read(slots, buffer, sizeof(buffer)));
		EXPECT_EQ(-1, pread(limit, buffer, sizeof(buffer), 0));
		EXPECT_EQ(-1, pwrite(limit, "1", 1, 0));
		if (!i)
			ASSERT_EQ(0, ims_bind_driver("bind"));
	}
	ims_close(node);
	close(slots);
	close(limit);
}

TEST_F_TIMEOUT(lifecycle, unbind_under_traffic, 60)
{
	for (int i = 0; i < UNDER_TRAFFIC; i++) {
		struct ims_irq irqs[SOME];
		int file = ims_open(0);

		ASSERT_LE(0, file);
		for (int j = 0; j < SOME; j++)
			ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irqs[j]));
		start_traffic(_metadata, self->traffic, irqs, 20, 500);
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		/* Raises that go on must not disturb a device that starts. */
		stop_traffic(self->traffic);
		EXPECT_TRUE(is_gone());
		ims_close(file);
		ASSERT_EQ(0, ims_bind_driver("bind"));
		EXPECT_TRUE(works());
		EXPECT_EQ(0, ims_counter("stuck"));
	}
}

TEST_F_TIMEOUT(lifecycle, reload, 60)
{
	if (!ims_is_module())
		SKIP(return, "not a module");
	for (int i = 0; i < REBINDS; i++) {
		ASSERT_EQ(0, ims_unload());
		ASSERT_TRUE(is_gone());
		ASSERT_EQ(0, ims_load(""));
		ASSERT_TRUE(works());
	}
}

/* The code stays as long as there is a file that could call it, also without device. */
TEST_F_TIMEOUT(lifecycle, no_reload_with_open_file, 60)
{
	struct ims_irq irq;
	int file;

	if (!ims_is_module())
		SKIP(return, "not a module");
	file = ims_open(0);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
	EXPECT_NE(0, ims_unload());
	raise_one(_metadata, &irq, 1);
	EXPECT_ARRIVED_IN_ALL(&irq, 1);
	ASSERT_EQ(0, ims_bind_driver("unbind"));
	EXPECT_NE(0, ims_unload());
	EXPECT_EQ(-ENODEV, ims_noop(&irq));

	ims_close(file);
	ASSERT_EQ(0, ims_unload());
	EXPECT_TRUE(is_gone());
	ASSERT_EQ(0, ims_load(""));
	EXPECT_TRUE(works());
}

TEST_F_TIMEOUT(lifecycle, reload_under_traffic, 60)
{
	if (!ims_is_module())
		SKIP(return, "not a module");
	for (int i = 0; i < UNDER_TRAFFIC; i++) {
		/* The module can only go in a moment in which no file is open. */
		start_traffic(_metadata, self->traffic, NULL, 2, 150000 * slow());
		ASSERT_TRUE(wait_for(!ims_unload()));
		stop_traffic(self->traffic);
		EXPECT_TRUE(is_gone());
		ASSERT_EQ(0, ims_load(""));
		EXPECT_TRUE(works());
		EXPECT_EQ(0, ims_counter("stuck"));
	}
}

TEST_HARNESS_MAIN
