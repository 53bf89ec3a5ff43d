// SPDX-License-Identifier: GPL-2.0
/*
 * Suspend with live interrupts: as deep as pm_test goes, and to idle until the host knocks.
 * IMS_HOST is the serial line where that listens: it takes a line `@@ims ask WORD NUMBER`.
 */
#include "kept.h"

#define POWER "/sys/power/"
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

FIXTURE(idle) {
	FIXTURE_DATA(kept) kept;
};

FIXTURE_SETUP(idle)
{
	kept_setup(_metadata, &self->kept, NULL);
}

FIXTURE_TEARDOWN(idle)
{
	kept_teardown(_metadata, &self->kept, NULL);
}

TEST_F_TIMEOUT(idle, keeps_all, 60)
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

TEST_HARNESS_MAIN
