// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the program that the device works on: of which kinds it can be, what is refused,
 * what stays pinned and counted, and until when. A buffer is the memory of when it was
 * registered, whatever becomes of its addresses.
 */
#include <grp.h>
#include <sys/wait.h>

#include "calls.h"
#include "work_fixture.h"

#define NOBODY 65534
#define HUGE_PAGE (2 << 20)
#define SIZE (3 * PAGE + 100)
/* Where in a page memory begins that does not begin with one. */
#define OFFSET 1234
#define LIMIT_PAGES 16

/* Kinds of memory. Each has SIZE bytes, which are random. */
enum kind {
	ANONYMOUS, FRESH, UNALIGNED, SHARED, MEMFD_SHARED, MEMFD_PRIVATE, PROGRAM, HUGE, HUGETLB,
	READ_ONLY, STACK, KINDS
};

static const struct {
	const char *name;
	bool is_writable;
} kinds[KINDS] = {
	[ANONYMOUS] = { "anonymous", true },
	[FRESH] = { "anonymous, never touched", true },
	[UNALIGNED] = { "anonymous, unaligned", true },
	[SHARED] = { "shared anonymous", true },
	[MEMFD_SHARED] = { "shared file in memory", true },
	[MEMFD_PRIVATE] = { "private file in memory", true },
	[PROGRAM] = { "the program's own file", false },
	[HUGE] = { "transparent huge pages", true },
	[HUGETLB] = { "hugetlb", true },
	[READ_ONLY] = { "read only", false },
	[STACK] = { "stack", true },
};

/* A file in memory with random contents; -1 if there is none. */
static int memory_file(size_t size)
{
	int fd = memfd_create("work", MFD_CLOEXEC);
	unsigned char *bytes;

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -1;
	randomize(bytes, size, 7);
	munmap(bytes, size);
	return fd;
}

/* Memory of @kind, in which that on the stack is @stack; NULL if there is none. */
static unsigned char *memory_of(enum kind kind, unsigned char *stack)
{
	const int prot = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	unsigned char *bytes = MAP_FAILED;
	int fd;

	switch (kind) {
	case ANONYMOUS:
	case UNALIGNED:
	case FRESH:
	case READ_ONLY:
		bytes = mmap(NULL, SIZE + PAGE, prot, anonymous, -1, 0);
		if (bytes != MAP_FAILED && kind == UNALIGNED)
			bytes += OFFSET;
		break;
	case SHARED:
		bytes = mmap(NULL, SIZE, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		break;
	case MEMFD_SHARED:
	case MEMFD_PRIVATE:
		fd = memory_file(SIZE);
		bytes = mmap(NULL, SIZE, prot, kind == MEMFD_SHARED ? MAP_SHARED : MAP_PRIVATE,
			     fd, 0);
		close(fd);
		break;
	case PROGRAM:
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		bytes = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
		close(fd);
		break;
	case HUGE:
		bytes = mmap(NULL, 2 * HUGE_PAGE, prot, anonymous, -1, 0);
		if (bytes == MAP_FAILED)
			break;
		bytes = (void *)(((unsigned long)bytes + HUGE_PAGE - 1) & -(long)HUGE_PAGE);
		if (madvise(bytes, HUGE_PAGE, MADV_HUGEPAGE))
			return NULL;
		bytes[0] = 1;
		/* In the middle of the huge page. */
		bytes += HUGE_PAGE / 2 + OFFSET;
		break;
	case HUGETLB:
		write_text("/proc/sys/vm/nr_hugepages", "1");
		bytes = mmap(NULL, HUGE_PAGE, prot, anonymous | MAP_HUGETLB, -1, 0);
		break;
	default:
		bytes = stack;
		break;
	}
	if (bytes == MAP_FAILED)
		return NULL;
	if (kinds[kind].is_writable && kind != FRESH)
		randomize(bytes, SIZE, kind + 1);
	if (kind == READ_ONLY) {
		randomize(bytes, SIZE, kind + 1);
		if (mprotect(bytes, SIZE, PROT_READ))
			return NULL;
	}
	return bytes;
}

FIXTURE(kind) {
	FIXTURE_DATA(work) work;
};

FIXTURE_VARIANT(kind) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(kind, anonymous) { .kind = ANONYMOUS };
FIXTURE_VARIANT_ADD(kind, fresh) { .kind = FRESH };
FIXTURE_VARIANT_ADD(kind, unaligned) { .kind = UNALIGNED };
FIXTURE_VARIANT_ADD(kind, shared) { .kind = SHARED };
FIXTURE_VARIANT_ADD(kind, memfd_shared) { .kind = MEMFD_SHARED };
FIXTURE_VARIANT_ADD(kind, memfd_private) { .kind = MEMFD_PRIVATE };
FIXTURE_VARIANT_ADD(kind, program) { .kind = PROGRAM };
FIXTURE_VARIANT_ADD(kind, huge) { .kind = HUGE };
FIXTURE_VARIANT_ADD(kind, hugetlb) { .kind = HUGETLB };
FIXTURE_VARIANT_ADD(kind, read_only) { .kind = READ_ONLY };
FIXTURE_VARIANT_ADD(kind, stack) { .kind = STACK };

FIXTURE_SETUP(kind)
{
	work_setup(_metadata, &self->work, NULL);
}

FIXTURE_TEARDOWN(kind)
{
	work_teardown(_metadata, &self->work, NULL);
}

/* The device reads it and, if the program may write to it, writes to it. */
TEST_F(kind, copies)
{
	unsigned char stack[SIZE], before[SIZE];
	unsigned char *bytes = memory_of(variant->kind, stack);
	struct idxd_ims_completion completion;
	struct idxd_ims_item item;
	__u32 buffer, writable;

	if (!bytes && variant->kind == HUGETLB)
		SKIP(return, "no page of hugetlb");
	if (!bytes && variant->kind == HUGE)
		SKIP(return, "no transparent huge pages");
	ASSERT_NE(NULL, bytes);
	ASSERT_EQ(0, ims_register(self->work.file, bytes, SIZE, 0, &buffer));
	item = copy_item(buffer, 0, self->work.target.buffer, 5, SIZE, 1);
	ASSERT_EQ(0, ims_do(self->work.file, &item, &completion));
	EXPECT_EQ(IDXD_IMS_COMPLETED, completion.status);
	EXPECT_EQ(SIZE, completion.bytes);
	EXPECT_EQ(0, memcmp(self->work.target.bytes + 5, bytes, SIZE));

	memcpy(before, bytes, SIZE);
	item = copy_item(self->work.source.buffer, 3, buffer, 1, SIZE - 2, 2);
	EXPECT_EQ(-EACCES, ims_work(self->work.file, &item, 1));
	if (!kinds[variant->kind].is_writable) {
		EXPECT_EQ(-EFAULT, ims_register(self->work.file, bytes, SIZE,
						IDXD_IMS_BUFFER_WRITE, &writable));
		EXPECT_EQ(0, memcmp(before, bytes, SIZE));
		return;
	}
	/* One range can be registered more than once. */
	ASSERT_EQ(0, ims_register(self->work.file, bytes, SIZE, IDXD_IMS_BUFFER_WRITE,
				  &writable));
	item.target = writable;
	ASSERT_EQ(0, ims_do(self->work.file, &item, &completion));
	EXPECT_EQ(IDXD_IMS_COMPLETED, completion.status);
	EXPECT_EQ(before[0], bytes[0]);
	EXPECT_EQ(before[SIZE - 1], bytes[SIZE - 1]);
	EXPECT_EQ(0, memcmp(bytes + 1, self->work.source.bytes + 3, SIZE - 2));
	ASSERT_EQ(0, ims_unregister(self->work.file, writable));
	ASSERT_EQ(0, ims_unregister(self->work.file, buffer));
}

/* All of a huge page, and what is beside it. */
TEST_F(work, more_than_a_huge_page)
{
	const size_t size = 3 * HUGE_PAGE - 2 * OFFSET;
	unsigned char *pages = mmap(NULL, 4 * HUGE_PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *bytes;
	struct idxd_ims_completion completion;
	struct idxd_ims_item item;
	__u32 buffer;

	ASSERT_NE(MAP_FAILED, pages);
	madvise(pages, 4 * HUGE_PAGE, MADV_HUGEPAGE);
	memset(pages, UNTOUCHED, 4 * HUGE_PAGE);
	bytes = pages + OFFSET;
	ASSERT_EQ(0, ims_register(self->file, bytes, size, IDXD_IMS_BUFFER_WRITE, &buffer));
	randomize(bytes, MIB, 3);
	item = copy_item(buffer, 0, buffer, size - MIB, MIB, 1);
	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_EQ(MIB, completion.bytes);
	EXPECT_EQ(0, memcmp(bytes, bytes + size - MIB, MIB));
	EXPECT_EQ(UNTOUCHED, bytes[MIB]);
	EXPECT_EQ(UNTOUCHED, bytes[size - MIB - 1]);
	EXPECT_EQ(UNTOUCHED, bytes[size]);
}

TEST_F(work, register_outputs)
{
	struct idxd_ims_register argument = {
		.size = sizeof(argument), .address = (unsigned long)self->source.bytes + 1,
		.length = 5, .buffer = ~0U,
	};
	struct idxd_ims_register before = argument;

	ASSERT_EQ(0, ims_call(self->file, IDXD_IMS_REGISTER, &argument));
	EXPECT_NE(~0U, argument.buffer);
	EXPECT_NE(self->source.buffer, argument.buffer);
	EXPECT_NE(self->target.buffer, argument.buffer);
	before.buffer = argument.buffer;
	EXPECT_EQ(0, memcmp(&before, &argument, sizeof(before)));
	EXPECT_EQ(0, ims_unregister(self->file, argument.buffer));
	EXPECT_EQ(-ENOENT, ims_unregister(self->file, argument.buffer));
	EXPECT_EQ(-ENOENT, ims_unregister(self->file, ~0U));
}

/* Two pages, of which the second is not there. */
static unsigned char *end_of_mapping(void)
{
	unsigned char *pages = untouched(2 * PAGE);

	if (!pages || munmap(pages + PAGE, PAGE))
		return NULL;
	return pages + PAGE;
}

TEST_F(work, bad_registrations)
{
	unsigned char *end = end_of_mapping(), *hidden = end_of_page();
	const unsigned long good = (unsigned long)self->source.bytes;
	const struct {
		const char *what;
		__u64 address;
		__u64 length;
		__u32 flags;
		__u32 reserved;
		int error;
	} cases[] = {
		{ "no length", good, 0, 0, 0, EINVAL },
		{ "no length, nowhere", 0, 0, 0, 0, EINVAL },
		{ "overflow", good, -good + 1ULL, 0, 0, EINVAL },
		{ "overflow", good, ~0ULL, 0, 0, EINVAL },
		{ "overflow", -1ULL, 2, 0, 0, EINVAL },
		{ "nowhere", 0, PAGE, 0, 0, EFAULT },
		{ "kernel", 0xffff888000000000, PAGE, 0, 0, EFAULT },
		{ "kernel", 0xffffffff81000000, 1, 0, 0, EFAULT },
		{ "no address", 0x8000000000000000, PAGE, 0, 0, EFAULT },
		{ "beyond the end", (unsigned long)end, 1, 0, 0, EFAULT },
		{ "across the end", (unsigned long)end - 1, 2, 0, 0, EFAULT },
		{ "no access", (unsigned long)hidden, 1, 0, 0, EFAULT },
		{ "no access at the end", (unsigned long)hidden - 1, 2, 0, 0, EFAULT },
		{ "flags", good, PAGE, 0x2, 0, EINVAL },
		{ "flags", good, PAGE, 0x80000000, 0, EINVAL },
		{ "reserved", good, PAGE, 0, 1, EINVAL },
	};

	ASSERT_NE(NULL, end);
	ASSERT_NE(NULL, hidden);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct idxd_ims_register argument = {
			.size = sizeof(argument), .flags = cases[i].flags,
			.address = cases[i].address, .length = cases[i].length,
			.buffer = 12345, .reserved = cases[i].reserved,
		};

		EXPECT_EQ(-cases[i].error, ims_call(self->file, IDXD_IMS_REGISTER, &argument))
			TH_LOG("%zu: %s", i, cases[i].what);
		EXPECT_EQ(12345, argument.buffer);
	}
}

/* More than there is, from an address that is good. */
TEST_F(work, register_too_much)
{
	static const __u64 sizes[] = { 1ULL << 32, 1ULL << 40, 1ULL << 46, 1ULL << 62 };
	__u32 buffer;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int err = ims_register(self->file, self->source.bytes, sizes[i], 0, &buffer);

		EXPECT_TRUE(err == -EFAULT || err == -ENOMEM || err == -EINVAL)
			TH_LOG("%#llx bytes: %d", (unsigned long long)sizes[i], err);
	}
}

/* Registers of a device are no memory. */
TEST_F(work, register_a_bar)
{
	__u32 buffer;

	if (!ims_page())
		SKIP(return, "no test page");
	EXPECT_EQ(-EFAULT, ims_register(self->file, ims_page(), PAGE, 0, &buffer));
	EXPECT_EQ(-EFAULT, ims_register(self->file, ims_page(), PAGE, IDXD_IMS_BUFFER_WRITE,
					&buffer));
}

/* Where the number of the buffer cannot be written, there is none, and nothing is counted. */
TEST_F(work, register_into_read_only_memory)
{
	struct idxd_ims_register *argument = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
						  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, argument);
	*argument = (struct idxd_ims_register) {
		.size = sizeof(*argument), .address = (unsigned long)self->source.bytes,
		.length = PAGE,
	};
	ASSERT_EQ(0, mprotect(argument, PAGE, PROT_READ));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ims_call(self->file, IDXD_IMS_REGISTER, argument));
}

/* Many of one file, and again. */
TEST_F_TIMEOUT(work, many_buffers, 60)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item;
	__u32 buffers[200];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < ARRAY_SIZE(buffers); i++) {
			ASSERT_EQ(0, ims_register(self->file, self->target.bytes + i * 8, 8,
						  IDXD_IMS_BUFFER_WRITE, &buffers[i]));
			for (int j = 0; j < i; j++)
				ASSERT_NE(buffers[j], buffers[i]);
		}
		for (int i = 0; i < ARRAY_SIZE(buffers); i++) {
			const int from = i * PAGE + round;

			item = copy_item(self->source.buffer, from, buffers[i], 0, 8, i);
			ASSERT_EQ(0, ims_do(self->file, &item, &completion));
			EXPECT_EQ(0, memcmp(self->target.bytes + i * 8,
					    self->source.bytes + from, 8));
		}
		for (int i = 0; i < ARRAY_SIZE(buffers); i++)
			ASSERT_EQ(0, ims_unregister(self->file, buffers[i]));
	}
}

/* A page that is given back to the kernel is not the device's any more. */
TEST_F(work, nothing_is_written_after_unregister)
{
	struct idxd_ims_completion completions[8];
	struct idxd_ims_item items[8];
	__u32 buffer;

	ASSERT_EQ(0, ims_register(self->file, self->target.bytes, MIB, IDXD_IMS_BUFFER_WRITE,
				  &buffer));
	for (int i = 0; i < 8; i++)
		items[i] = copy_item(self->source.buffer, 0, buffer, 0, MIB, i);
	ASSERT_EQ(8, ims_work(self->file, items, 8));
	/* It waits for them: all of them have completed when it returns. */
	ASSERT_EQ(0, ims_unregister(self->file, buffer));
	memset(self->target.bytes, UNTOUCHED, REGION);
	ims_set_nonblock(self->file, true);
	ASSERT_EQ(8, ims_read(self->file, completions, 8));
	expect_each_once(_metadata, completions, 8, 0);
	settle();
	for (int i = 0; i < REGION; i++)
		ASSERT_EQ(UNTOUCHED, self->target.bytes[i]);
	EXPECT_EQ(-ENOENT, ims_work(self->file, items, 1));
}

/* Without waiting it is refused while an item uses the buffer, as source or as target. */
TEST_F_TIMEOUT(work, unregister_nonblock, 60)
{
	int busy[2] = {};

	ims_set_nonblock(self->file, true);
	for (int round = 0; round < 20 && (!busy[0] || !busy[1]); round++) {
		struct idxd_ims_completion completions[8];
		struct idxd_ims_item items[8];
		const int side = round & 1;
		int accepted, err;
		__u32 buffer;

		ASSERT_EQ(0, ims_register(self->file, self->target.bytes, MIB,
					  IDXD_IMS_BUFFER_WRITE, &buffer));
		for (int i = 0; i < 8; i++)
			items[i] = copy_item(side ? buffer : self->source.buffer, 0,
					     side ? self->target.buffer : buffer, side ? MIB : 0,
					     side ? PAGE * 4 : MIB, i);
		accepted = ims_work(self->file, items, 8);
		ASSERT_LT(0, accepted);
		err = ims_unregister(self->file, buffer);
		if (err) {
			EXPECT_EQ(-EBUSY, err);
			busy[side]++;
		}
		ASSERT_EQ(accepted, ims_collect(self->file, completions, accepted));
		expect_each_once(_metadata, completions, accepted, 0);
		/* That nobody has read their completions would not have mattered. */
		EXPECT_EQ(err ? 0 : -ENOENT, ims_unregister(self->file, buffer));
	}
	EXPECT_LT(0, busy[0] + busy[1]);
}

/* Completions that nobody reads keep no buffer. */
TEST_F(work, unregister_with_unread_completions)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = copy_item(self->source.buffer, 0, self->target.buffer, 0,
					      PAGE, 1);

	ASSERT_EQ(1, ims_work(self->file, &item, 1));
	ASSERT_EQ(POLLIN, ims_poll(self->file, POLLIN, DEADLINE_MS));
	ims_set_nonblock(self->file, true);
	EXPECT_EQ(0, ims_unregister(self->file, self->source.buffer));
	EXPECT_EQ(0, ims_unregister(self->file, self->target.buffer));
	ASSERT_EQ(1, ims_read(self->file, &completion, 1));
	EXPECT_EQ(PAGE, completion.bytes);
}

/* What happens to the addresses of a buffer that was registered as a mapping of a file. */
static const struct {
	const char *name;
	bool keeps;	/* The file still has the pages */
} fates[] = {
	{ "unmapped", true },
	{ "moved", true },
	{ "mapped over", true },
	{ "protected", true },
	{ "not needed", true },
	{ "cut off", false },
};

static bool befall(int fate, unsigned char *bytes, int fd)
{
	switch (fate) {
	case 0:
		return !munmap(bytes, MIB);
	case 1:
		return mremap(bytes, MIB, 2 * MIB, MREMAP_MAYMOVE) != MAP_FAILED;
	case 2:
		return mmap(bytes, MIB, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0) == bytes;
	case 3:
		return !mprotect(bytes, MIB, PROT_NONE);
	case 4:
		return !madvise(bytes, MIB, MADV_DONTNEED);
	default:
		return !ftruncate(fd, 0);
	}
}

/* With items in flight, and before the next ones: the device works on the same pages. */
TEST_F_TIMEOUT(work, fates_of_addresses, 60)
{
	for (int fate = 0; fate < ARRAY_SIZE(fates); fate++) {
		struct idxd_ims_completion completions[4];
		struct idxd_ims_item items[4];
		int fd = memory_file(MIB);
		unsigned char *bytes, *view;
		__u32 buffer;

		ASSERT_LE(0, fd);
		bytes = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		view = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, bytes);
		ASSERT_NE(MAP_FAILED, view);
		ASSERT_EQ(0, ims_register(self->file, bytes, MIB, IDXD_IMS_BUFFER_WRITE, &buffer));
		for (int round = 0; round < 2; round++) {
			for (int i = 0; i < 4; i++)
				items[i] = copy_item(self->source.buffer, i + round, buffer,
						     i * MIB / 4, MIB / 4, i);
			ASSERT_EQ(4, ims_work(self->file, items, 4));
			if (!round)
				ASSERT_TRUE(befall(fate, bytes, fd))
					TH_LOG("%s: %m", fates[fate].name);
			ASSERT_EQ(4, ims_collect(self->file, completions, 4));
			expect_each_once(_metadata, completions, 4, 0);
			for (int i = 0; i < 4; i++) {
				EXPECT_EQ(IDXD_IMS_COMPLETED, completions[i].status);
				if (!fates[fate].keeps)
					continue;
				EXPECT_EQ(0, memcmp(view + i * MIB / 4,
						    self->source.bytes + i + round, MIB / 4))
					TH_LOG("%s, round %d", fates[fate].name, round);
			}
		}
		EXPECT_EQ(0, ims_unregister(self->file, buffer));
		munmap(view, MIB);
		close(fd);
	}
}

/* Anonymous memory that is unmapped is the device's until it is done, and nobody else's. */
TEST_F(work, unmapped_at_once)
{
	for (int round = 0; round < 10; round++) {
		struct idxd_ims_completion completions[4];
		struct idxd_ims_item items[4];
		unsigned char *bytes = untouched(MIB), *others[8];
		__u32 buffer;

		ASSERT_NE(NULL, bytes);
		ASSERT_EQ(0, ims_register(self->file, bytes, MIB, IDXD_IMS_BUFFER_WRITE, &buffer));
		for (int i = 0; i < 4; i++)
			items[i] = copy_item(self->source.buffer, 0, buffer, 0, MIB, i);
		ASSERT_EQ(4, ims_work(self->file, items, 4));
		ASSERT_EQ(0, munmap(bytes, MIB));
		for (int i = 0; i < ARRAY_SIZE(others); i++) {
			others[i] = untouched(MIB / 4);
			ASSERT_NE(NULL, others[i]);
		}
		ASSERT_EQ(4, ims_collect(self->file, completions, 4));
		expect_each_once(_metadata, completions, 4, 0);
		for (int i = 0; i < ARRAY_SIZE(others); i++) {
			for (int j = 0; j < MIB / 4; j++)
				ASSERT_EQ(UNTOUCHED, others[i][j]);
			munmap(others[i], MIB / 4);
		}
		ASSERT_EQ(0, ims_unregister(self->file, buffer));
	}
}

/* A child gets a copy, and what the device writes is its parent's. */
TEST_F(work, copy_on_write)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = copy_item(self->source.buffer, 0, self->target.buffer, 0,
					      PAGE, 1);
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		/* Both of them, before and after the device has. */
		memset(self->target.bytes, 1, PAGE);
		for (;;)
			pause();
	}
	settle();
	self->target.bytes[PAGE] = 2;
	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_EQ(0, memcmp(self->target.bytes, self->source.bytes, PAGE));
	EXPECT_TRUE(stop(child));
	self->target.bytes[0] ^= 1;
	item = copy_item(self->target.buffer, 0, self->target.buffer, PAGE, PAGE, 2);
	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_EQ(0, memcmp(self->target.bytes, self->target.bytes + PAGE, PAGE));
}

/* What a user who may not lock memory without limit finds out: 0, or the number of a step. */
static int at_the_limit(int first, int second)
{
	const struct rlimit limit = { LIMIT_PAGES * PAGE, LIMIT_PAGES * PAGE };
	unsigned char *bytes = untouched((LIMIT_PAGES + 2) * PAGE);
	__u32 halves[2], pairs[LIMIT_PAGES / 4], more;

	if (!bytes || setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(0, NULL) ||
	    setgid(NOBODY) || setuid(NOBODY))
		return 1;
	if (ims_register(first, bytes, (LIMIT_PAGES + 1) * PAGE, 0, &more) != -ENOMEM)
		return 2;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2; i++)
			if (ims_register(first, bytes, LIMIT_PAGES / 2 * PAGE, 0, &halves[i]))
				return 3;
		if (ims_register(first, bytes, 1, 0, &more) != -ENOMEM)
			return 4;
		if (ims_register(second, bytes, 1, 0, &more) != -ENOMEM)
			return 5;
		if (ims_unregister(first, halves[0]))
			return 6;
		/* Two bytes can be two pages. */
		for (int i = 0; i < LIMIT_PAGES / 4; i++)
			if (ims_register(first, bytes + PAGE - 1, 2, 0, &pairs[i]))
				return 7;
		if (ims_register(first, bytes, 1, 0, &more) != -ENOMEM)
			return 8;
		/* What fails costs nothing. */
		if (ims_register(first, NULL, PAGE, 0, &more) == 0)
			return 9;
		if (ims_unregister(first, halves[1]))
			return 10;
		for (int i = 0; i < LIMIT_PAGES / 4; i++)
			if (ims_unregister(first, pairs[i]))
				return 11;
	}
	/* A file that is closed gives back all. */
	if (ims_register(first, bytes, LIMIT_PAGES * PAGE, 0, &more) ||
	    ims_register(second, bytes, 1, 0, &more) != -ENOMEM)
		return 12;
	ims_close(first);
	if (!wait_for(!ims_register(second, bytes, LIMIT_PAGES * PAGE, 0, &more)))
		return 13;
	return 0;
}

/* Root is not limited. */
TEST_F(work, limit_of_locked_memory)
{
	const struct rlimit limit = { PAGE, PAGE };
	__u32 buffer;
	pid_t child;

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		int first = ims_open(0), second = ims_open(0);

		_exit(first < 0 || second < 0 ? 100 : at_the_limit(first, second));
	}
	EXPECT_EQ(0, finish(child, DEADLINE_MS)) TH_LOG("see at_the_limit()");
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	EXPECT_EQ(0, ims_register(self->file, self->source.bytes, REGION, 0, &buffer));
}

TEST_HARNESS_MAIN
