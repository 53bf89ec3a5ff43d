// SPDX-License-Identifier: GPL-2.0
/*
 * The messages of the message store are nobody's business: who knows address and data
 * of one can have any device that does DMA send it. Only root sees them, in debugfs.
 */
#include <ftw.h>
#include <grp.h>

#include "expect.h"

#define NOBODY 65534
#define IRQS 4
#define MOST_TEXT 65536

/* Interrupts of all kinds, with the messages that they have. */
FIXTURE(private) {
	FIXTURE_DATA(ims) ims;
	int file;
	struct ims_irq irqs[IRQS];
};

/* Their messages. */
static uint64_t addresses[IRQS];

FIXTURE_SETUP(private)
{
	struct ims_slot slot;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->file = ims_open(0);
	ASSERT_LE(0, self->file);
	for (int i = 0; i < IRQS; i++) {
		ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &self->irqs[i]));
		ASSERT_TRUE(ims_slot(self->irqs[i].slot, &slot));
		ASSERT_NE(0, slot.address);
		addresses[i] = slot.address;
	}
	raise_one(_metadata, &self->irqs[0], 1);
	ASSERT_EQ(0, ims_mask(&self->irqs[1]));
}

FIXTURE_TEARDOWN(private)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Is there an address of a message in a text, however it is written? */
static bool tells(const char *text)
{
	for (int i = 0; i < IRQS; i++) {
		if (strcasestr(text, path_of("%llx", (unsigned long long)addresses[i])) ||
		    strstr(text, path_of("%llu", (unsigned long long)addresses[i])))
			return true;
	}
	return false;
}

/* What can be read of a file, as text. Returns false if it cannot be opened. */
static bool read_text(const char *path, char text[MOST_TEXT])
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t len, at = 0;

	if (fd < 0)
		return false;
	while ((len = read(fd, text + at, MOST_TEXT - 1 - at)) > 0)
		at += len;
	for (int i = 0; i < at; i++)
		text[i] = text[i] ?: ' ';
	text[at] = '\0';
	close(fd);
	return true;
}

/* It knows what it looks for. */
TEST_F(private, root_sees_them)
{
	static char text[MOST_TEXT];

	ASSERT_TRUE(read_text(path_of("%s/slots", ims_dir), text));
	EXPECT_TRUE(tells(text));
}

/* Runs a function as nobody in particular. Returns what it returns. */
static int as_nobody(int (*function)(const char *path), const char *path)
{
	pid_t child = start();

	if (!child) {
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(EINVAL);
		_exit(function(path));
	}
	return finish(child, DEADLINE_MS);
}

static int open_it(const char *path)
{
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) < 0 ? errno : 0;
}

static int permissions(const char *path)
{
	struct stat info;

	return stat(path, &info) ? -1 : info.st_mode & 07777;
}

TEST_F(private, only_root_opens)
{
	static const char * const files[] = { "slots", "counters" };

	for (int i = 0; i < ARRAY_SIZE(files); i++) {
		const char *path = path_of("%s/%s", ims_dir, files[i]);

		EXPECT_EQ(EACCES, as_nobody(open_it, path)) TH_LOG("%s", path);
		/* However debugfs is mounted. */
		EXPECT_EQ(0, permissions(path) & 077) TH_LOG("%s: %o", path, permissions(path));
	}
	for (int wq = 0; wq < ims_wqs(); wq++) {
		EXPECT_EQ(EACCES, as_nobody(open_it, node_of(wq)));
		EXPECT_EQ(0600, permissions(node_of(wq)));
	}
	EXPECT_EQ(EACCES, as_nobody(open_it, path_of(PCI_DEVICES "%s/resource0", ims_bdf)));
	/* That nobody opens nothing at all would prove nothing. */
	EXPECT_EQ(0, as_nobody(open_it, path_of(PCI_DEVICES "%s/vendor", ims_bdf)));
}

/* For nftw(), which has no argument for those who call it. */
static int files_read;
static char told[PATH_MAX];

static int look_into(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
	static char text[MOST_TEXT];

	if (type == FTW_F && info->st_mode & 0004 && read_text(path, text)) {
		files_read++;
		if (tells(text))
			snprintf(told, sizeof(told), "%s", path);
	}
	return 0;
}

TEST_F(private, nothing_that_all_can_read_tells)
{
	nftw(path_of(PCI_DEVICES "%s/", ims_bdf), look_into, 16, FTW_PHYS);
	nftw("/sys/module/" DRIVER, look_into, 16, FTW_PHYS);
	nftw("/sys/bus/auxiliary", look_into, 16, FTW_PHYS);
	for (int i = 0; i < IRQS; i++) {
		nftw(path_of("/proc/irq/%u", self->irqs[i].virq), look_into, 16, FTW_PHYS);
		nftw(path_of("/sys/kernel/irq/%u", self->irqs[i].virq), look_into, 16, FTW_PHYS);
	}
	nftw("/proc/interrupts", look_into, 16, FTW_PHYS);
	EXPECT_LT(20 + 8 * IRQS, files_read);
	EXPECT_STREQ("", told);
}

TEST_F(private, the_log_does_not_tell)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[8192];
	ssize_t len;

	ASSERT_LE(0, log);
	while ((len = read(log, record, sizeof(record) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		record[len > 0 ? len : 0] = '\0';
		EXPECT_FALSE(tells(record)) TH_LOG("%s", record);
	}
	close(log);
}

/* Each word that the calls give back is something else that is known. */
TEST_F(private, calls_do_not_tell)
{
	for (int i = 0; i < IRQS; i++) {
		struct idxd_ims_state state;
		struct idxd_ims_query query;

		ASSERT_EQ(0, ims_state(&self->irqs[i], &state));
		EXPECT_EQ(sizeof(state), state.size);
		EXPECT_EQ(self->irqs[i].id, state.id);
		EXPECT_EQ(i == 1 ? IDXD_IMS_STATE_MASKED : 0, state.flags);
		EXPECT_EQ(0, state.reserved);
		EXPECT_EQ(kernel_count(self->irqs[i].virq), state.count);

		ASSERT_EQ(0, ims_query(self->file, &query));
		EXPECT_EQ(sizeof(query), query.size);
		EXPECT_EQ(ims_counter("slots"), query.slots);
		EXPECT_EQ(IRQS, query.used);
		EXPECT_EQ(ims_limit(0, "min"), query.min);
		EXPECT_EQ(ims_limit(0, "max"), query.max);
		EXPECT_EQ(IRQS, query.file_used);
		EXPECT_EQ(0, query.reserved);

		EXPECT_GT(IRQS, self->irqs[i].id);
		EXPECT_GT(ims_counter("slots"), self->irqs[i].slot);
		EXPECT_TRUE(exists(path_of(PCI_DEVICES "%s/msi_irqs/%u", ims_bdf,
					   self->irqs[i].virq)));
	}
}

TEST_HARNESS_MAIN
