// SPDX-License-Identifier: GPL-2.0
/*
 * Suspend with live interrupts, as deep as pm_test goes: nothing wakes a guest.
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

TEST_HARNESS_MAIN
