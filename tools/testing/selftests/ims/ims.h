/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share: finding the device, the calls of its character devices,
 * reading its tables and limits, the test page of the device model, processes,
 * and a fixture that gives back what a test took.
 */
#ifndef IMS_H
#define IMS_H

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <linux/idxd_ims.h>

#include "kselftest_harness.h"
#include "slow.h"

/* A test of the sample driver says so. */
#ifdef IMS_SAMPLE
#define DRIVER "rust_driver_ims"
#else
#define DRIVER "idxd_ims"
#endif
#define PCI_DEVICES "/sys/bus/pci/devices/"
#define SUBDEVICE_DRIVER "/sys/bus/auxiliary/drivers/" DRIVER "." DRIVER

/* An interrupt may take some 16 ms to arrive under emulation. */
#define DEADLINE_MS (10000 * slow())
#define SETTLE_MS (50 * slow())

/* The tests' own deadlines, in seconds. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT (30 * slow())
#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture, test, timeout) __TEST_F_IMPL(fixture, test, -1, (timeout) * slow())

#define MOST_FILES 2560
#define MOST_CHILDREN 256

/* How often the device did something for a slot. */
struct device_counts {
	uint32_t sent;
	uint32_t latched;
	uint32_t replayed;
};

/* An interrupt of an open file. */
struct ims_irq {
	int file;
	int eventfd;	/* -1: none */
	__u32 id;
	__u32 virq;
	__u32 slot;
	uint64_t signals;	/* What was read from the eventfd since it was bound */
	struct device_counts before;	/* What the device had counted by then */
};

/* Line of `slots`. */
struct ims_slot {
	uint64_t count;
	uint64_t address;
	uint64_t data;
	bool masked;
	bool pending;
};

/* Offsets in the test page. */
enum ims_page {
	PAGE_MAGIC = 0x0,
	PAGE_SLOTS = 0x8,
	PAGE_SLOT_ARRAY = 0xc,
	PAGE_SLOT_STRIDE = 0x10,
	PAGE_HANDLE_COMMANDS = 0x18,
	PAGE_SENT = 0x40,
	PAGE_REFUSED = 0x50,
	PAGE_VECTORS_SENT = 0x90,
	PAGE_RESETS = 0xa8,
	PAGE_UNPOWERED = 0xb0,
	PAGE_LATE = 0xb8,	/* Messages taken after their slot was masked and read */
	PAGE_RAISE = 0xc0,
	PAGE_COUNTER_RESET = 0xc4,
	PAGE_FAULT_ARG = 0xd0,
	PAGE_FAULT = 0xd8,
	PAGE_REVOKE = 0xdc,
	PAGE_HALT = 0xe0,	/* Takes what kind of reset the device then needs */
	PAGE_SOURCE_SEED = 0x100,
	PAGE_SOURCE_COUNT = 0x108,
	PAGE_SOURCE_RATE = 0x10c,
	PAGE_SOURCE_FIRST = 0x110,
	PAGE_SOURCE_SLOTS = 0x114,
	PAGE_SOURCE_CONTROL = 0x118,
	PAGE_SOURCE_RAISES = 0x120,
	PAGE_ALLOW = 0x128,
	PAGE_DENY = 0x12c,
	PAGE_SYNC = 0x130,
	PAGE_VIOLATIONS = 0x140,	/* VIOLATIONS counters of rules that the driver broke */
	PAGE_LAST_VIOLATION = 0x160,	/* Its slot, plus 1 */
};

/* Offsets in a slot's part of its counters. */
enum ims_slot_counter {
	SLOT_SENT = 0,
	SLOT_LATCHED = 4,
	SLOT_REFUSED = 8,
	SLOT_REPLAYED = 12,
};

/* Ways for the device model to be broken. */
enum ims_fault {
	FAULT_NONE = 0,
	FAULT_ALL_ONES_AFTER = 7,	/* Argument: reads before */
	FAULT_COMMAND_HANGS = 8,
	FAULT_COMMAND_TAKES_MS = 9,
	FAULT_COMMAND_FAILS = 10,	/* Argument: command << 8 | error */
	FAULT_STUCK_MASK = 13,
	FAULT_DROP_MESSAGE = 14,	/* Argument: 1 for each, 2 for each second... */
	FAULT_HANDLE_LIMIT = 15,	/* Argument: handles */
	FAULT_COMMAND_SILENT = 16,
	FAULT_HANDLES_REVOKED = 17,	/* Argument: 1 if it says so */
	FAULT_STUCK_PENDING = 18,
	FAULT_STALLED = 19,	/* Argument: descriptors that are taken */
};

/* For SOURCE_CONTROL. */
#define SOURCE_STOP 0
#define SOURCE_START 1
#define SOURCE_START_PACED 3

#define PAGE_MAGIC_VALUE 0x494d5354
#define COMMAND_REQUEST_HANDLE 13

static char ims_bdf[64];
static char ims_dir[64];

/* What this process has open, and what it has started. */
static int ims_files[MOST_FILES];
static int ims_files_count;
static pid_t ims_children[MOST_CHILDREN];
static int ims_children_count;

static inline uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

static inline void settle(void)
{
	usleep(SETTLE_MS * 1000);
}

/* Waits for @condition, and says whether it came true before the deadline. */
#define wait_for_ms(condition, ms)					\
({									\
	const uint64_t end_of_wait = now_ms() + (ms);			\
	bool came_true;							\
									\
	while (!(came_true = (condition)) && now_ms() < end_of_wait)	\
		usleep(500);						\
	came_true;							\
})

#define wait_for(condition) wait_for_ms(condition, DEADLINE_MS)

/* Writes @text in one go. Returns 0 or a negative errno. */
static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* A number from the environment. */
static inline uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

/* Reads the first line of a file. Returns false if there is none. */
static inline bool read_line(char *line, int size, const char *path)
{
	FILE *file = fopen(path, "re");
	bool found;

	if (!file)
		return false;
	found = fgets(line, size, file);
	fclose(file);
	if (found)
		line[strcspn(line, "\n")] = '\0';
	return found;
}

/* Memory that is shared with the processes that are started. */
static inline void *share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Starts a process that does not outlive the test. */
static inline pid_t start(void)
{
	pid_t child;

	if (ims_children_count == MOST_CHILDREN)
		return -1;
	child = fork();
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	else if (child > 0)
		ims_children[ims_children_count++] = child;
	return child;
}

/* Ends it. Returns false if it had ended by itself. */
static inline bool stop(pid_t child)
{
	bool running = !waitpid(child, NULL, WNOHANG);

	if (running) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	return running;
}

static inline void stop_all(void)
{
	while (ims_children_count)
		stop(ims_children[--ims_children_count]);
}

/*
 * Waits for its end. Returns its exit status, -1 if a signal ended it, or -2 if that was
 * too late, and had to be done here.
 */
static inline int finish(pid_t child, int deadline_ms)
{
	int status;

	if (!wait_for_ms(waitpid(child, &status, WNOHANG) == child, deadline_ms)) {
		stop(child);
		return -2;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline bool exists(const char *pattern)
{
	glob_t paths;
	bool found = !glob(pattern, 0, NULL, &paths);

	globfree(&paths);
	return found;
}

/* A path, or another text, that is good until the fourth call after this one. */
static inline __printf(1, 2) const char *path_of(const char *format, ...)
{
	static char paths[4][PATH_MAX];
	static unsigned int next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];
	va_list args;

	va_start(args, format);
	vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return path;
}

/* Parameters that the driver needs on this machine. */
static inline char *ims_parameters(void)
{
#ifdef IMS_SAMPLE
	return "";
#else
	return getenv("IMS_PARAMETERS") ?: "";
#endif
}

/* Loads the driver's module, from IMS_MODULE if that is set. */
static inline int ims_load(const char *parameters)
{
	const char *load = getenv("IMS_MODULE") ? "insmod \"$IMS_MODULE\"" : "modprobe -q " DRIVER;

	return system(path_of("%s %s %s", load, ims_parameters(), parameters));
}

static inline int ims_unload(void)
{
	return system("rmmod " DRIVER " 2>/dev/null");
}

static inline bool ims_is_module(void)
{
	return exists("/sys/module/" DRIVER "/initstate");
}

static inline bool ims_is_built_in(void)
{
	return exists("/sys/module/" DRIVER) && !ims_is_module();
}

/* Is there a device that the driver is for? */
static inline bool ims_present(void)
{
	static const char * const ids[] = { "0x0b25", "0x11fb", "0x1212" };
	glob_t paths;
	bool found = false;

	if (glob(PCI_DEVICES "*/device", 0, NULL, &paths))
		return false;
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		char id[16] = "";

		read_line(id, sizeof(id), paths.gl_pathv[i]);
		for (size_t j = 0; j < ARRAY_SIZE(ids); j++)
			found |= !strcmp(id, ids[j]);
	}
	globfree(&paths);
	return found;
}

/* Finds the first device that the driver has. */
static inline bool ims_find(void)
{
	static const char prefix[] = "/sys/kernel/debug/" DRIVER "-";
	glob_t paths;

	if (glob("/sys/kernel/debug/" DRIVER "-*", 0, NULL, &paths))
		return false;
	snprintf(ims_dir, sizeof(ims_dir), "%s", paths.gl_pathv[0]);
	snprintf(ims_bdf, sizeof(ims_bdf), "%s", ims_dir + strlen(prefix));
	globfree(&paths);
	return true;
}

/* Binds or unbinds the device. Returns 0 or a negative errno. */
static inline int ims_bind_driver(const char *what)
{
	return write_text(path_of("/sys/bus/pci/drivers/" DRIVER "/%s", what), ims_bdf);
}

/* If the kernel has idxd as well, the driver gets only devices that are given to it. */
static inline void ims_give(void)
{
	if (exists(path_of(PCI_DEVICES "%s/driver", ims_bdf)))
		return;
	write_text(path_of(PCI_DEVICES "%s/driver_override", ims_bdf), DRIVER);
	write_text("/sys/bus/pci/drivers_probe", ims_bdf);
}

/* Brings limits and counters back to what they were. */
static inline int ims_rebind(void)
{
	/* It may be unbound already. */
	ims_bind_driver("unbind");
	return ims_bind_driver("bind");
}

static inline int ims_reset(void)
{
	return write_text(path_of(PCI_DEVICES "%s/reset", ims_bdf), "1");
}

/* The name of a work queue's subdevice. Empty if there is none. */
static inline char *subdevice_of(int wq)
{
	static char name[64];
	glob_t paths;

	name[0] = '\0';
	if (glob(path_of(PCI_DEVICES "%s/" DRIVER ".wq.*", ims_bdf), 0, NULL, &paths))
		return name;
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		const char *found = strrchr(paths.gl_pathv[i], '/') + 1;
		unsigned long id = strtoul(strrchr(found, '.') + 1, NULL, 10);

		if ((id & 0xff) == wq)
			snprintf(name, sizeof(name), "%s", found);
	}
	globfree(&paths);
	return name;
}

/* Binds or unbinds a subdevice. Returns 0 or a negative errno. */
static inline int bind_subdevice(const char *what, const char *name)
{
	return write_text(path_of(SUBDEVICE_DRIVER "/%s", what), name);
}

#define node_of(wq) path_of("/dev/" DRIVER "/%s.wq%d", ims_bdf, wq)

/* How many work queues have a character device: the first ones. */
static inline int ims_wqs(void)
{
	int wqs = 0;

	while (!access(node_of(wqs), F_OK))
		wqs++;
	return wqs;
}

/* An attribute of the subdevice of a work queue. */
#define attribute_of(wq, name) \
	path_of("/sys/class/misc/" DRIVER "!%s.wq%d/device/%s", ims_bdf, wq, name)

/* The attribute "used", "min" or "max" of a work queue; -1 if there is none. */
static inline int64_t ims_limit(int wq, const char *name)
{
	char line[32];

	if (!read_line(line, sizeof(line), attribute_of(wq, name)))
		return -1;
	return strtoll(line, NULL, 10);
}

/* Changes it until the device is rebound. Returns 0 or a negative errno. */
static inline int ims_set_limit(int wq, const char *name, int value)
{
	return write_text(attribute_of(wq, name), path_of("%d", value));
}

/* A line of `counters`; -1 if there is none of that name. */
static inline int64_t ims_counter(const char *name)
{
	FILE *file = fopen(path_of("%s/counters", ims_dir), "re");
	char found[64], value[64];
	int64_t result = -1;

	if (!file)
		return -1;
	while (fscanf(file, "%63s %63s", found, value) == 2)
		if (!strcmp(found, name))
			result = strtoll(value, NULL, 0);
	fclose(file);
	return result;
}

/* Opens a work queue. Returns the file, or a negative errno. */
static inline int ims_open(int wq)
{
	int file;

	if (ims_files_count == MOST_FILES)
		return -ENFILE;
	file = open(node_of(wq), O_RDWR | O_CLOEXEC);
	if (file < 0)
		return -errno;
	ims_files[ims_files_count++] = file;
	return file;
}

static inline void ims_close(int file)
{
	for (int i = 0; i < ims_files_count; i++) {
		if (ims_files[i] == file) {
			ims_files[i] = ims_files[--ims_files_count];
			close(file);
			return;
		}
	}
}

static inline void ims_close_all(void)
{
	while (ims_files_count)
		close(ims_files[--ims_files_count]);
}

/* Returns 0, or a negative errno. Anything else is wrong. */
static inline int ims_call(int file, unsigned long request, void *argument)
{
	int result = ioctl(file, request, argument);

	return result == -1 ? -errno : result;
}

static inline int ims_query(int file, struct idxd_ims_query *query)
{
	*query = (struct idxd_ims_query) { .size = sizeof(*query) };
	return ims_call(file, IDXD_IMS_QUERY, query);
}

/* How many interrupts the file has; -1 if it does not tell. */
static inline int64_t ims_file_used(int file)
{
	struct idxd_ims_query query;

	return ims_query(file, &query) ? -1 : (int64_t)query.file_used;
}

static inline struct device_counts device_counts(int slot);

/* Allocates what @alloc describes. */
static inline int ims_alloc_as(int file, struct idxd_ims_alloc *alloc, struct ims_irq *irq)
{
	int err;

	alloc->size = sizeof(*alloc);
	err = ims_call(file, IDXD_IMS_ALLOC, alloc);
	if (err)
		return err;
	*irq = (struct ims_irq) {
		.file = file,
		.eventfd = alloc->eventfd,
		.id = alloc->id,
		.virq = alloc->virq,
		.slot = alloc->slot,
		.before = device_counts(alloc->slot),
	};
	return 0;
}

static inline int ims_alloc(int file, int eventfd, struct ims_irq *irq)
{
	struct idxd_ims_alloc alloc = { .eventfd = eventfd };

	return ims_alloc_as(file, &alloc, irq);
}

static inline int ims_named(const struct ims_irq *irq, unsigned long request)
{
	struct idxd_ims_interrupt interrupt = { .size = sizeof(interrupt), .id = irq->id };

	return ims_call(irq->file, request, &interrupt);
}

static inline int ims_free(const struct ims_irq *irq)
{
	return ims_named(irq, IDXD_IMS_FREE);
}

static inline int ims_mask(const struct ims_irq *irq)
{
	return ims_named(irq, IDXD_IMS_MASK);
}

static inline int ims_unmask(const struct ims_irq *irq)
{
	return ims_named(irq, IDXD_IMS_UNMASK);
}

static inline int ims_bind(struct ims_irq *irq, int eventfd)
{
	struct idxd_ims_bind bind = { .size = sizeof(bind), .id = irq->id, .eventfd = eventfd };
	int err = ims_call(irq->file, IDXD_IMS_BIND, &bind);

	if (!err) {
		irq->eventfd = eventfd;
		irq->signals = 0;
	}
	return err;
}

static inline int ims_state(const struct ims_irq *irq, struct idxd_ims_state *state)
{
	*state = (struct idxd_ims_state) { .size = sizeof(*state), .id = irq->id };
	return ims_call(irq->file, IDXD_IMS_STATE, state);
}

/* IDXD_IMS_STATE_*, or a negative errno. */
static inline int ims_flags(const struct ims_irq *irq)
{
	struct idxd_ims_state state;

	return ims_state(irq, &state) ?: (int)state.flags;
}

/* Waits until it is pending: a descriptor completes before its interrupt is raised. */
static inline bool wait_pending(const struct ims_irq *irq)
{
	return wait_for(ims_flags(irq) & IDXD_IMS_STATE_PENDING);
}

/* What the driver counted; -1 if it does not tell. */
static inline int64_t ims_count(const struct ims_irq *irq)
{
	struct idxd_ims_state state;

	return ims_state(irq, &state) ? -1 : (int64_t)state.count;
}

static inline int ims_submit(const struct ims_irq *irq, __u32 op, __u32 length)
{
	struct idxd_ims_submit submit = {
		.size = sizeof(submit), .id = irq->id, .op = op, .length = length,
	};

	return ims_call(irq->file, IDXD_IMS_SUBMIT, &submit);
}

static inline int ims_noop(const struct ims_irq *irq)
{
	return ims_submit(irq, IDXD_IMS_OP_NOOP, 0);
}

static inline int ims_copy(const struct ims_irq *irq, int bytes)
{
	return ims_submit(irq, IDXD_IMS_OP_COPY, bytes);
}

static inline void ims_set_nonblock(int file, bool nonblock)
{
	int flags = fcntl(file, F_GETFL);

	fcntl(file, F_SETFL, nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Registers memory. Returns 0 and the number of the buffer, or a negative errno. */
static inline int ims_register(int file, const void *address, size_t length, __u32 flags,
			       __u32 *buffer)
{
	struct idxd_ims_register argument = {
		.size = sizeof(argument), .flags = flags, .address = (unsigned long)address,
		.length = length,
	};
	int err = ims_call(file, IDXD_IMS_REGISTER, &argument);

	if (!err)
		*buffer = argument.buffer;
	return err;
}

static inline int ims_unregister(int file, __u32 buffer)
{
	struct idxd_ims_unregister argument = { .size = sizeof(argument), .buffer = buffer };

	return ims_call(file, IDXD_IMS_UNREGISTER, &argument);
}

/* Submits items. Returns how many were accepted, or a negative errno. */
static inline int ims_work(int file, const struct idxd_ims_item *items, int count)
{
	struct idxd_ims_work work = {
		.size = sizeof(work), .items = (unsigned long)items, .count = count,
	};

	return ims_call(file, IDXD_IMS_WORK, &work) ?: (int)work.accepted;
}

/* Reads completions. Returns how many were read, or a negative errno. */
static inline int ims_read(int file, struct idxd_ims_completion *completions, int most)
{
	ssize_t bytes = read(file, completions, most * sizeof(*completions));

	if (bytes < 0)
		return -errno;
	return bytes % sizeof(*completions) ? -EBADMSG : (int)(bytes / sizeof(*completions));
}

/* Waits until the file is ready for some of @events. Returns for which, or 0 if that is late. */
static inline int ims_poll(int file, short events, int ms)
{
	struct pollfd ready = { .fd = file, .events = events };
	const uint64_t end = now_ms() + ms;
	int err;

	do {
		int64_t left = end - now_ms();

		err = poll(&ready, 1, left > 0 ? left : 0);
	} while (err < 0 && errno == EINTR);
	return err > 0 ? ready.revents : 0;
}

/* Reads completions until there are @count, or that is late. Returns as ims_read(). */
static inline int ims_collect(int file, struct idxd_ims_completion *completions, int count)
{
	int got = 0;

	while (got < count && ims_poll(file, POLLIN, DEADLINE_MS) & POLLIN) {
		int more = ims_read(file, completions + got, count - got);

		if (more == -EAGAIN)
			continue;
		if (more < 0)
			return more;
		got += more;
	}
	return got;
}

/* An eventfd that does not wait; -1 if there is none. */
static inline int new_eventfd(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* Takes what an eventfd has counted. */
static inline uint64_t take(int eventfd)
{
	uint64_t value;

	return read(eventfd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

/* What its eventfd, which must not wait, has counted since it was bound. */
static inline uint64_t ims_signals(struct ims_irq *irq)
{
	if (irq->eventfd >= 0)
		irq->signals += take(irq->eventfd);
	return irq->signals;
}

/*
 * Does a work queue deliver one interrupt for each of @times descriptors? Opens a
 * file and closes it, and can be used where tests cannot fail: in other processes.
 */
static inline bool ims_delivers(int wq, int times)
{
	int file = ims_open(wq), eventfd = new_eventfd();
	struct ims_irq irq = {};
	bool good = file >= 0 && eventfd >= 0 && !ims_alloc(file, eventfd, &irq);

	for (int i = 1; good && i <= times; i++) {
		good = (i % 4 ? !ims_noop(&irq) : !ims_copy(&irq, 100 * i % 8192 + 1)) &&
		       wait_for(ims_signals(&irq) >= i) && ims_signals(&irq) == i &&
		       wait_for(ims_count(&irq) == i);
	}
	if (good)
		good = !ims_free(&irq);
	close(eventfd);
	ims_close(file);
	return good;
}

/*
 * Allocates interrupts without eventfd, from all work queues, until there is no slot
 * for any of them. Returns how many are in the array, which the caller frees, or a
 * negative errno.
 */
static inline int ims_alloc_all(struct ims_irq **irqs)
{
	int slots = ims_counter("slots"), wqs = ims_wqs(), count = 0;

	*irqs = calloc(slots + 1, sizeof(**irqs));
	if (!*irqs)
		return -ENOMEM;
	for (int wq = 0; wq < wqs; wq++) {
		int file, err;

		/* Another file if this one has its maximum. */
		do {
			file = ims_open(wq);
			if (file < 0)
				return file;
			for (err = 0; !err && count <= slots; count += !err)
				err = ims_alloc(file, -1, &(*irqs)[count]);
		} while (err == -EMFILE);
		if (err != -ENOSPC && err != -EDQUOT)
			return err ?: -ERANGE;
	}
	return count;
}

/* The word of @line below the heading @name. Empty if there is none. */
static inline char *word_below(const char *headings, const char *name, const char *line)
{
	static char word[32];
	char heading[32];
	int next_heading, next_word;

	while (sscanf(headings, "%31s%n", heading, &next_heading) == 1 &&
	       sscanf(line, "%31s%n", word, &next_word) == 1) {
		if (!strcmp(heading, name))
			return word;
		headings += next_heading;
		line += next_word;
	}
	word[0] = '\0';
	return word;
}

/* A line of `slots`. Returns false if there is none. */
static inline bool ims_slot(int slot, struct ims_slot *found)
{
	FILE *file = fopen(path_of("%s/slots", ims_dir), "re");
	char headings[256], line[256];
	bool result = false;
	const char *state;

	if (!file)
		return false;
	if (fgets(headings, sizeof(headings), file)) {
		while (!result && fgets(line, sizeof(line), file))
			result = atoi(word_below(headings, "slot", line)) == slot;
	}
	fclose(file);
	if (!result)
		return false;
	found->count = strtoull(word_below(headings, "count", line), NULL, 10);
	found->address = strtoull(word_below(headings, "address", line), NULL, 16);
	found->data = strtoull(word_below(headings, "data", line), NULL, 16);
	state = word_below(headings, "state", line);
	found->masked = !strncmp(state, "masked", 6);
	found->pending = strstr(state, "pending");
	return true;
}

/* How often the kernel counted an interrupt: on one CPU, or on all if @cpu is -1. */
static inline uint64_t kernel_count_on(int virq, int cpu)
{
	uint64_t sum = 0;
	char line[4096];
	char *at = line;

	if (!read_line(line, sizeof(line), path_of("/sys/kernel/irq/%d/per_cpu_count", virq)))
		return 0;
	for (int i = 0; *at; i++) {
		uint64_t count = strtoull(at, &at, 10);

		if (cpu < 0 || cpu == i)
			sum += count;
		at += *at == ',';
	}
	return sum;
}

static inline uint64_t kernel_count(int virq)
{
	return kernel_count_on(virq, -1);
}

/* A BAR of the device, as words; NULL if that fails. */
static inline uint32_t *ims_map(int bar, size_t *size)
{
	int fd = open(path_of(PCI_DEVICES "%s/resource%d", ims_bdf, bar), O_RDWR | O_CLOEXEC);
	void *words = MAP_FAILED;
	struct stat info;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &info)) {
		*size = info.st_size;
		words = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	close(fd);
	return words == MAP_FAILED ? NULL : words;
}

/* The test page of the device model; NULL if the device has none. */
static inline uint32_t *ims_page(void)
{
	static uint32_t *page;
	uint32_t *words;
	size_t size;

	if (page)
		return page;
	words = ims_map(4, &size);
	if (words && __atomic_load_n(&words[PAGE_MAGIC / 4], __ATOMIC_RELAXED) == PAGE_MAGIC_VALUE)
		page = words;
	return page;
}

static inline uint32_t page_read(unsigned int offset)
{
	return __atomic_load_n(&ims_page()[offset / 4], __ATOMIC_RELAXED);
}

static inline void page_write(unsigned int offset, uint32_t value)
{
	__atomic_store_n(&ims_page()[offset / 4], value, __ATOMIC_RELAXED);
}

static inline uint64_t page_read64(unsigned int offset)
{
	return __atomic_load_n((uint64_t *)ims_page() + offset / 8, __ATOMIC_RELAXED);
}

/*
 * Waits until all messages that the device has sent are at the CPUs, which a read alone
 * does not do here.
 */
static inline bool page_sync(void)
{
	page_write(PAGE_SYNC, 0);
	return wait_for(page_read(PAGE_SYNC));
}

/* Does the device have commands for interrupt handles? Without them a handle is a slot. */
static inline bool has_handle_commands(void)
{
	return ims_page() && page_read(PAGE_HANDLE_COMMANDS);
}

/* Messages that came too late, see EXPECT_HANDLED_BUT_LATE(). None with handle commands. */
static inline uint32_t late_messages(void)
{
	return ims_page() ? page_read(PAGE_LATE) : 0;
}

/* What the device counted for a slot: an offset of enum ims_slot_counter. */
static inline uint32_t slot_counter(int slot, unsigned int counter)
{
	return page_read(page_read(PAGE_SLOT_ARRAY) + slot * page_read(PAGE_SLOT_STRIDE) + counter);
}

static inline struct device_counts device_counts(int slot)
{
	if (!ims_page())
		return (struct device_counts) {};
	return (struct device_counts) {
		.sent = slot_counter(slot, SLOT_SENT),
		.latched = slot_counter(slot, SLOT_LATCHED),
		.replayed = slot_counter(slot, SLOT_REPLAYED),
	};
}

#define VIOLATIONS 4

/* Expects that the driver broke none of the rules that the device model checks. */
#define EXPECT_NO_VIOLATIONS() do {							\
	for (int rule = 0; ims_page() && rule < VIOLATIONS; rule++) {			\
		EXPECT_EQ(0, page_read64(PAGE_VIOLATIONS + 8 * rule))			\
			TH_LOG("rule %d was broken, for slot %d", rule,			\
			       (int)page_read(PAGE_LAST_VIOLATION) - 1);		\
	}										\
} while (0)

/* Has the device model break, or be whole again. Needs the test page. */
static inline void ims_break(enum ims_fault fault, uint32_t argument)
{
	page_write(PAGE_FAULT, FAULT_NONE);
	if (fault != FAULT_NONE) {
		page_write(PAGE_FAULT_ARG, argument);
		page_write(PAGE_FAULT_ARG + 4, 0);
		page_write(PAGE_FAULT, fault);
	}
	/* Until it is read, the write may be on its way. */
	page_read(PAGE_MAGIC);
}

/* Says what in the kernel's log since the last call should not be there. */
static inline bool log_is_clean(struct __test_metadata *_metadata, int kmsg)
{
	static const char * const splats[] = {
		"WARNING:", "BUG:", "Oops", "Call Trace", "No irq handler for",
		"nobody cared", "blocked for more than", "detected stall", "lockup",
	};
	char record[8192];
	bool clean = true;

	for (;;) {
		ssize_t len = read(kmsg, record, sizeof(record) - 1);

		if (len < 0 && errno == EPIPE)
			continue; /* Overwritten meanwhile. */
		if (len <= 0)
			return clean;
		record[len] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(splats); i++) {
			if (strstr(record, splats[i])) {
				TH_LOG("kernel log: %s", record);
				clean = false;
			}
		}
	}
}

static inline int open_log(void)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	lseek(kmsg, 0, SEEK_END);
	return kmsg;
}

/* An eventfd for each interrupt needs more files than a process usually can have. */
static inline void allow_more_files(void)
{
	struct rlimit limit = { .rlim_cur = 1 << 15, .rlim_max = 1 << 15 };

	setrlimit(RLIMIT_NOFILE, &limit);
}

#ifndef IMS_SAMPLE
/*
 * A device that the driver has bound, and none of whose slots is in use. When a test
 * ends, so do its processes, and its files are closed: the slots must be back then,
 * and the kernel must not have complained.
 */
FIXTURE(ims) {
	int kmsg;
	/* The test leaves limits, or counters. */
	bool rebind;
};

FIXTURE_SETUP(ims)
{
	if (!ims_present())
		SKIP(return, "no device");
	if (!ims_find()) {
		ASSERT_EQ(0, ims_load(""));
		ASSERT_TRUE(ims_find());
	}
	/* What an earlier test left behind is not the fault of this one. */
	if (ims_page()) {
		ims_break(FAULT_NONE, 0);
		page_write(PAGE_COUNTER_RESET, 1);
	}
	if (ims_counter("used") || ims_counter("stuck") || !ims_wqs())
		ASSERT_EQ(0, ims_rebind());
	ASSERT_EQ(0, ims_counter("used"));
	ASSERT_EQ(0, ims_counter("stuck"));
	ASSERT_LT(0, ims_wqs()) TH_LOG("no %s", node_of(0));
	allow_more_files();
	self->kmsg = open_log();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(ims)
{
	stop_all();
	if (ims_page())
		ims_break(FAULT_NONE, 0);
	ims_close_all();
	EXPECT_TRUE(wait_for(!ims_counter("used"))) TH_LOG("slots are in use, but no file");
	if (self->rebind)
		EXPECT_EQ(0, ims_rebind());
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_NO_VIOLATIONS();
	EXPECT_TRUE(log_is_clean(_metadata, self->kmsg));
}
#endif

#endif /* IMS_H */
