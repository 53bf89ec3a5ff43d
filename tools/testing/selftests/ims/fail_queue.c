// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation fails once, of the sample driver: it allocates a block of interrupts, and
 * its messages are in host memory. IMS_SAMPLE_MODULE names the module.
 */
#define IMS_SAMPLE
#include "fail.h"

static int load(void)
{
	return load_module("");
}

static int prepare_load(void)
{
	ims_unload();
	return set_autoprobe(false) ?: read_module();
}

static int prepare_unbound(void)
{
	return prepare_load() ?: load();
}

static int prepare_bound(void)
{
	return prepare_unbound() ?: bind_device();
}

static int tell(const char *command)
{
	return write_text(path_of("%s/control", ims_dir), command);
}

/* The interrupt of the first queue, or -1. */
static int first_irq(void)
{
	FILE *interrupts = fopen("/proc/interrupts", "re");
	char line[1024];
	int virq = -1;

	while (interrupts && virq < 0 && fgets(line, sizeof(line), interrupts))
		if (strstr(line, path_of(DRIVER "-%s-queue0\n", ims_bdf)))
			virq = atoi(line);
	if (interrupts)
		fclose(interrupts);
	return virq;
}

/*
 * Without its directory in debugfs, which may not have been made, nothing can be told, and
 * without that of the interrupt nothing is counted.
 */
static bool rings(void)
{
	int virq = first_irq();
	uint64_t before = kernel_count(virq);

	if (virq < 0)
		return false;
	return !exists(path_of("%s/control", ims_dir)) ||
	       !exists(path_of("/sys/kernel/irq/%d", virq)) ||
	       (!tell("ring 0") && wait_for(kernel_count(virq) == before + 1));
}

/* The core only says in the log that it could not make a driver's files to bind and unbind. */
static bool module_works(void)
{
	return !exists("/sys/bus/pci/drivers/" DRIVER "/bind") ||
	       (!bind_device() && rings() && !unbind_device());
}

static int mask_queue(void)
{
	return tell("mask 0");
}

static int unmask_queue(void)
{
	return tell("unmask 0");
}

static int read_slots(void)
{
	return read_all(path_of("%s/slots", ims_dir));
}

FIXTURE(fail) {
	int kmsg;
};

FIXTURE_VARIANT(fail) {
	struct operation operation;
};

/* As in fail.c. The block is ENOSPC as well if one of its interrupts cannot be had. */
FIXTURE_VARIANT_ADD(fail, load_module) {
	.operation = {
		.prepare = prepare_load, .run = load, .undo = unload_module,
		.usable = module_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -EINVAL },
	},
};

FIXTURE_VARIANT_ADD(fail, bind_device) {
	.operation = {
		.prepare = prepare_unbound, .run = bind_device,
		.undo = unbind_device,
		.usable = rings, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -EBUSY, -ENODEV, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, unbind_device) {
	.operation = {
		.prepare = prepare_bound, .run = unbind_device,
		.undo = bind_device,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, mask) {
	.operation = {
		.prepare = prepare_bound, .run = mask_queue, .undo = unmask_queue,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, read_slots) {
	.operation = {
		.prepare = prepare_bound, .run = read_slots, .undo = nothing,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_SETUP(fail)
{
	const char *module = getenv("IMS_SAMPLE_MODULE");

	if (!module)
		SKIP(return, "IMS_SAMPLE_MODULE does not name the module");
	setenv("IMS_MODULE", module, true);
	if (!ims_find())
		ASSERT_EQ(0, ims_load(""));
	if (!ims_find())
		SKIP(return, "no device");
	self->kmsg = open_log();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, set_up_injection());
}

FIXTURE_TEARDOWN(fail)
{
	ims_unload();
	EXPECT_EQ(0, set_autoprobe(true));
	EXPECT_EQ(0, ims_load(""));
	EXPECT_TRUE(rings());
	if (!only_nth())
		EXPECT_TRUE(log_is_clean(_metadata, self->kmsg));
}

TEST_F_TIMEOUT(fail, each_allocation, 600)
{
	fail_each(_metadata, &variant->operation);
}

int main(int argc, char **argv)
{
	need_injection();
	return test_harness_run(argc, argv);
}
