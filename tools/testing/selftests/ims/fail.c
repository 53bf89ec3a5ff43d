// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation fails once: of the module, of the driver's probe and of its subdevices',
 * of all calls, attributes and debugfs. Nothing is left behind, and the next try succeeds.
 */
#include <sys/sysmacros.h>

#include "fail.h"
#include "work.h"

/* What operations work on. */
static int file = -1;
static int eventfds[2];
static struct ims_irq irq;
static const char *subdevice = "";

/* ---- The module, the device, the subdevice ---- */

static int load(void)
{
	return load_module("wqs=1");
}

/* As the last test may have left anything, from the beginning. */
static int prepare_load(void)
{
	ims_unload();
	return set_autoprobe(false) ?: read_module();
}

static int prepare_unbound(void)
{
	return prepare_load() ?: load();
}

static int prepare_subdevice(void)
{
	int err = prepare_unbound() ?: bind_device();

	subdevice = strdup(subdevice_of(0));
	return err;
}

static int bind_wq(void)
{
	return bind_subdevice("bind", subdevice);
}

static int unbind_wq(void)
{
	return bind_subdevice("unbind", subdevice);
}

static int prepare_bound(void)
{
	return prepare_subdevice() ?: bind_wq();
}

/*
 * The core does not say that it could not make a node in /dev. So this opens the work
 * queue by another one.
 */
static int open_by_number(void)
{
	const char *path = path_of("/tmp/" DRIVER ".%d", getpid());
	unsigned int major_number, minor_number;
	char line[32];
	int opened;

	if (!read_line(line, sizeof(line),
		       path_of("/sys/class/misc/" DRIVER "!%s.wq0/dev", ims_bdf)) ||
	    sscanf(line, "%u:%u", &major_number, &minor_number) != 2 ||
	    mknod(path, S_IFCHR | 0600, makedev(major_number, minor_number)))
		return -ENODEV;
	opened = open(path, O_RDWR | O_CLOEXEC);
	unlink(path);
	return opened;
}

/* Does a file deliver an interrupt? */
static bool delivers(int opened)
{
	struct ims_irq other;
	bool good;

	if (opened < 0 || ims_alloc(opened, new_eventfd(), &other))
		return false;
	good = !ims_noop(&other) && wait_for(ims_signals(&other) == 1) && !ims_free(&other);
	close(other.eventfd);
	return good;
}

static bool wq_works(void)
{
	int opened = open_by_number();
	bool good = delivers(opened);

	close(opened);
	return good;
}

/*
 * Nor does the core say that it left a node in /dev, which then leads to nothing. A name
 * with a directory takes memory to remove.
 */
static bool leaves_no_device(void)
{
	int opened = ims_open(0);

	if (opened != -ENOENT) {
		unlink(node_of(0));
		rmdir("/dev/" DRIVER);
	}
	return opened == -ENOENT || opened == -ENODEV;
}

static bool device_works(void)
{
	bool good;

	subdevice = subdevice_of(0);
	good = !bind_wq() && wq_works();
	return good && !unbind_wq();
}

/* The core only says in the log that it could not make a driver's files to bind and unbind. */
static bool module_works(void)
{
	if (!exists("/sys/bus/pci/drivers/" DRIVER "/bind"))
		return true;
	return !bind_device() && (!exists(SUBDEVICE_DRIVER "/bind") || device_works()) &&
	       !unbind_device();
}

static int unload_with_device(void)
{
	return unload_module();
}

static int load_with_device(void)
{
	int err = load() ?: bind_device();

	subdevice = subdevice_of(0);
	return err ?: bind_wq();
}

/* ---- Open files ---- */

static int open_file(void)
{
	file = ims_open(0);
	return file < 0 ? file : 0;
}

static int close_file(void)
{
	ims_close(file);
	return 0;
}

static int prepare_file(void)
{
	int err = prepare_bound() ?: open_file();

	for (size_t i = 0; i < ARRAY_SIZE(eventfds); i++)
		eventfds[i] = new_eventfd();
	return err;
}

static bool file_works(void)
{
	return delivers(file);
}

/* An open file with an interrupt of each kind. */
static int open_and_alloc(void)
{
	struct ims_irq other;

	return open_file() ?: ims_alloc(file, -1, &other) ?:
	       ims_alloc(file, eventfds[1], &other) ?: ims_mask(&other) ?:
	       ims_alloc(file, eventfds[0], &irq);
}

static int prepare_used(void)
{
	return prepare_file() ?: close_file() ?: open_and_alloc();
}

/* Closing the file leaves nothing that was not there before. */
static int bind_and_use(void)
{
	int err = close_file() ?: bind_device();

	subdevice = subdevice_of(0);
	return err ?: bind_wq() ?: open_and_alloc();
}

static int bind_wq_and_use(void)
{
	return close_file() ?: bind_wq() ?: open_and_alloc();
}

/* ---- Calls ---- */

static int alloc_as(__u32 flags, int eventfd)
{
	struct idxd_ims_alloc alloc = { .flags = flags, .eventfd = eventfd };

	return ims_alloc_as(file, &alloc, &irq);
}

static int alloc(void)
{
	return alloc_as(0, -1);
}

static int alloc_bound(void)
{
	return alloc_as(0, eventfds[0]);
}

static int alloc_on_cpu(void)
{
	return alloc_as(IDXD_IMS_ALLOC_CPU, eventfds[0]);
}

static int free_irq(void)
{
	return ims_free(&irq);
}

static int prepare_alloc(void)
{
	return prepare_file() ?: alloc();
}

static int prepare_alloc_bound(void)
{
	return prepare_file() ?: alloc_bound();
}

static bool irq_works(void)
{
	uint64_t before = ims_signals(&irq);

	return irq.eventfd < 0 ||
	       (!ims_noop(&irq) && wait_for(ims_signals(&irq) == before + 1));
}

static int bind_eventfd(void)
{
	return ims_bind(&irq, eventfds[0]);
}

static int bind_other_eventfd(void)
{
	return ims_bind(&irq, eventfds[1]);
}

static int unbind_eventfd(void)
{
	return ims_bind(&irq, -1);
}

/* The only slot that is free was raised since it was masked: it takes more to allocate that. */
static int free_pending(void)
{
	page_write(PAGE_RAISE, irq.slot);
	return wait_pending(&irq) ? free_irq() : -ETIMEDOUT;
}

static int alloc_last(void)
{
	return ims_alloc(irq.file, -1, &irq);
}

static int prepare_pending(void)
{
	struct ims_irq *irqs;
	int err = prepare_file(), count = err ? 0 : ims_alloc_all(&irqs);

	if (!count)
		return err ?: -ENOSPC;
	irq = irqs[0];
	free(irqs);
	return free_pending();
}

static bool is_clean(void)
{
	return ims_flags(&irq) == IDXD_IMS_STATE_MASKED && !ims_counter("stuck");
}

static int mask(void)
{
	return ims_mask(&irq);
}

static int unmask(void)
{
	return ims_unmask(&irq);
}

static int state(void)
{
	struct idxd_ims_state state;

	return ims_state(&irq, &state);
}

static int query(void)
{
	struct idxd_ims_query query;

	return ims_query(file, &query);
}

static int noop(void)
{
	return ims_noop(&irq);
}

static int copy(void)
{
	return ims_copy(&irq, 8192);
}

/* ---- Work ---- */

static unsigned char memory[4 * PAGE];
static __u32 buffer;

static int register_memory(void)
{
	return ims_register(file, memory, sizeof(memory), IDXD_IMS_BUFFER_WRITE, &buffer);
}

static int unregister_memory(void)
{
	return ims_unregister(file, buffer);
}

static int prepare_registered(void)
{
	return prepare_file() ?: register_memory();
}

/* Copies within it. */
static int work(void)
{
	struct idxd_ims_item item = copy_item(buffer, 1, buffer, 2 * PAGE, PAGE, 0);
	struct idxd_ims_completion completion = {};
	int err = ims_work(file, &item, 1);

	/* It waits, as poll() would, but returns its error. */
	if (err == 1)
		err = ims_read(file, &completion, 1);
	if (err != 1)
		return err ?: -EAGAIN;
	return completion.status == IDXD_IMS_COMPLETED ? 0 : -EIO;
}

/* An item that was accepted, which could not be told, completes all the same. */
static int read_what_is_left(void)
{
	struct idxd_ims_completion completion;

	while (ims_poll(file, POLLIN, SETTLE_MS) & POLLIN)
		if (ims_read(file, &completion, 1) != 1)
			return -EIO;
	return 0;
}

static bool memory_works(void)
{
	memset(memory, 0, sizeof(memory));
	memset(memory + 1, 0x5a, PAGE);
	return !work() && !memcmp(memory + 1, memory + 2 * PAGE, PAGE);
}

/* ---- Files of the file systems ---- */

static int raise_min(void)
{
	return ims_set_limit(0, "min", 2);
}

static int reset_min(void)
{
	return ims_set_limit(0, "min", 1);
}

static int lower_max(void)
{
	return ims_set_limit(0, "max", 5);
}

static int reset_max(void)
{
	return ims_set_limit(0, "max", ims_counter("slots"));
}

static int read_attributes(void)
{
	return read_all(attribute_of(0, "used")) ?:
	       read_all(attribute_of(0, "max"));
}

static int read_slots(void)
{
	return read_all(path_of("%s/slots", ims_dir));
}

static int read_counters(void)
{
	return read_all(path_of("%s/counters", ims_dir));
}

static int move_to_cpu_0(void)
{
	return write_text(path_of("/proc/irq/%u/smp_affinity_list", irq.virq), "0");
}

static int move_to_last_cpu(void)
{
	return write_text(path_of("/proc/irq/%u/smp_affinity_list", irq.virq),
			  path_of("%ld", sysconf(_SC_NPROCESSORS_ONLN) - 1));
}

/* ---- The tests ---- */

FIXTURE(fail) {
	FIXTURE_DATA(ims) ims;
};

FIXTURE_VARIANT(fail) {
	struct operation operation;
};

/*
 * Which errors are right, beside ENOMEM, and EFAULT of a copy:
 * - EINVAL of loading: the core has no directory for the module's drivers.
 * - EBUSY of probe: the core says no more of a BAR that it cannot reserve, nor of a number
 *   for a character device.
 * - ENODEV of probe: nor of a domain for MSI-X.
 * - ENOSPC of probe, ALLOC and BIND: what MSI and the domains below it make of many of
 *   their failures.
 * What gives back fails in no case, but for a write to sysfs that did not get there.
 */
FIXTURE_VARIANT_ADD(fail, load_module) {
	.operation = {
		.prepare = prepare_load, .run = load, .undo = unload_module,
		.usable = module_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -EINVAL },
	},
};

FIXTURE_VARIANT_ADD(fail, unload_module) {
	.operation = {
		.prepare = prepare_bound, .run = unload_with_device,
		.undo = load_with_device,
		.usable = leaves_no_device, .allocates = true,
	},
};

FIXTURE_VARIANT_ADD(fail, bind_device) {
	.operation = {
		.prepare = prepare_unbound, .run = bind_device,
		.undo = unbind_device,
		.usable = device_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -EBUSY, -ENODEV, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, unbind_device) {
	.operation = {
		.prepare = prepare_used, .run = unbind_device,
		.undo = bind_and_use,
		.usable = leaves_no_device, .allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, bind_subdevice) {
	.operation = {
		.prepare = prepare_subdevice, .run = bind_wq, .undo = unbind_wq,
		.usable = wq_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -EBUSY },
	},
};

FIXTURE_VARIANT_ADD(fail, unbind_subdevice) {
	.operation = {
		.prepare = prepare_used, .run = unbind_wq, .undo = bind_wq_and_use,
		.usable = leaves_no_device, .allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, open) {
	.operation = {
		.prepare = prepare_bound, .run = open_file, .undo = close_file,
		.usable = file_works, .allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, close) {
	.operation = {
		.prepare = prepare_used, .run = close_file, .undo = open_and_alloc,
	},
};

FIXTURE_VARIANT_ADD(fail, alloc) {
	.operation = {
		.prepare = prepare_file, .run = alloc, .undo = free_irq,
		.usable = irq_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, alloc_bound) {
	.operation = {
		.prepare = prepare_file, .run = alloc_bound, .undo = free_irq,
		.usable = irq_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, alloc_on_cpu) {
	.operation = {
		.prepare = prepare_file, .run = alloc_on_cpu, .undo = free_irq,
		.usable = irq_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, free) {
	.operation = {
		.prepare = prepare_alloc, .run = free_irq, .undo = alloc,
	},
};

FIXTURE_VARIANT_ADD(fail, free_bound) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = free_irq,
		.undo = alloc_bound,
	},
};

FIXTURE_VARIANT_ADD(fail, alloc_pending) {
	.operation = {
		.prepare = prepare_pending, .run = alloc_last, .undo = free_pending,
		.usable = is_clean, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, bind_eventfd) {
	.operation = {
		.prepare = prepare_alloc, .run = bind_eventfd,
		.undo = unbind_eventfd,
		.usable = irq_works, .allocates = true, .lossy = true,
		.errors = { -ENOMEM, -ENOSPC },
	},
};

FIXTURE_VARIANT_ADD(fail, bind_other_eventfd) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = bind_other_eventfd,
		.undo = bind_eventfd,
		.usable = irq_works,
	},
};

FIXTURE_VARIANT_ADD(fail, unbind_eventfd) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = unbind_eventfd,
		.undo = bind_eventfd,
	},
};

FIXTURE_VARIANT_ADD(fail, mask) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = mask, .undo = unmask,
	},
};

FIXTURE_VARIANT_ADD(fail, state) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = state, .undo = nothing,
	},
};

FIXTURE_VARIANT_ADD(fail, query) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = query, .undo = nothing,
	},
};

FIXTURE_VARIANT_ADD(fail, noop) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = noop, .undo = nothing,
	},
};

FIXTURE_VARIANT_ADD(fail, copy) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = copy, .undo = nothing,
	},
};

FIXTURE_VARIANT_ADD(fail, register_memory) {
	.operation = {
		.prepare = prepare_file, .run = register_memory, .undo = unregister_memory,
		.usable = memory_works, .allocates = true, .items = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, unregister_memory) {
	.operation = {
		.prepare = prepare_registered, .run = unregister_memory,
		.undo = register_memory, .items = true,
	},
};

FIXTURE_VARIANT_ADD(fail, work) {
	.operation = {
		.prepare = prepare_registered, .run = work, .undo = read_what_is_left,
		.items = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, move) {
	.operation = {
		.prepare = prepare_alloc_bound, .run = move_to_last_cpu,
		.undo = move_to_cpu_0,
		.usable = irq_works, .allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, min) {
	.operation = {
		.prepare = prepare_bound, .run = raise_min,
		.undo = reset_min,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, max) {
	.operation = {
		.prepare = prepare_bound, .run = lower_max,
		.undo = reset_max,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, read_attributes) {
	.operation = {
		.prepare = prepare_used, .run = read_attributes, .undo = nothing,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, read_slots) {
	.operation = {
		.prepare = prepare_used, .run = read_slots, .undo = nothing,
		.allocates = true, .errors = { -ENOMEM },
	},
};

FIXTURE_VARIANT_ADD(fail, read_counters) {
	.operation = {
		.prepare = prepare_used, .run = read_counters, .undo = nothing,
		.allocates = true, .errors = { -ENOMEM },
	},
};

static bool takes_items(void)
{
	struct idxd_ims_query query;
	int file = ims_open(0);
	bool takes = file >= 0 && !ims_query(file, &query) && query.ops;

	close(file);
	return takes;
}

FIXTURE_SETUP(fail)
{
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	if (!ims_is_module() || !getenv("IMS_MODULE"))
		SKIP(return, "IMS_MODULE does not name the module");
	if (!ims_page())
		SKIP(return, "no test page");
	if (variant->operation.items && !takes_items())
		SKIP(return, "the device takes no items");
	ASSERT_EQ(0, set_up_injection());
}

FIXTURE_TEARDOWN(fail)
{
	ims_close_all();
	ims_unload();
	EXPECT_EQ(0, set_autoprobe(true));
	EXPECT_EQ(0, ims_load(""));
	EXPECT_TRUE(ims_delivers(0, 4));
	ims_teardown(_metadata, &self->ims, NULL);
}

TEST_F_TIMEOUT(fail, each_allocation, 900)
{
	fail_each(_metadata, &variant->operation);
}

int main(int argc, char **argv)
{
	need_injection();
	return test_harness_run(argc, argv);
}
