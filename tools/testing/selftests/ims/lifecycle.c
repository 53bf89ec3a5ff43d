// SPDX-License-Identifier: GPL-2.0
/*
 * The driver comes and goes, at rest and under traffic.
 */
#include "ims.h"

#define REBINDS 10
#define UNDER_TRAFFIC 3

static int bind_driver(const char *what)
{
	return write_text(path_of("/sys/bus/pci/drivers/" DRIVER "/%s", what), ims_bdf);
}

/* Does the device do what it is for? */
static bool works(void)
{
	uint64_t before;

	if (!exists(ims_dir))
		return false;
	before = ims_irq(0).handled;
	return !ims_control("noop 0 0") && wait_for(ims_irq(0).handled == before + 1) &&
	       !ims_control("memmove 0 0 500") && wait_for(ims_irq(0).handled == before + 2);
}

/* Is nothing of the driver left? */
static bool is_gone(void)
{
	char line[1024];
	bool gone = true;
	FILE *file;

	if (exists(ims_dir) || exists(path_of("/sys/kernel/debug/irq/domains/*IMS-%s*", ims_bdf)) ||
	    exists(path_of(PCI_DEVICES "%s/msi_irqs/*", ims_bdf)) ||
	    exists(path_of(PCI_DEVICES "%s/driver", ims_bdf)))
		return false;
	file = fopen("/proc/interrupts", "r");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (strstr(line, ims_bdf) || strstr(line, "idxd-ims"))
			gone = false;
	fclose(file);
	return gone;
}

FIXTURE(lifecycle) {
	FIXTURE_DATA(ims) ims;
	pid_t traffic[3];
};

FIXTURE_SETUP(lifecycle)
{
	ims_setup(_metadata, &self->ims, NULL);
}

FIXTURE_TEARDOWN(lifecycle)
{
	int err = 0;

	/* Whatever went wrong, the next test gets a device. */
	if (!exists("/sys/module/" DRIVER))
		err = ims_load();
	else if (!exists(ims_dir))
		err = bind_driver("bind");
	EXPECT_EQ(0, err);
	EXPECT_TRUE(works());
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Raises slots without end, those of the driver's interrupts 0 to @count - 1. */
static void raise_slots(int count)
{
	if (!ims_page())
		_exit(0);
	for (int i = 0;; i = (i + 1) % count) {
		page_write(PAGE_RAISE, i);
		/* Wait until the device has seen it: writes alone would flood it. */
		page_read(PAGE_MAGIC);
	}
}

/* Starts descriptors on two work queues, and raises of the slots behind them. */
static void start_traffic(struct __test_metadata *_metadata, pid_t traffic[3], int count)
{
	static const char * const commands[] = { "noop 0 0 20", "memmove 1 1 8000" };

	for (int i = 0; i < 3; i++) {
		traffic[i] = start();
		ASSERT_LE(0, traffic[i]);
		if (traffic[i])
			continue;
		if (i == 2)
			raise_slots(count);
		for (;;)
			ims_control("%s", commands[i]);
	}
	usleep(200000);
}

static void stop_traffic(pid_t traffic[3])
{
	for (int i = 0; i < 3; i++)
		stop(traffic[i]);
}

TEST_F_TIMEOUT(lifecycle, bind, 60)
{
	for (int i = 0; i < REBINDS; i++) {
		ASSERT_EQ(0, bind_driver("unbind"));
		ASSERT_TRUE(is_gone());
		ASSERT_EQ(0, bind_driver("bind"));
		ASSERT_TRUE(works());
		EXPECT_EQ(self->ims.used, ims_counter("used"));
	}
}

/* The driver takes back what its user did not. */
TEST_F(lifecycle, unbind_in_use)
{
	int first = ims_alloc(20);

	ASSERT_LE(0, first);
	ASSERT_EQ(0, ims_control("request %d 10", first));
	ASSERT_EQ(0, ims_control("mask %d", first));
	ASSERT_EQ(0, ims_control("noop 0 %d", first));
	ASSERT_EQ(0, bind_driver("unbind"));
	EXPECT_TRUE(is_gone());
	ASSERT_EQ(0, bind_driver("bind"));
	EXPECT_TRUE(works());
}

/* Freed while pending, a slot serves nobody until the device is reset. */
TEST_F(lifecycle, stale_slot_until_rebind)
{
	int irq = ims_alloc(1), slot = ims_irq(irq).slot, other;

	ASSERT_LE(0, irq);
	ASSERT_EQ(0, ims_control("request %d", irq));
	ASSERT_EQ(0, ims_control("mask %d", irq));
	ASSERT_EQ(0, ims_control("noop 0 %d", irq));
	ASSERT_EQ(0, ims_control("free %d", irq));
	EXPECT_EQ(1, ims_counter("stale"));
	other = ims_alloc(1);
	ASSERT_LE(0, other);
	EXPECT_NE(slot, ims_irq(other).slot);

	ASSERT_EQ(0, bind_driver("unbind"));
	ASSERT_EQ(0, bind_driver("bind"));
	EXPECT_EQ(0, ims_counter("stale"));
	irq = ims_alloc(1);
	ASSERT_LE(0, irq);
	EXPECT_EQ(slot, ims_irq(irq).slot);
}

/* A file that is open across an unbind answers no more, and harms nobody. */
TEST_F(lifecycle, unbind_with_open_files)
{
	int control = open(path_of("%s/control", ims_dir), O_WRONLY);
	int slots = open(path_of("%s/slots", ims_dir), O_RDONLY);
	char buffer[256];

	ASSERT_LE(0, control);
	ASSERT_LE(0, slots);
	ASSERT_EQ(0, bind_driver("unbind"));
	EXPECT_EQ(-1, write(control, "noop 0 0", 8));
	EXPECT_GE(0, read(slots, buffer, sizeof(buffer)));
	ASSERT_EQ(0, bind_driver("bind"));
	EXPECT_EQ(-1, write(control, "noop 0 0", 8));
	close(control);
	close(slots);
}

TEST_F_TIMEOUT(lifecycle, unbind_under_traffic, 60)
{
	for (int i = 0; i < UNDER_TRAFFIC; i++) {
		start_traffic(_metadata, self->traffic, self->ims.used);
		ASSERT_EQ(0, bind_driver("unbind"));
		/* Raises that go on must not disturb a device that starts. */
		stop_traffic(self->traffic);
		EXPECT_TRUE(is_gone());
		ASSERT_EQ(0, bind_driver("bind"));
		EXPECT_TRUE(works());
		EXPECT_EQ(0, ims_counter("stale"));
	}
}

TEST_F_TIMEOUT(lifecycle, reload, 60)
{
	if (!exists("/sys/module/" DRIVER "/initstate"))
		SKIP(return, "not a module");
	for (int i = 0; i < REBINDS; i++) {
		ASSERT_EQ(0, ims_unload());
		ASSERT_TRUE(is_gone());
		ASSERT_EQ(0, ims_load());
		ASSERT_TRUE(works());
	}
}

TEST_F_TIMEOUT(lifecycle, reload_under_traffic, 60)
{
	if (!exists("/sys/module/" DRIVER "/initstate"))
		SKIP(return, "not a module");
	for (int i = 0; i < UNDER_TRAFFIC; i++) {
		start_traffic(_metadata, self->traffic, self->ims.used);
		/* An open file may hold the module for a moment. */
		ASSERT_TRUE(wait_for(!ims_unload()));
		stop_traffic(self->traffic);
		EXPECT_TRUE(is_gone());
		ASSERT_EQ(0, ims_load());
		EXPECT_TRUE(works());
		EXPECT_EQ(0, ims_counter("stale"));
	}
}

TEST_HARNESS_MAIN
