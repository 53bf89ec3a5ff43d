// SPDX-License-Identifier: GPL-2.0
/*
 * Files that show the device and its interrupts, held open while what they show
 * goes or changes. Reading, writing and polling them then fails or gives the old
 * answer, closing them works, and the kernel does not complain.
 */
#include <poll.h>

#include "interrupt.h"

#define MOST 256

/* The files: the device's address and an interrupt's number are filled in. */
static const char * const patterns[] = {
	"/sys/kernel/debug/" DRIVER "-%1$s/*",
	"/sys/bus/pci/drivers/" DRIVER "/*",
	SUBDEVICE_DRIVER "/*",
	PCI_DEVICES "%1$s/*",
	PCI_DEVICES "%1$s/msi_irqs/%2$u",
	PCI_DEVICES "%1$s/" DRIVER ".wq.*/*",
	"/sys/class/misc/" DRIVER "!%1$s.wq0/*",
	"/proc/irq/%2$u/*",
	"/sys/kernel/irq/%2$u/*",
	"/sys/kernel/debug/irq/irqs/%2$u",
	"/sys/kernel/debug/irq/domains/*IDXD-IMS-%1$s*",
};

/* Whatever is written to them does something to the machine, or to the test. */
static const char * const active[] = { "remove", "rescan", "reset", "rom", "config",
					"driver_override" };

struct file {
	char path[PATH_MAX];
	int fd;
	bool writable;
};

static struct file files[MOST];
static int nr_files;

static bool is_active(const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	for (int i = 0; i < ARRAY_SIZE(active); i++)
		if (!strcmp(name, active[i]))
			return true;
	return !strncmp(name, "resource", strlen("resource"));
}

/* Opens what matches. Returns how many files that are. */
static int open_all(const char *pattern)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	int opened = 0;
	glob_t paths;

	if (glob(pattern, 0, NULL, &paths))
		return 0;
	for (size_t i = 0; i < paths.gl_pathc && nr_files < MOST; i++) {
		struct file *file = &files[nr_files];
		struct stat status;
		int mode;

		if (stat(paths.gl_pathv[i], &status) || !S_ISREG(status.st_mode) ||
		    is_active(paths.gl_pathv[i]))
			continue;
		mode = !!(status.st_mode & 0444) + 2 * !!(status.st_mode & 0222);
		if (!mode)
			continue;
		snprintf(file->path, sizeof(file->path), "%s", paths.gl_pathv[i]);
		file->writable = mode & 2;
		file->fd = open(file->path, modes[mode - 1] | O_NONBLOCK | O_CLOEXEC);
		if (file->fd < 0)
			continue;
		nr_files++;
		opened++;
	}
	globfree(&paths);
	return opened;
}

/* Reads and writes a file, at its beginning and where it is. */
static void use(int fd, bool writable)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN | POLLPRI };
	char text[4096];

	/* That of a work queue would wait for completions. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	poll(&poll_fd, 1, 0);
	while (read(fd, text, sizeof(text)) > 0)
		;
	lseek(fd, 0, SEEK_SET);
	while (read(fd, text, sizeof(text)) > 0)
		;
	/* Nothing takes that. */
	if (writable)
		write(fd, "?", 1);
}

/* Opens all files, and half reads some. */
static void hold(struct __test_metadata *_metadata, const struct ims_irq *irq)
{
	char text[8];

	nr_files = 0;
	for (int i = 0; i < ARRAY_SIZE(patterns); i++) {
		char pattern[PATH_MAX];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(pattern, sizeof(pattern), patterns[i], ims_bdf, irq->virq);
#pragma GCC diagnostic pop
		EXPECT_LT(0, open_all(pattern)) TH_LOG("%s", pattern);
	}
	ASSERT_GT(MOST, nr_files);
	for (int i = 0; i < nr_files; i += 2)
		read(files[i].fd, text, sizeof(text));
	TH_LOG("%d files", nr_files);
}

static void let_go(void)
{
	for (int i = 0; i < nr_files; i++)
		use(files[i].fd, files[i].writable);
	for (int i = 0; i < nr_files; i++)
		close(files[i].fd);
	nr_files = 0;
}

/* With an interrupt, whose files are there once it has a handler. */
FIXTURE(files) {
	FIXTURE_DATA(interrupt) own;
};

FIXTURE_SETUP(files)
{
	interrupt_setup(_metadata, &self->own, NULL);
	if (_metadata->exit_code)
		return;
	hold(_metadata, &self->own.irq);
}

FIXTURE_TEARDOWN(files)
{
	if (ims_bdf[0] && !exists(ims_dir)) {
		if (!exists(path_of(PCI_DEVICES "%s", ims_bdf)))
			write_text("/sys/bus/pci/rescan", "1");
		if (!ims_is_module())
			ims_load("");
		ims_give();
	}
	interrupt_teardown(_metadata, &self->own, NULL);
}

TEST_F(files, as_they_are)
{
	let_go();
	EXPECT_EQ(0, ims_noop(&self->own.irq));
}

TEST_F(files, over_a_free)
{
	ASSERT_EQ(0, ims_free(&self->own.irq));
	let_go();
}

TEST_F(files, over_unbind)
{
	ASSERT_EQ(0, ims_bind_driver("unbind"));
	let_go();
	use(self->own.file, true);
}

TEST_F(files, over_unbind_of_the_subdevice)
{
	char name[64];

	snprintf(name, sizeof(name), "%s", subdevice_of(0));
	ASSERT_EQ(0, bind_subdevice("unbind", name));
	let_go();
	use(self->own.file, true);
	ASSERT_EQ(0, bind_subdevice("bind", name));
}

TEST_F(files, over_reset)
{
	ASSERT_EQ(0, ims_reset());
	let_go();
	use(self->own.file, true);
	EXPECT_EQ(0, ims_noop(&self->own.irq));
}

TEST_F(files, over_remove)
{
	ASSERT_EQ(0, write_text(path_of(PCI_DEVICES "%s/remove", ims_bdf), "1"));
	let_go();
	use(self->own.file, true);
}

/* Loading frees for good what the module had before. */
static void reload(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, ims_unload());
	ASSERT_EQ(0, ims_load(""));
	ASSERT_EQ(0, ims_unload());
}

/* The work queue's file keeps the module. The others do not: it is unloaded while they are open. */
TEST_F(files, over_unload)
{
	if (!ims_is_module())
		SKIP(return, "the driver is built in");
	EXPECT_NE(0, ims_unload());
	ims_close(self->own.file);
	reload(_metadata);
	let_go();
}

TEST_F(files, over_remove_and_unload)
{
	if (!ims_is_module())
		SKIP(return, "the driver is built in");
	ASSERT_EQ(0, write_text(path_of(PCI_DEVICES "%s/remove", ims_bdf), "1"));
	ims_close(self->own.file);
	reload(_metadata);
	let_go();
}

/* One that is opened, read and closed without end, over several lives of the driver. */
TEST_F_TIMEOUT(files, opened_over_and_over, 60)
{
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		for (;;) {
			for (int i = 0; i < nr_files; i++) {
				int fd = open(files[i].path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

				if (fd < 0)
					continue;
				use(fd, false);
				close(fd);
			}
		}
	}
	ims_close(self->own.file);
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, ims_bind_driver("unbind"));
		ASSERT_EQ(0, ims_bind_driver("bind"));
		usleep(100000);
	}
	EXPECT_TRUE(stop(child));
	let_go();
}

TEST_HARNESS_MAIN
