// SPDX-License-Identifier: GPL-2.0
/*
 * Every error of the calls, one test for each cause. What failed has changed
 * nothing: the slots in use are those of before, and the interrupt still works.
 * Limits are in quota.c, a device that has gone in unbind.c.
 */
#include <sys/epoll.h>

#include "calls.h"
#include "interrupt.h"

#define NOT_OPEN 12345
#define COPY_MAX 8192
#define NOT_HELD 0x13579bdf

/* Kernel addresses, and what cannot be an address. */
static void * const bad_pointers[] = {
	NULL, (void *)1, (void *)0xffff888000000000, (void *)0xffffffff81000000,
	(void *)0x8000000000000000, (void *)0x7ffffffffffffffc, (void *)-4096UL, (void *)-4UL,
};

/* Nothing is lost or made, and the interrupt is as it was: raised once, it comes once. */
static void expect_unchanged(struct __test_metadata *_metadata, struct ims_irq *irq)
{
	uint64_t before = ims_signals(irq);

	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(1, ims_file_used(irq->file));
	EXPECT_STATE(irq, false, false);
	EXPECT_EQ(0, ims_noop(irq));
	EXPECT_ARRIVED_IN_ALL(irq, before + 1);
}

/* An allocation that fails, and writes nothing. */
#define EXPECT_NO_ALLOC(error_, flags_, eventfd_, cpu_)					\
do {											\
	struct idxd_ims_alloc before_ = {						\
		.size = sizeof(before_), .flags = (flags_), .eventfd = (eventfd_),	\
		.cpu = (cpu_),								\
		.id = NOT_HELD, .virq = NOT_HELD, .slot = NOT_HELD,			\
	};										\
	struct idxd_ims_alloc after_ = before_;						\
											\
	EXPECT_EQ(error_, ims_call(self->file, IDXD_IMS_ALLOC, &after_))		\
		TH_LOG("flags %#x eventfd %d cpu %u", before_.flags, before_.eventfd,	\
		       before_.cpu);							\
	EXPECT_EQ(0, memcmp(&before_, &after_, sizeof(before_)));			\
} while (0)

/* The first number that is not one of a CPU. */
static int impossible_cpu(void)
{
	char line[64] = "0";
	const char *last;

	read_line(line, sizeof(line), "/sys/devices/system/cpu/possible");
	last = strrchr(line, '-') ?: strrchr(line, ',');
	return atoi(last ? last + 1 : line) + 1;
}

TEST_F(interrupt, einval_size)
{
	for (int call = 0; call < device_calls(); call++) {
		for (__u32 size = 0; size < calls[call].size; size++) {
			union call_argument argument = valid_argument(call, &self->irq), before;

			argument.size = size;
			before = argument;
			EXPECT_EQ(-EINVAL, ims_call(self->file, calls[call].request, &argument))
				TH_LOG("%s of %u bytes", calls[call].name, size);
			EXPECT_EQ(0, memcmp(&before, &argument, sizeof(before)));
		}
	}
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, einval_reserved)
{
	struct idxd_ims_query query = { .size = sizeof(query) };
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = -1 };
	struct idxd_ims_bind bind = {
		.size = sizeof(bind), .id = self->irq.id, .eventfd = self->irq.eventfd,
	};
	struct idxd_ims_state state = { .size = sizeof(state), .id = self->irq.id };

	for (int bit = 0; bit < 32; bit++) {
		query.reserved = 1U << bit;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_QUERY, &query));
		alloc.reserved = 1U << bit;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_ALLOC, &alloc));
		bind.reserved = 1U << bit;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_BIND, &bind));
		state.reserved = 1U << bit;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_STATE, &state));
	}
	EXPECT_EQ(0, query.slots);
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, einval_flags)
{
	for (int bit = 1; bit < 32; bit++)
		EXPECT_NO_ALLOC(-EINVAL, 1U << bit, -1, 0);
	EXPECT_NO_ALLOC(-EINVAL, ~0U, -1, 0);
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, einval_cpu)
{
	const int impossible = impossible_cpu();
	const __u32 cpus[] = { impossible, 1 << 16, 0x7fffffff, 0x80000000, ~0U };

	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		EXPECT_NO_ALLOC(-EINVAL, IDXD_IMS_ALLOC_CPU, -1, cpus[i]);
		EXPECT_NO_ALLOC(-EINVAL, IDXD_IMS_ALLOC_CPU, self->irq.eventfd, cpus[i]);
	}
	/* Without the flag. */
	EXPECT_NO_ALLOC(-EINVAL, 0, -1, 1);
	EXPECT_NO_ALLOC(-EINVAL, 0, -1, ~0U);
	expect_unchanged(_metadata, &self->irq);
}

/* A file, but no eventfd. */
TEST_F(interrupt, einval_eventfd)
{
	struct ims_irq irq = self->irq;
	int pipes[2], files[5];

	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	files[0] = pipes[0];
	files[1] = pipes[1];
	files[2] = self->file;
	files[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
	files[4] = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT_LE(0, files[i]);
		EXPECT_NO_ALLOC(-EINVAL, 0, files[i], 0);
		EXPECT_EQ(-EINVAL, ims_bind(&irq, files[i])) TH_LOG("file %zu", i);
	}
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, einval_submit)
{
	static const struct {
		__u32 op;
		__u32 length;
	} submits[] = {
		{ IDXD_IMS_OP_NOOP, 1 }, { IDXD_IMS_OP_NOOP, COPY_MAX }, { IDXD_IMS_OP_NOOP, ~0U },
		{ IDXD_IMS_OP_COPY, 0 }, { IDXD_IMS_OP_COPY, COPY_MAX + 1 },
		{ IDXD_IMS_OP_COPY, 1 << 16 }, { IDXD_IMS_OP_COPY, 0x80000000 },
		{ IDXD_IMS_OP_COPY, ~0U },
		{ 2, 0 }, { 2, 1 }, { 3, 0 }, { 0x100, 0 }, { 0x80000000, 0 }, { ~0U, ~0U },
	};

	for (size_t i = 0; i < ARRAY_SIZE(submits); i++) {
		EXPECT_EQ(-EINVAL, ims_submit(&self->irq, submits[i].op, submits[i].length))
			TH_LOG("op %#x length %#x", submits[i].op, submits[i].length);
	}
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, einval_without_eventfd)
{
	struct ims_irq irq;

	ASSERT_EQ(0, ims_alloc(self->file, -1, &irq));
	EXPECT_EQ(-EINVAL, ims_mask(&irq));
	EXPECT_EQ(-EINVAL, ims_unmask(&irq));
	EXPECT_EQ(-EINVAL, ims_noop(&irq));
	EXPECT_EQ(-EINVAL, ims_copy(&irq, 64));
	EXPECT_STATE(&irq, true, false);
	EXPECT_DEVICE(&irq, 0, 0, 0);
	EXPECT_EQ(2, ims_counter("used"));

	/* It is good for all of that once it has one, and again not without. */
	ASSERT_EQ(0, ims_bind(&irq, new_eventfd()));
	EXPECT_EQ(0, ims_copy(&irq, 64));
	EXPECT_ARRIVED_IN_ALL(&irq, 1);
	ASSERT_EQ(0, ims_bind(&irq, -1));
	EXPECT_EQ(-EINVAL, ims_mask(&irq));
	EXPECT_EQ(-EINVAL, ims_unmask(&irq));
	EXPECT_EQ(-EINVAL, ims_noop(&irq));
	EXPECT_STATE(&irq, true, false);
	ASSERT_EQ(0, ims_free(&irq));
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, ebadf)
{
	int closed = new_eventfd(), path = open("/dev/null", O_PATH | O_CLOEXEC);
	const int numbers[] = { NOT_OPEN, -2, -3, -100, INT_MIN, INT_MAX, closed, path };
	struct ims_irq irq = self->irq, other;

	ASSERT_LE(0, closed);
	ASSERT_LE(0, path);
	close(closed);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		EXPECT_NO_ALLOC(-EBADF, 0, numbers[i], 0);
		EXPECT_EQ(-EBADF, ims_bind(&irq, numbers[i])) TH_LOG("number %d", numbers[i]);
	}
	expect_unchanged(_metadata, &self->irq);

	/* Nor does one that has none get one. */
	ASSERT_EQ(0, ims_alloc(self->file, -1, &other));
	EXPECT_EQ(-EBADF, ims_bind(&other, NOT_OPEN));
	EXPECT_EQ(-EINVAL, ims_noop(&other));
	EXPECT_STATE(&other, true, false);
}

TEST_F(interrupt, enoent)
{
	static const __u32 offsets[] = { 1, 2, 0x100, 0x10000, 0x7fffffff, 0x80000000, ~0U };
	int file = ims_open(0);
	struct ims_irq freed, foreign[3];

	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &freed));
	ASSERT_EQ(0, ims_free(&freed));
	ASSERT_LE(0, file);
	for (int i = 0; i < ARRAY_SIZE(foreign); i++)
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &foreign[i]));

	for (int call = 0; call < device_calls(); call++) {
		union call_argument argument = valid_argument(call, &self->irq);

		if (!names_an_interrupt(call))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
			__u32 id = self->irq.id + offsets[i];

			set_id(&argument, call, id);
			EXPECT_EQ(-ENOENT, ims_call(self->file, calls[call].request, &argument))
				TH_LOG("%s of %#x", calls[call].name, id);
		}
		set_id(&argument, call, freed.id);
		EXPECT_EQ(-ENOENT, ims_call(self->file, calls[call].request, &argument))
			TH_LOG("%s of what was freed", calls[call].name);

		/* What another file has, unless this one has the same. */
		for (int i = 0; i < ARRAY_SIZE(foreign); i++) {
			if (foreign[i].id == self->irq.id)
				continue;
			set_id(&argument, call, foreign[i].id);
			EXPECT_EQ(-ENOENT, ims_call(self->file, calls[call].request, &argument))
				TH_LOG("%s of another file's", calls[call].name);
		}
	}
	for (int i = 0; i < ARRAY_SIZE(foreign); i++) {
		raise_one(_metadata, &foreign[i], 1);
		EXPECT_ARRIVED_IN_ALL(&foreign[i], 1);
	}
	ims_close(file);
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, efault)
{
	for (int call = 0; call < device_calls(); call++) {
		for (size_t i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
			EXPECT_EQ(-EFAULT, ims_call(self->file, calls[call].request,
						    bad_pointers[i]))
				TH_LOG("%s at %p", calls[call].name, bad_pointers[i]);
		}
	}
	expect_unchanged(_metadata, &self->irq);
}

TEST_F(interrupt, enotty)
{
	unsigned char bytes[1 << 14] = {};

	for (int number = CALLS; number < 256; number++) {
		EXPECT_EQ(-ENOTTY, ims_call(self->file, _IO(IDXD_IMS_TYPE, number), bytes))
			TH_LOG("number %#x", number);
	}
	for (int call = 0; call < device_calls(); call++) {
		union call_argument argument = valid_argument(call, &self->irq);
		const unsigned long others[] = {
			_IO(IDXD_IMS_TYPE ^ 1, call), _IO(IDXD_IMS_TYPE ^ 0x80, call),
			_IOC(_IOC_READ, IDXD_IMS_TYPE, call, 0),
			_IOC(_IOC_WRITE, IDXD_IMS_TYPE, call, 0),
			_IOC(_IOC_READ | _IOC_WRITE, IDXD_IMS_TYPE, call, calls[call].size),
			_IOC(_IOC_NONE, IDXD_IMS_TYPE, call, calls[call].size),
		};

		for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
			EXPECT_EQ(-ENOTTY, ims_call(self->file, others[i], &argument))
				TH_LOG("%s as %#lx", calls[call].name, others[i]);
		}
		/* It is not even looked at. */
		EXPECT_EQ(-ENOTTY, ims_call(self->file, others[0], NULL));
	}
	expect_unchanged(_metadata, &self->irq);
}

/* The device refuses a command. */
TEST_F(interrupt, eio)
{
	struct ims_irq other;

	if (!ims_page())
		SKIP(return, "no test page");
	if (!has_handle_commands())
		SKIP(return, "no handle commands");
	ASSERT_EQ(0, ims_alloc(self->file, -1, &other));
	ims_break(FAULT_COMMAND_FAILS, COMMAND_REQUEST_HANDLE << 8 | 0x41);
	EXPECT_NO_ALLOC(-EIO, 0, self->irq.eventfd, 0);
	EXPECT_EQ(2, ims_counter("used"));
	EXPECT_EQ(2, ims_file_used(self->file));
	EXPECT_EQ(-EIO, ims_bind(&other, self->irq.eventfd));
	EXPECT_STATE(&other, true, false);
	EXPECT_EQ(-EINVAL, ims_noop(&other));

	/* Later it does not. */
	ims_break(FAULT_NONE, 0);
	EXPECT_EQ(0, ims_bind(&other, new_eventfd()));
	raise_one(_metadata, &other, 1);
	EXPECT_ARRIVED_IN_ALL(&other, 1);
	ASSERT_EQ(0, ims_free(&other));
	expect_unchanged(_metadata, &self->irq);
}

TEST_HARNESS_MAIN
