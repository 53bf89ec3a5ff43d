/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Operations in which each allocation of the kernel fails once: what they return then,
 * what they leave behind, and whether the next try succeeds.
 *
 * fail-nth has the nth allocation fail that a task makes from then on, be it of the slab
 * or of pages, or the nth copy from or to its memory, as they come. What workers do for it
 * is not hit.
 *
 * FAIL_NTH=N has only the Nth fail, and the kernel's log says where that is.
 */
#ifndef IMS_FAIL_H
#define IMS_FAIL_H

#include <sys/mman.h>
#include <sys/syscall.h>

#include "ims.h"

#define DEBUGFS "/sys/kernel/debug/"
#define FAIL_NTH "/proc/thread-self/fail-nth"

/* An operation with more allocations than that has got stuck. */
#define MOST_ALLOCATIONS 10000
#define MOST_ERRORS 4

/* What is freed may take a moment to be gone. */
#define SAME_MS (2000 * slow())

struct operation {
	/* Brings about what the operation needs. Returns 0 or a negative errno, as all of them. */
	int (*prepare)(void);
	int (*run)(void);
	/* Takes back what run() did. */
	int (*undo)(void);
	/* What there is after run() is of use, although an allocation failed. */
	bool (*usable)(void);
	/* Errors that it may fail with if there is no memory. */
	int errors[MOST_ERRORS];
	/* It allocates memory. */
	bool allocates;
	/* It takes a device that items can be submitted to. */
	bool items;
	/* The kernel goes on without some things that it cannot have, such as files in debugfs. */
	bool lossy;
};

/* ---- Injection ---- */

/* As they come, only allocations of several pages fail that cannot wait. */
static const struct {
	const char *path;
	const char *value;
} injection_settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
};

static const char * const injections[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

static inline bool can_inject(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(injection_settings); i++)
		if (access(injection_settings[i].path, W_OK))
			return false;
	return !access(DEBUGFS "failslab/reject-start", W_OK) && !access(FAIL_NTH, W_OK);
}

/* The allocation that fails; 0 for each. */
static inline int only_nth(void)
{
	const char *nth = getenv("FAIL_NTH");

	return nth ? atoi(nth) : 0;
}

static inline int set_injection(const char *name, const char *value)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(injections); i++)
		err = write_text(path_of(DEBUGFS "%s/%s", injections[i], name), value);
	return err;
}

/*
 * The files of /proc/irq are always made: the core warns when it removes one that it could
 * not make.
 */
static inline int spare(const char *function)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	unsigned long long address, start = 0, end = 0;
	char line[1024], name[512];

	while (symbols && !end && fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%llx %*c %511s", &address, name) != 2)
			continue;
		if (start && address > start)
			end = address;
		else if (!strcmp(name, function))
			start = address;
	}
	if (symbols)
		fclose(symbols);
	if (!end)
		return -ENOENT;
	return set_injection("reject-start", path_of("%#llx", start)) ?:
	       set_injection("reject-end", path_of("%#llx", end));
}

/* Has nothing but the nth allocations fail. Without a page fault: its page would count. */
static inline int set_up_injection(void)
{
	int err = mlockall(MCL_CURRENT | MCL_FUTURE) ? -errno : 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(injection_settings); i++)
		err = write_text(injection_settings[i].path, injection_settings[i].value);
	return err ?: set_injection("verbose", only_nth() ? "2" : "0") ?:
	       spare("register_irq_proc");
}

/*
 * Runs it with the nth allocation failing, if @nth is not 0. Says in @failed whether it came
 * to that.
 */
static inline int run_failing(const struct operation *operation, int nth, bool *failed)
{
	int fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC), err;
	char text[16], left[16] = "";

	snprintf(text, sizeof(text), "%d", nth);
	if (fd < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		return -EBADF;
	err = operation->run();
	/* If it is this copy that fails, it was nothing in there. */
	*failed = nth && pread(fd, left, sizeof(left) - 1, 0) > 0 && !atoi(left);
	/* Nor this one; then the next gets there. */
	if (pwrite(fd, "0", 1, 0) != 1 && pwrite(fd, "0", 1, 0) != 1)
		err = -EBADF;
	close(fd);
	return err;
}

/* ---- What there is ---- */

struct description {
	char text[8192];
	int length;
};

static inline __printf(2, 3) void describe(struct description *what, const char *format, ...)
{
	int room = sizeof(what->text) - what->length, length;
	va_list args;

	va_start(args, format);
	length = vsnprintf(what->text + what->length, room, format, args);
	va_end(args);
	what->length += length < room ? length : room - 1;
}

static inline void describe_paths(struct description *what, const char *pattern)
{
	glob_t paths = {};

	glob(pattern, 0, NULL, &paths);
	describe(what, "%s: %zu paths\n", pattern, paths.gl_pathc);
	globfree(&paths);
}

/* Those lines of a file that have one of these words, or how many they are. */
static inline void describe_lines(struct description *what, const char *path, bool count,
				  const char *word, const char *or_word)
{
	FILE *file = fopen(path, "re");
	char line[1024];
	int lines = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strstr(line, word) && !strstr(line, or_word))
			continue;
		lines++;
		if (!count)
			describe(what, "%s: %s", path, line);
	}
	if (count)
		describe(what, "%s: %d lines with %s\n", path, lines, word);
	if (file)
		fclose(file);
}

/* How many interrupts each domain has, and how many vectors. */
static inline void describe_domains(struct description *what)
{
	glob_t paths;

	if (glob(DEBUGFS "irq/domains/*", 0, NULL, &paths))
		return;
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		describe_lines(what, paths.gl_pathv[i], false, " mapped:", " Global ");
		describe_lines(what, paths.gl_pathv[i], false, " Total ", " Total ");
	}
	globfree(&paths);
}

/* How often the module is in use. */
static inline void describe_module(struct description *what)
{
	char line[32] = "not loaded";

	read_line(line, sizeof(line), "/sys/module/" DRIVER "/refcnt");
	describe(what, "module: %s\n", line);
}

/* How often the device is enabled, and whether it can access memory and be a master. */
static inline void describe_device(struct description *what)
{
	int fd = open(path_of(PCI_DEVICES "%s/config", ims_bdf), O_RDONLY | O_CLOEXEC);
	unsigned char command = 0;
	char line[32] = "";

	if (pread(fd, &command, 1, 4) == 1)
		read_line(line, sizeof(line), path_of(PCI_DEVICES "%s/enable", ims_bdf));
	close(fd);
	describe(what, "device: enabled %s times, command %#x\n", line, command);
}

/* All that the driver, its device and its interrupts are seen by. */
static inline void describe_all(struct description *what)
{
	static const char * const paths[] = {
		"/sys/module/" DRIVER "/*", "/sys/bus/pci/drivers/" DRIVER "/*",
		"/sys/bus/auxiliary/devices/" DRIVER ".*", SUBDEVICE_DRIVER, SUBDEVICE_DRIVER "/*",
		DEBUGFS DRIVER "-*/*", DEBUGFS "irq/irqs/*", "/sys/kernel/irq/*", "/proc/irq/*",
		"/sys/class/misc/*", "/dev/" DRIVER "/*",
	};
	static const char * const device_paths[] = {
		"driver", "msi_irqs/*", "wq*/*", DRIVER ".wq.*", DRIVER ".wq.*/*",
	};

	what->length = 0;
	describe_module(what);
	describe_device(what);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		describe_paths(what, paths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(device_paths); i++)
		describe_paths(what, path_of(PCI_DEVICES "%s/%s", ims_bdf, device_paths[i]));
	describe_lines(what, "/proc/interrupts", true, ims_bdf, ims_bdf);
	describe_lines(what, "/proc/iomem", true, DRIVER, DRIVER);
	describe_lines(what, path_of("%s/counters", ims_dir), false, "used", "stuck");
	describe_lines(what, attribute_of(0, "min"), false, "", "");
	describe_lines(what, attribute_of(0, "max"), false, "", "");
	describe_domains(what);
}

/* Is everything as it was? Says what is not. */
static inline bool is_as(struct __test_metadata *_metadata, const struct description *before)
{
	static struct description now;
	const char *was = before->text, *is = now.text;
	bool same;

	same = wait_for_ms((describe_all(&now), !strcmp(before->text, now.text)), SAME_MS);
	while (!same && *was && *is) {
		int was_length = strcspn(was, "\n"), is_length = strcspn(is, "\n");

		if (was_length != is_length || strncmp(was, is, was_length)) {
			TH_LOG("was: %.*s", was_length, was);
			TH_LOG("is:  %.*s", is_length, is);
		}
		was += was_length + !!was[was_length];
		is += is_length + !!is[is_length];
	}
	return same;
}

/* ---- The test ---- */

static inline bool may_fail_with(const struct operation *operation, int err)
{
	for (int i = 0; i < MOST_ERRORS; i++)
		if (operation->errors[i] && operation->errors[i] == err)
			return true;
	return err == -EFAULT;
}

static inline void fail_each(struct __test_metadata *_metadata, const struct operation *operation)
{
	static struct description before, after;
	int first = only_nth() ?: 1, nth, err, failures = 0, tolerated = 0;
	bool failed;

	ASSERT_EQ(0, operation->prepare());
	/* What is there to stay from the first time on is not lost. */
	ASSERT_EQ(0, run_failing(operation, 0, &failed));
	ASSERT_EQ(0, operation->undo());
	describe_all(&before);
	ASSERT_EQ(0, run_failing(operation, 0, &failed));
	describe_all(&after);
	ASSERT_EQ(0, operation->undo());
	ASSERT_TRUE(is_as(_metadata, &before));

	for (nth = first; nth < MOST_ALLOCATIONS; nth++) {
		err = run_failing(operation, nth, &failed);
		if (err) {
			ASSERT_TRUE(failed) TH_LOG("error %d, but no allocation %d", err, nth);
			ASSERT_TRUE(may_fail_with(operation, err))
				TH_LOG("allocation %d: error %d", nth, err);
			ASSERT_TRUE(is_as(_metadata, &before)) TH_LOG("allocation %d", nth);
			ASSERT_EQ(0, operation->run()) TH_LOG("after allocation %d failed", nth);
			failures++;
		}
		if (!err && failed) {
			ASSERT_TRUE(!operation->usable || operation->usable())
				TH_LOG("allocation %d", nth);
			tolerated++;
		}
		ASSERT_TRUE((operation->lossy && failed && !err) || is_as(_metadata, &after))
			TH_LOG("allocation %d", nth);
		ASSERT_EQ(0, operation->undo()) TH_LOG("allocation %d", nth);
		if (!failed || only_nth())
			break;
	}
	ASSERT_TRUE(is_as(_metadata, &before));
	TH_LOG("of %d allocations, %d are needed, and %d can be done without", nth - 1, failures,
	       tolerated);
	EXPECT_GT(MOST_ALLOCATIONS, nth);
	if (!only_nth())
		EXPECT_TRUE(!operation->allocates || nth > 1);
}

/* ---- The module and the device ---- */

/* The module's file, if it is known: its pages must be there before allocations fail. */
static void *module_image;
static size_t module_size;

static inline int read_module(void)
{
	const char *path = getenv("IMS_MODULE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct stat info;
	size_t done = 0;
	ssize_t count = 1;

	if (fd < 0 || fstat(fd, &info))
		return -ENOENT;
	module_size = info.st_size;
	module_image = share(module_size);
	while (module_image && done < module_size && count > 0) {
		count = read(fd, module_image + done, module_size - done);
		done += count > 0 ? count : 0;
	}
	close(fd);
	return done == module_size ? 0 : -EIO;
}

static inline int load_module(const char *parameters)
{
	const char *all = path_of("%s %s", ims_parameters(), parameters);

	return syscall(SYS_init_module, module_image, module_size, all) ? -errno : 0;
}

static inline int unload_module(void)
{
	return syscall(SYS_delete_module, DRIVER, O_NONBLOCK) ? -errno : 0;
}

static inline int bind_device(void)
{
	return ims_bind_driver("bind");
}

static inline int unbind_device(void)
{
	return ims_bind_driver("unbind");
}

/* Whether devices are bound as they appear: what is to fail is done by hand. */
static inline int set_autoprobe(bool on)
{
	const char *value = on ? "1" : "0";

	return write_text("/sys/bus/pci/drivers_autoprobe", value) ?:
	       write_text("/sys/bus/auxiliary/drivers_autoprobe", value);
}

/* Reads a file to its end. */
static inline int read_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	char page[4096];
	ssize_t count;

	if (fd < 0)
		return -errno;
	do {
		count = read(fd, page, sizeof(page));
		if (count < 0)
			err = -errno;
	} while (count > 0);
	close(fd);
	return err;
}

static inline int nothing(void)
{
	return 0;
}

/* For main(). */
static inline void need_injection(void)
{
	if (!can_inject())
		ksft_exit_skip("no fault injection in this kernel\n");
}

#endif /* IMS_FAIL_H */
