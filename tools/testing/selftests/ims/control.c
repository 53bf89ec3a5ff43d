// SPDX-License-Identifier: GPL-2.0
/*
 * What `control` refuses, and that it leaves nothing behind.
 */
#include "ims.h"

FIXTURE(control) {
	FIXTURE_DATA(ims) ims;
	int irq;
};

/* Allocated, but not requested. */
FIXTURE_SETUP(control)
{
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->irq = ims_alloc(1);
	ASSERT_LE(0, self->irq);
}

FIXTURE_TEARDOWN(control)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

TEST_F(control, malformed)
{
	static const char * const commands[] = {
		"", " ", "\n", "nonsense", "nonsense 1", "ALLOC 1", "alloc", "alloc 1 1",
		"alloc x", "alloc 1x", "alloc -1", "alloc 1.5", "alloc 0x1", "alloc 0",
		"alloc 65537", "alloc 18446744073709551616", "alloc 1 2 3 4",
		"request", "request 0 0", "request 0 65537", "request 18446744073709551615",
		"release", "release 0 0", "free", "free 0 0", "free 0 1 1",
		"mask", "mask 0 1", "unmask", "unmask 0 1",
		"noop", "noop 0", "noop 0 0 0", "noop 0 0 65537", "noop 0 0 1 1",
		"memmove", "memmove 0 0", "memmove 0 0 0", "memmove 0 0 8193",
		"alloc \xff", "\xc3\x28", "alloc,1",
	};
	int64_t handled = ims_irq(0).handled;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		EXPECT_EQ(-EINVAL, ims_control("%s", commands[i]))
			TH_LOG("command '%s'", commands[i]);
	}
	EXPECT_EQ(self->ims.used + 1, ims_counter("used"));
	settle();
	EXPECT_EQ(handled, ims_irq(0).handled);
}

TEST_F(control, length)
{
	char command[4096];
	const char *path = path_of("%s/control", ims_dir);

	memset(command, ' ', sizeof(command));
	memcpy(command, "mask 0", 6);
	EXPECT_EQ(-EINVAL, write_bytes(path, command, 65));
	EXPECT_EQ(-EINVAL, write_bytes(path, command, sizeof(command)));

	/* 64 bytes are a command, and a zero is not part of one. */
	memcpy(command, "unmask 0", 8);
	EXPECT_EQ(0, write_bytes(path, command, 64));
	EXPECT_EQ(-EINVAL, write_bytes(path, "unmask 0", 9));
	EXPECT_EQ(0, write_text(path, "\tunmask  0\n"));
}

TEST_F(control, no_such_number)
{
	static const char * const verbs[] = { "request", "release", "free", "mask", "unmask" };
	static const char * const numbers[] = { "65535", "4294967296", "18446744073709551614" };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(verbs); j++) {
			EXPECT_EQ(-ENOENT, ims_control("%s %s", verbs[j], numbers[i]))
				TH_LOG("%s %s", verbs[j], numbers[i]);
		}
		EXPECT_EQ(-ENOENT, ims_control("noop 0 %s", numbers[i]));
		EXPECT_EQ(-ENOENT, ims_control("noop %s 0", numbers[i]));
		EXPECT_EQ(-ENOENT, ims_control("memmove 0 %s 64", numbers[i]));
		EXPECT_EQ(-ENOENT, ims_control("memmove %s 0 64", numbers[i]));
	}
	/* All of a range must be numbers, or none of it is done. */
	EXPECT_EQ(-ENOENT, ims_control("request %d 2", self->irq));
	EXPECT_FALSE(ims_irq(self->irq).requested);

	EXPECT_EQ(0, ims_control("free %d", self->irq));
	EXPECT_EQ(-ENOENT, ims_control("free %d", self->irq));
	EXPECT_EQ(-ENOENT, ims_control("request %d", self->irq));
	EXPECT_EQ(-ENOENT, ims_control("mask %d", self->irq));
	EXPECT_EQ(-ENOENT, ims_control("noop 0 %d", self->irq));
}

TEST_F(control, wrong_state)
{
	EXPECT_EQ(-EINVAL, ims_control("release %d", self->irq));
	EXPECT_EQ(-EINVAL, ims_control("mask %d", self->irq));
	EXPECT_EQ(-EINVAL, ims_control("unmask %d", self->irq));
	EXPECT_EQ(-EINVAL, ims_control("noop 0 %d", self->irq));
	EXPECT_EQ(-EINVAL, ims_control("memmove 0 %d 64", self->irq));

	EXPECT_EQ(0, ims_control("request %d", self->irq));
	EXPECT_EQ(-EBUSY, ims_control("request %d", self->irq));
	EXPECT_TRUE(ims_irq(self->irq).requested);

	/* It is as good as before. */
	EXPECT_EQ(0, ims_control("memmove 0 %d 8192", self->irq));
	EXPECT_TRUE(wait_for(ims_irq(self->irq).handled == 1));
	EXPECT_EQ(0, ims_control("memmove 0 %d 1", self->irq));
	EXPECT_TRUE(wait_for(ims_irq(self->irq).handled == 2));

	EXPECT_EQ(0, ims_control("release %d", self->irq));
	EXPECT_EQ(-EINVAL, ims_control("release %d", self->irq));
}

/* A range is done up to the first that fails. */
TEST_F(control, range)
{
	int first = ims_alloc(4);

	ASSERT_LE(0, first);
	EXPECT_EQ(0, ims_control("request %d", first + 2));
	EXPECT_EQ(-EBUSY, ims_control("request %d 4", first));
	EXPECT_TRUE(ims_irq(first).requested);
	EXPECT_TRUE(ims_irq(first + 1).requested);
	EXPECT_FALSE(ims_irq(first + 3).requested);
	EXPECT_EQ(-EINVAL, ims_control("release %d 4", first));
	EXPECT_FALSE(ims_irq(first + 2).requested);
	EXPECT_EQ(0, ims_control("free %d 4", first));
	EXPECT_EQ(self->ims.used + 1, ims_counter("used"));
}

TEST_F(control, no_errors_of_the_device)
{
	int64_t errors = ims_counter("errors"), halts = ims_counter("halts");

	EXPECT_EQ(0, ims_control("request %d", self->irq));
	EXPECT_EQ(0, ims_control("noop 0 %d 10", self->irq));
	EXPECT_EQ(0, ims_control("release %d", self->irq));
	EXPECT_EQ(errors, ims_counter("errors"));
	EXPECT_EQ(halts, ims_counter("halts"));
}

TEST_HARNESS_MAIN
