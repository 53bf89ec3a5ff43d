/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share: finding the device, running commands of the driver's
 * debugfs directory, reading its tables, the test page of the device model,
 * and a fixture that gives back what a test took.
 */
#ifndef IMS_H
#define IMS_H

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "kselftest_harness.h"

#define DRIVER "idxd_ims"
#define PCI_DEVICES "/sys/bus/pci/devices/"

/* An interrupt may take some 16 ms to arrive under emulation. */
#define DEADLINE_MS 5000
#define SETTLE_MS 50

/* Line of `interrupts`. */
struct ims_irq {
	int number;
	int slot;
	int virq;
	unsigned long long handled;
	bool requested;
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
	PAGE_SLOT_ARRAY = 0xc,
	PAGE_SLOT_STRIDE = 0x10,
	PAGE_RAISE = 0xc0,
};

/* Offsets in a slot's part of its counters. */
enum ims_slot_counter {
	SLOT_SENT = 0,
	SLOT_LATCHED = 4,
	SLOT_REPLAYED = 12,
};

#define PAGE_MAGIC_VALUE 0x494d5354

static char ims_bdf[64];
static char ims_dir[64];

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
#define wait_for(condition)						\
({									\
	const uint64_t deadline_ms = now_ms() + DEADLINE_MS;		\
	bool came_true;							\
									\
	while (!(came_true = (condition)) && now_ms() < deadline_ms)	\
		usleep(500);						\
	came_true;							\
})

/* Writes @text in one go. Returns 0 or a negative errno. */
static inline int write_bytes(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) < 0)
		err = -errno;
	close(fd);
	return err;
}

static inline int write_text(const char *path, const char *text)
{
	return write_bytes(path, text, strlen(text));
}

/* Reads the first line of a file. Returns false if there is none. */
static inline bool read_line(char *line, int size, const char *path)
{
	FILE *file = fopen(path, "r");
	bool found;

	if (!file)
		return false;
	found = fgets(line, size, file);
	fclose(file);
	if (found)
		line[strcspn(line, "\n")] = '\0';
	return found;
}

/* Starts a process that does not outlive the test. */
static inline pid_t start(void)
{
	pid_t child = fork();

	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
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

static inline bool exists(const char *pattern)
{
	glob_t paths;
	bool found = !glob(pattern, 0, NULL, &paths);

	globfree(&paths);
	return found;
}

/* Loads the driver's module, from IMS_MODULE if that is set. */
static inline int ims_load(void)
{
	return system(getenv("IMS_MODULE") ? "insmod \"$IMS_MODULE\"" : "modprobe -q " DRIVER);
}

static inline int ims_unload(void)
{
	return system("rmmod " DRIVER);
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

/* Runs a command of `control`. Returns 0 or a negative errno. */
static inline __printf(1, 2) int ims_control(const char *format, ...)
{
	char command[64];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return write_text(path_of("%s/control", ims_dir), command);
}

/* A line of `counters`; -1 if there is none of that name. */
static inline int64_t ims_counter(const char *name)
{
	FILE *file = fopen(path_of("%s/counters", ims_dir), "r");
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

/* Reads `interrupts` into an array that the caller frees. Returns its length. */
static inline int ims_irqs(struct ims_irq **irqs)
{
	FILE *file = fopen(path_of("%s/interrupts", ims_dir), "r");
	struct ims_irq irq;
	char state[16];
	int count = 0;

	*irqs = NULL;
	if (!file)
		return 0;
	while (fscanf(file, "%d %d %d %llu %15s", &irq.number, &irq.slot, &irq.virq,
		      &irq.handled, state) == 5) {
		irq.requested = !strcmp(state, "requested");
		if (count % 64 == 0) {
			*irqs = realloc(*irqs, (count + 64) * sizeof(irq));
			if (!*irqs)
				break;
		}
		(*irqs)[count++] = irq;
	}
	fclose(file);
	return count;
}

/* The interrupt with that number; its number is -1 if there is none. */
static inline struct ims_irq ims_irq(int number)
{
	struct ims_irq *irqs, found = { .number = -1 };
	int count = ims_irqs(&irqs);

	for (int i = 0; i < count; i++)
		if (irqs[i].number == number)
			found = irqs[i];
	free(irqs);
	return found;
}

/* The highest number in use; -1 if there is none. */
static inline int ims_last(void)
{
	struct ims_irq *irqs;
	int count = ims_irqs(&irqs);
	int last = count ? irqs[count - 1].number : -1;

	free(irqs);
	return last;
}

/* Allocates interrupts. Returns the first's number, or a negative errno. */
static inline int ims_alloc(int count)
{
	int err = ims_control("alloc %d", count);

	return err ?: ims_last() - count + 1;
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
	FILE *file = fopen(path_of("%s/slots", ims_dir), "r");
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

/* The test page of the device model, as words; NULL if the device has none. */
static inline uint32_t *ims_page(void)
{
	static uint32_t *page;
	struct stat info;
	uint32_t *words;
	int fd;

	if (page)
		return page;
	fd = open(path_of(PCI_DEVICES "%s/resource4", ims_bdf), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (!fstat(fd, &info)) {
		words = mmap(NULL, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (words != MAP_FAILED &&
		    __atomic_load_n(&words[PAGE_MAGIC / 4], __ATOMIC_RELAXED) == PAGE_MAGIC_VALUE)
			page = words;
	}
	close(fd);
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

/* What the device counted for a slot: an offset of enum ims_slot_counter. */
static inline uint32_t slot_counter(int slot, unsigned int counter)
{
	return page_read(page_read(PAGE_SLOT_ARRAY) + slot * page_read(PAGE_SLOT_STRIDE) + counter);
}

/* Says what in the kernel's log since the last call should not be there. */
static inline bool log_is_clean(struct __test_metadata *_metadata, int kmsg)
{
	static const char * const splats[] = {
		"WARNING:", "BUG:", "Oops", "Call Trace", "No irq handler for",
		"nobody cared",
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

/*
 * A device that the driver has bound. Whatever a test allocated is freed when
 * it ends, and must then be back; the kernel must not have complained.
 */
FIXTURE(ims) {
	int kmsg;
	int last;
	int64_t used;
};

FIXTURE_SETUP(ims)
{
	if (!ims_present())
		SKIP(return, "no device");
	if (!ims_find()) {
		ASSERT_EQ(0, ims_load());
		ASSERT_TRUE(ims_find());
	}
	self->kmsg = open_log();
	ASSERT_LE(0, self->kmsg);
	self->last = ims_last();
	self->used = ims_counter("used");
	ASSERT_LE(0, self->used);
}

FIXTURE_TEARDOWN(ims)
{
	struct ims_irq *irqs;
	int count = ims_irqs(&irqs);

	for (int i = 0; i < count; i++)
		if (irqs[i].number > self->last)
			EXPECT_EQ(0, ims_control("free %d", irqs[i].number));
	free(irqs);
	EXPECT_EQ(self->used, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stale"));
	EXPECT_TRUE(log_is_clean(_metadata, self->kmsg));
}

#endif /* IMS_H */
