// SPDX-License-Identifier: GPL-2.0
/*
 * Suspend and hibernation with live interrupts: as deep as pm_test goes; to idle, until the host
 * knocks; and to disk, where another kernel boots and restores this one. IMS_HOST is the
 * serial line where that listens: it takes a line `@@ims ask WORD NUMBER`.
 */
#include "kept.h"

#define POWER "/sys/power/"
#define MOST_INTERRUPTS 2048
#define TEST_DELAY "/sys/module/suspend/parameters/pm_test_delay"

FIXTURE(suspend) {
	FIXTURE_DATA(kept) kept;
};

/* Suspends, as far as the level goes, and resumes. */
static int sleep_and_wake(const char *state, const char *level)
{
	return write_text(POWER "pm_test", level) ?: write_text(POWER "state", state);
}

/* Has the host, which listens at @tty, do something. */
static bool host_does(const char *tty, const char *what)
{
	int fd = open(tty, O_RDWR | O_CLOEXEC);
	bool said, done = false;
	char line[64];
	FILE *file;

	if (fd < 0)
		return false;
	said = dprintf(fd, "@@ims ask %s 0\n", what) > 0;
	file = fdopen(fd, "r");
	/* Knocks are blank lines. */
	while (said && !done && fgets(line, sizeof(line), file))
		done = !strcmp(line, "ok\n");
	fclose(file);
	return done;
}

static bool has_word(const char *path, const char *word)
{
	char line[128] = "";

	return read_line(line, sizeof(line), path) && strstr(line, word);
}

FIXTURE_VARIANT(suspend) {
	const char *state;
	const char *level;
	bool offline;	/* All CPUs but one */
};

FIXTURE_VARIANT_ADD(suspend, s2idle_devices) { "freeze", "devices", false };
FIXTURE_VARIANT_ADD(suspend, s2idle_platform) { "freeze", "platform", false };
FIXTURE_VARIANT_ADD(suspend, s3_core) { "mem", "core", true };
FIXTURE_VARIANT_ADD(suspend, disk_devices) { "disk", "devices", false };
FIXTURE_VARIANT_ADD(suspend, disk_core) { "disk", "core", true };

static const char *missing_for(const char *state, const char *level)
{
	if (!has_word(POWER "state", state))
		return state;
	if (!has_word(POWER "pm_test", level))
		return "CONFIG_PM_DEBUG";
	return NULL;
}

FIXTURE_SETUP(suspend)
{
	kept_setup(_metadata, &self->kept, NULL);
}

FIXTURE_TEARDOWN(suspend)
{
	write_text(POWER "pm_test", "none");
	kept_teardown(_metadata, &self->kept, NULL);
}

TEST_F_TIMEOUT(suspend, keeps_all, 60)
{
	const char *missing = missing_for(variant->state, variant->level);

	if (missing)
		SKIP(return, "there is no %s", missing);
	write_text(TEST_DELAY, "0");
	hold(_metadata, &self->kept.kept);
	ASSERT_EQ(0, sleep_and_wake(variant->state, variant->level));
	/* The kernel does not bring an interrupt back to a CPU that was offline. */
	if (!variant->offline)
		EXPECT_EQ(self->kept.kept.cpu, cpu_of(&self->kept.kept.moved));
	expect_kept(_metadata, &self->kept.kept);
}

FIXTURE(asleep) {
	FIXTURE_DATA(kept) kept;
};

FIXTURE_SETUP(asleep)
{
	kept_setup(_metadata, &self->kept, NULL);
}

FIXTURE_TEARDOWN(asleep)
{
	kept_teardown(_metadata, &self->kept, NULL);
}

TEST_F_TIMEOUT(asleep, in_s2idle, 60)
{
	const char *host = getenv("IMS_HOST"), *wakeup;

	if (!host)
		SKIP(return, "there is nobody to wake this machine");
	wakeup = path_of("/sys/class/tty/%s/power/wakeup", basename(host));
	ASSERT_EQ(0, write_text(wakeup, "enabled"));
	hold(_metadata, &self->kept.kept);
	ASSERT_TRUE(host_does(host, "knock"));
	ASSERT_EQ(0, sleep_and_wake("freeze", "none"));
	ASSERT_TRUE(host_does(host, "silence"));
	EXPECT_EQ(self->kept.kept.cpu, cpu_of(&self->kept.kept.moved));
	expect_kept(_metadata, &self->kept.kept);
}

/* While the interrupts have more vectors than one CPU, the others cannot go offline. */
TEST_F_TIMEOUT(asleep, not_without_vectors, 60)
{
	const char *missing = missing_for("mem", "core");
	static struct ims_irq irqs[MOST_INTERRUPTS];
	int file = ims_open(0), count = 0, err;

	if (missing)
		SKIP(return, "there is no %s", missing);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "there is one CPU");
	while (!(err = ims_alloc(file, new_eventfd(), &irqs[count])))
		ASSERT_GT(MOST_INTERRUPTS, ++count);
	ASSERT_EQ(-ENOSPC, err);
	if (ims_alloc(file, -1, &irqs[count]))
		SKIP(return, "there is a vector for each of %d interrupts", count);
	ASSERT_EQ(0, ims_free(&irqs[count]));

	EXPECT_EQ(-ENOSPC, sleep_and_wake("mem", "core"));
	for (int i = 0; i < count; i++)
		raise_one(_metadata, &irqs[i], 1);
	for (int i = 1; i < count; i++)
		ASSERT_EQ(0, ims_free(&irqs[i]));
	EXPECT_EQ(0, sleep_and_wake("mem", "core"));
	raise_one(_metadata, &irqs[0], 2);
	EXPECT_ARRIVED_IN_ALL(&irqs[0], 2);
}

/* The kernel's line has to say resume=. */
TEST_F_TIMEOUT(asleep, on_disk, 120)
{
	char line[128];

	if (!getenv("IMS_HOST"))
		SKIP(return, "nobody has said that this machine may reboot");
	if (!has_word(POWER "state", "disk") || !read_line(line, sizeof(line), POWER "resume") ||
	    !strcmp(line, "0:0"))
		SKIP(return, "there is nothing to hibernate to");
	ASSERT_EQ(0, write_text(POWER "disk", "reboot"));
	hold(_metadata, &self->kept.kept);
	ASSERT_EQ(0, sleep_and_wake("disk", "none"));
	EXPECT_LT(0, page_read(PAGE_RESETS)) TH_LOG("the device was not reset");
	expect_kept(_metadata, &self->kept.kept);
}

TEST_HARNESS_MAIN
