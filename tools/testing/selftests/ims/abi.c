// SPDX-License-Identifier: GPL-2.0
/*
 * What each call of a work queue's character device does, what it leaves alone, and
 * which arguments it can read. What they refuse otherwise is in errors.c.
 */
#include "calls.h"
#include "interrupt.h"

#define NOBODY 65534
#define PAGE 4096
#define ROUND_MS (40000 * slow())

TEST_F(ims, node)
{
	int file = ims_open(0), status;
	struct stat info;
	char byte;
	pid_t child;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, fstat(file, &info));
	EXPECT_TRUE(S_ISCHR(info.st_mode));
	EXPECT_EQ(0600, info.st_mode & 07777);
	EXPECT_EQ(0, info.st_uid);

	/* Its file is for nothing but the calls, and for reading completions. */
	EXPECT_EQ(-1, read(file, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(file, "x", 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0));

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		if (setuid(NOBODY))
			_exit(2);
		_exit(ims_open(0) != -EACCES);
	}
	status = finish(child, DEADLINE_MS);
	EXPECT_EQ(0, status) TH_LOG("status %d: 1 is that anybody can open it", status);

	for (int wq = 0; wq < ims_wqs(); wq++) {
		EXPECT_STRNE("", subdevice_of(wq))
			TH_LOG("work queue %d", wq);
	}
	EXPECT_STREQ("", subdevice_of(ims_wqs()));
}

TEST_F(ims, query_agrees_with_others)
{
	for (int wq = 0; wq < ims_wqs(); wq++) {
		struct idxd_ims_query query;
		int file = ims_open(wq);

		ASSERT_LE(0, file);
		ASSERT_EQ(0, ims_query(file, &query));
		EXPECT_EQ(sizeof(query), query.size);
		EXPECT_EQ(ims_counter("slots"), query.slots);
		EXPECT_EQ(ims_limit(wq, "min"), query.min);
		EXPECT_EQ(ims_limit(wq, "max"), query.max);
		EXPECT_EQ(0, query.used);
		EXPECT_EQ(0, query.file_used);
		EXPECT_LT(0, query.file_max);
		EXPECT_EQ(0, query.reserved);
	}
}

/* It follows what is allocated and what is set. */
TEST_F(ims, query_follows)
{
	int first = ims_open(0), second = ims_open(0), other = ims_open(1), slots;
	struct idxd_ims_query query;
	struct ims_irq irqs[5];

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(0, ims_alloc(i < 2 ? first : second, -1, &irqs[i]));

	ASSERT_EQ(0, ims_query(first, &query));
	EXPECT_EQ(5, query.used);
	EXPECT_EQ(2, query.file_used);
	ASSERT_EQ(0, ims_query(second, &query));
	EXPECT_EQ(5, query.used);
	EXPECT_EQ(3, query.file_used);
	EXPECT_EQ(5, ims_counter("used"));
	if (other >= 0) {
		ASSERT_EQ(0, ims_query(other, &query));
		EXPECT_EQ(0, query.used);
	}

	ASSERT_EQ(0, ims_free(&irqs[0]));
	ims_close(second);
	ASSERT_EQ(0, ims_query(first, &query));
	EXPECT_EQ(1, query.used);
	EXPECT_EQ(1, query.file_used);
	EXPECT_EQ(1, ims_counter("used"));

	slots = query.slots;
	self->rebind = true;
	ASSERT_EQ(0, ims_set_limit(0, "min", 3));
	ASSERT_EQ(0, ims_set_limit(0, "max", slots - 1));
	ASSERT_EQ(0, ims_query(first, &query));
	EXPECT_EQ(3, query.min);
	EXPECT_EQ(slots - 1, query.max);
}

TEST_F(interrupt, alloc)
{
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = -1 };

	ASSERT_EQ(0, ims_call(self->file, IDXD_IMS_ALLOC, &alloc));
	EXPECT_EQ(sizeof(alloc), alloc.size);
	EXPECT_EQ(0, alloc.flags);
	EXPECT_EQ(-1, alloc.eventfd);
	EXPECT_EQ(0, alloc.cpu);

	EXPECT_NE(self->irq.id, alloc.id);
	EXPECT_NE(self->irq.virq, alloc.virq);
	EXPECT_NE(self->irq.slot, alloc.slot);
	EXPECT_LT(alloc.slot, ims_counter("slots"));
	EXPECT_EQ(2, ims_limit(0, "used"));
	EXPECT_TRUE(exists(path_of("/sys/kernel/irq/%u", alloc.virq)));
	EXPECT_TRUE(exists(path_of(PCI_DEVICES "%s/msi_irqs/%u", ims_bdf, alloc.virq)));
	EXPECT_EQ(2, ims_file_used(self->file));
}

/* Without an eventfd it only latches, and what it latched comes once there is one. */
TEST_F(interrupt, alloc_without_eventfd)
{
	struct ims_irq irq;

	ASSERT_EQ(0, ims_alloc(self->file, -1, &irq));
	EXPECT_STATE(&irq, true, false);
	EXPECT_EQ(0, ims_count(&irq));
	EXPECT_EQ(-EINVAL, ims_noop(&irq));
	if (ims_page()) {
		page_write(PAGE_RAISE, irq.slot);
		page_write(PAGE_RAISE, irq.slot);
		settle();
		EXPECT_STATE(&irq, true, true);
		EXPECT_EQ(0, ims_count(&irq));
		EXPECT_EQ(0, kernel_count(irq.virq));
	}

	ASSERT_EQ(0, ims_bind(&irq, new_eventfd()));
	EXPECT_ARRIVED_IN_ALL(&irq, ims_page() ? 1 : 0);
	EXPECT_STATE(&irq, false, false);
}

TEST_F(interrupt, alloc_with_eventfd)
{
	EXPECT_STATE(&self->irq, false, false);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
	for (int i = 1; i <= 20; i++)
		raise_one(_metadata, &self->irq, i);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 20);
	EXPECT_DEVICE(&self->irq, 20, 0, 0);
}

TEST_F(interrupt, free)
{
	struct ims_irq other;

	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &other));
	EXPECT_EQ(2, ims_counter("used"));
	ASSERT_EQ(0, ims_free(&self->irq));
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(1, ims_file_used(self->file));
	EXPECT_EQ(1, ims_limit(0, "used"));
	EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->irq.virq)));
	EXPECT_FALSE(exists(path_of(PCI_DEVICES "%s/msi_irqs/%u", ims_bdf, self->irq.virq)));
	EXPECT_EQ(-ENOENT, ims_free(&self->irq));
	raise_one(_metadata, &other, 1);
	EXPECT_EQ(0, take(self->irq.eventfd));
}

TEST_F(interrupt, bind_replaces)
{
	int first = self->irq.eventfd, second = new_eventfd();

	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED(&self->irq, 1);

	/* It is counted anew with each eventfd. */
	ASSERT_EQ(0, ims_bind(&self->irq, second));
	EXPECT_EQ(0, ims_count(&self->irq));
	EXPECT_STATE(&self->irq, false, false);
	raise_one(_metadata, &self->irq, 1);
	raise_one(_metadata, &self->irq, 2);
	EXPECT_ARRIVED(&self->irq, 2);
	EXPECT_EQ(0, take(first));

	/* The same again is another, too. */
	ASSERT_EQ(0, ims_bind(&self->irq, second));
	EXPECT_EQ(0, ims_count(&self->irq));
	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED(&self->irq, 1);

	ASSERT_EQ(0, ims_bind(&self->irq, -1));
	EXPECT_STATE(&self->irq, true, false);
	EXPECT_EQ(0, ims_count(&self->irq));
	EXPECT_EQ(-EINVAL, ims_noop(&self->irq));
	ASSERT_EQ(0, ims_bind(&self->irq, -1));
	EXPECT_STATE(&self->irq, true, false);

	ASSERT_EQ(0, ims_bind(&self->irq, first));
	EXPECT_STATE(&self->irq, false, false);
	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED(&self->irq, 1);
	EXPECT_EQ(0, take(second));
	settle();
	EXPECT_EQ(5, kernel_count(self->irq.virq));
	EXPECT_DEVICE(&self->irq, 5, 0, 0);
}

/* One that is masked and pending then arrives once, and not at the eventfd that it had. */
TEST_F(interrupt, bind_while_masked)
{
	int first = self->irq.eventfd;

	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_noop(&self->irq));
	settle();
	EXPECT_STATE(&self->irq, true, true);
	ASSERT_EQ(0, ims_bind(&self->irq, new_eventfd()));
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	EXPECT_EQ(0, take(first));
	EXPECT_STATE(&self->irq, false, false);
}

TEST_F(interrupt, bind_that_fails)
{
	struct ims_irq again = self->irq;
	int pipes[2];

	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	raise_one(_metadata, &self->irq, 1);
	EXPECT_EQ(-EBADF, ims_bind(&again, 12345));
	EXPECT_EQ(-EINVAL, ims_bind(&again, pipes[0]));
	EXPECT_STATE(&self->irq, false, false);
	EXPECT_EQ(1, ims_count(&self->irq));
	raise_one(_metadata, &self->irq, 2);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 2);

	/* Masked, it stays masked. */
	ASSERT_EQ(0, ims_mask(&self->irq));
	ASSERT_EQ(0, ims_noop(&self->irq));
	settle();
	EXPECT_EQ(-EBADF, ims_bind(&again, 12345));
	EXPECT_STATE(&self->irq, true, true);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 2);
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 3);

	/* Without eventfd, it stays without. */
	ASSERT_EQ(0, ims_bind(&self->irq, -1));
	EXPECT_EQ(-EBADF, ims_bind(&again, 12345));
	EXPECT_STATE(&self->irq, true, false);
	EXPECT_EQ(-EINVAL, ims_noop(&self->irq));
}

TEST_F(interrupt, submit)
{
	static const int lengths[] = { 1, 2, 7, 8, 9, 63, 64, 100, 4095, 4096, 4097, 8191, 8192 };
	int times = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		EXPECT_EQ(0, ims_copy(&self->irq, lengths[i])) TH_LOG("%d bytes", lengths[i]);
		times++;
		ASSERT_TRUE(wait_for(ims_signals(&self->irq) >= times));
		raise_one(_metadata, &self->irq, ++times);
	}
	EXPECT_ARRIVED_IN_ALL(&self->irq, times);
	EXPECT_DEVICE(&self->irq, times, 0, 0);
}

TEST_F(interrupt, no_errors_of_the_device)
{
	int64_t errors = ims_counter("errors"), halts = ims_counter("halts");
	int64_t revoked = ims_counter("handles_revoked");

	for (int i = 1; i <= 10; i++)
		raise_one(_metadata, &self->irq, i);
	ASSERT_EQ(0, ims_bind(&self->irq, -1));
	ASSERT_EQ(0, ims_free(&self->irq));
	EXPECT_EQ(errors, ims_counter("errors"));
	EXPECT_EQ(halts, ims_counter("halts"));
	EXPECT_EQ(revoked, ims_counter("handles_revoked"));
}

/* Names differ while they are in use, also when others come and go. */
TEST_F(interrupt, ids_are_unique)
{
	struct ims_irq irqs[24];

	for (int i = 0; i < ARRAY_SIZE(irqs); i++)
		ASSERT_EQ(0, ims_alloc(self->file, -1, &irqs[i]));
	for (int round = 0; round < 4; round++) {
		for (int i = round; i < ARRAY_SIZE(irqs); i += 3)
			ASSERT_EQ(0, ims_free(&irqs[i]));
		for (int i = round; i < ARRAY_SIZE(irqs); i += 3)
			ASSERT_EQ(0, ims_alloc(self->file, -1, &irqs[i]));
		for (int i = 0; i < ARRAY_SIZE(irqs); i++) {
			EXPECT_NE(self->irq.id, irqs[i].id);
			for (int j = 0; j < i; j++) {
				EXPECT_NE(irqs[i].id, irqs[j].id);
				EXPECT_NE(irqs[i].virq, irqs[j].virq);
				EXPECT_NE(irqs[i].slot, irqs[j].slot);
			}
		}
	}
	EXPECT_EQ(ARRAY_SIZE(irqs) + 1, ims_counter("used"));
	for (int i = 0; i < ARRAY_SIZE(irqs); i++)
		EXPECT_EQ(IDXD_IMS_STATE_MASKED, ims_flags(&irqs[i]));
	EXPECT_EQ(0, ims_flags(&self->irq));
}

/* Slots are allocated in turn, so that one that was freed is reused as late as possible. */
TEST_F_TIMEOUT(ims, slots_are_reused_late, 60)
{
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = -1 };
	const uint64_t until = now_ms() + ROUND_MS;
	int slots = ims_counter("slots"), file;
	struct ims_irq irqs[3];

	ASSERT_EQ(0, ims_rebind());
	file = ims_open(0);
	ASSERT_LE(0, file);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, ims_alloc(file, -1, &irqs[i]));
		EXPECT_EQ(i, irqs[i].slot);
	}
	ASSERT_EQ(0, ims_free(&irqs[1]));

	/* Once round, with one slot at a time: also where there are fewer remapping entries. */
	for (int slot = 3; slot < slots; slot++) {
		struct ims_irq irq = { .file = file };

		if (now_ms() > until)
			SKIP(return, "the first %d of %d slots take too long", slot, slots);
		ASSERT_EQ(0, ims_call(file, IDXD_IMS_ALLOC, &alloc));
		ASSERT_EQ(slot, alloc.slot);
		irq.id = alloc.id;
		ASSERT_EQ(0, ims_free(&irq));
	}
	ASSERT_EQ(0, ims_call(file, IDXD_IMS_ALLOC, &alloc));
	EXPECT_EQ(irqs[1].slot, alloc.slot);
	ASSERT_EQ(0, ims_call(file, IDXD_IMS_ALLOC, &alloc));
	EXPECT_EQ(slots > 3 ? 3 : -1, (int)alloc.slot);
}

/* What a call only writes may hold anything before. */
TEST_F(interrupt, outputs_are_not_read)
{
	struct idxd_ims_query query;
	struct idxd_ims_alloc alloc;
	struct idxd_ims_state state;

	memset(&query, 0xff, sizeof(query));
	query.size = sizeof(query);
	query.reserved = 0;
	EXPECT_EQ(0, ims_call(self->file, IDXD_IMS_QUERY, &query));
	EXPECT_EQ(1, query.used);
	EXPECT_EQ(1, query.file_used);

	memset(&alloc, 0xff, sizeof(alloc));
	alloc.size = sizeof(alloc);
	alloc.flags = 0;
	alloc.reserved = 0;
	alloc.cpu = 0;
	EXPECT_EQ(0, ims_call(self->file, IDXD_IMS_ALLOC, &alloc));
	EXPECT_NE(~0U, alloc.id);
	EXPECT_NE(~0U, alloc.virq);
	EXPECT_NE(~0U, alloc.slot);

	memset(&state, 0xff, sizeof(state));
	state.size = sizeof(state);
	state.id = self->irq.id;
	state.reserved = 0;
	EXPECT_EQ(0, ims_call(self->file, IDXD_IMS_STATE, &state));
	EXPECT_EQ(0, state.flags);
	EXPECT_EQ(0, state.count);
}

/* Frees what a call has allocated, or allocates what it has freed. Collects its completion. */
static void undo(struct __test_metadata *_metadata, struct ims_irq *irq, enum call_index call,
		 const void *argument)
{
	const struct idxd_ims_alloc *alloc = argument;
	const struct idxd_ims_register *registration = argument;
	struct idxd_ims_completion completion;

	if (call == ALLOC) {
		struct ims_irq other = { .file = irq->file, .id = alloc->id };

		ASSERT_EQ(0, ims_free(&other));
	} else if (call == FREE) {
		ASSERT_EQ(0, ims_alloc(irq->file, irq->eventfd, irq));
	} else if (call == SUBMIT) {
		/* Before it is raised again, it has to arrive. */
		ASSERT_TRUE(wait_for(take(irq->eventfd)));
	} else if (call == MASK) {
		ASSERT_EQ(0, ims_unmask(irq));
	} else if (call == REGISTER) {
		ASSERT_EQ(0, ims_unregister(irq->file, registration->buffer));
	} else if (call == WORK) {
		ASSERT_EQ(1, ims_collect(irq->file, &completion, 1));
	}
	EXPECT_EQ(1, ims_counter("used"));
}

/* A structure of a later kernel, whose further fields are zero. */
TEST_F_TIMEOUT(interrupt, larger_sizes, 60)
{
	static const int more[] = { 1, 3, 4, 8, 100, -1 };

	for (int call = 0; call < device_calls(); call++) {
		for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
			union call_argument argument = valid_argument(call, &self->irq);
			static unsigned char bytes[PAGE];
			__u32 size = more[i] < 0 ? PAGE : calls[call].size + more[i];

			memset(bytes, 0, sizeof(bytes));
			argument.size = size;
			memcpy(bytes, &argument, calls[call].size);
			/* What is beyond does not matter. */
			memset(bytes + size, 0xff, sizeof(bytes) - size);
			ASSERT_EQ(0, ims_call(self->file, calls[call].request, bytes))
				TH_LOG("%s of %u bytes", calls[call].name, size);
			EXPECT_EQ(size, *(__u32 *)bytes);
			for (__u32 at = calls[call].size; at < size; at++) {
				EXPECT_EQ(0, bytes[at])
					TH_LOG("byte %u", at);
			}
			if (!calls[call].has_output)
				EXPECT_EQ(0, memcmp(bytes, &argument, calls[call].size));
			undo(_metadata, &self->irq, call, bytes);
		}
	}
}

/* A field of a later kernel that has a meaning. */
TEST_F(interrupt, larger_sizes_with_contents)
{
	for (int call = 0; call < device_calls(); call++) {
		static const int sizes[] = { 1, 4, 8, 100, 1000 };

		for (size_t i = 0; i < ARRAY_SIZE(sizes) * 2; i++) {
			union call_argument argument = valid_argument(call, &self->irq);
			int more = sizes[i / 2], at = i % 2 ? more - 1 : 0;
			static unsigned char bytes[PAGE];

			memset(bytes, 0, sizeof(bytes));
			argument.size += more;
			memcpy(bytes, &argument, calls[call].size);
			bytes[calls[call].size + at] = 1;
			EXPECT_EQ(-E2BIG, ims_call(self->file, calls[call].request, bytes))
				TH_LOG("%s with byte %d of %d more", calls[call].name, at, more);
			EXPECT_EQ(0, memcmp(bytes, &argument, calls[call].size));
		}
	}
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(0, ims_flags(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
}

/* Even if all that is more is zero, there is an end to it. */
TEST_F(interrupt, large_sizes)
{
	static unsigned char bytes[8192];

	for (int call = 0; call < device_calls(); call++) {
		union call_argument argument = valid_argument(call, &self->irq);

		argument.size = 4097;
		memcpy(bytes, &argument, calls[call].size);
		EXPECT_EQ(-E2BIG, ims_call(self->file, calls[call].request, bytes))
			TH_LOG("%s", calls[call].name);
	}
}

/* Sizes that no structure will have do not keep the kernel busy. */
TEST_F(interrupt, huge_sizes)
{
	static const __u32 sizes[] = { 1 << 16, 1 << 24, 0x7fffffff, 0x80000000, 0xfffffff8, ~0U };
	unsigned char *end = end_of_page();

	ASSERT_NE(NULL, end);
	for (int call = 0; call < device_calls(); call++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			union call_argument argument = valid_argument(call, &self->irq);
			uint64_t begin = now_ms();
			int err;

			argument.size = sizes[i];
			memset(end - PAGE, 0, PAGE);
			memcpy(end - PAGE, &argument, calls[call].size);
			err = ims_call(self->file, calls[call].request, end - PAGE);
			EXPECT_TRUE(err == -E2BIG || err == -EFAULT)
				TH_LOG("%s of %u bytes: %d", calls[call].name, sizes[i], err);
			EXPECT_GT(1000 * slow(), now_ms() - begin);
		}
	}
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(0, ims_flags(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
}

/* Up to the last byte before what cannot be read, and wherever it begins. */
TEST_F_TIMEOUT(interrupt, end_of_memory, 60)
{
	unsigned char *end = end_of_page();

	ASSERT_NE(NULL, end);
	for (int call = 0; call < device_calls(); call++) {
		const __u32 size = calls[call].size;
		union call_argument argument;

		for (__u32 beyond = 1; beyond <= size; beyond++) {
			argument = valid_argument(call, &self->irq);
			memset(end - PAGE, 0, PAGE);
			memcpy(end - size + beyond, &argument, size - beyond);
			EXPECT_EQ(-EFAULT, ims_call(self->file, calls[call].request,
						    end - size + beyond))
				TH_LOG("%s, %u bytes beyond", calls[call].name, beyond);
		}
		EXPECT_EQ(1, ims_counter("used"));
		EXPECT_EQ(0, ims_flags(&self->irq));

		for (int before = 0; before < 4; before++) {
			unsigned char *at = end - size - before;

			argument = valid_argument(call, &self->irq);
			memcpy(at, &argument, size);
			ASSERT_EQ(0, ims_call(self->file, calls[call].request, at))
				TH_LOG("%s, %d bytes before", calls[call].name, before);
			memcpy(&argument, at, size);
			undo(_metadata, &self->irq, call, &argument);
		}
	}
}

/* What cannot be written is only asked for what there is to write. */
TEST_F(interrupt, read_only_memory)
{
	for (int call = 0; call < device_calls(); call++) {
		union call_argument argument = valid_argument(call, &self->irq);
		int err = calls[call].has_output ? -EFAULT : 0;
		unsigned char *end = end_of_page(), *at;

		ASSERT_NE(NULL, end);
		at = end - calls[call].size;
		memcpy(at, &argument, calls[call].size);
		ASSERT_EQ(0, mprotect(end - PAGE, PAGE, PROT_READ));
		EXPECT_EQ(err, ims_call(self->file, calls[call].request, at))
			TH_LOG("%s", calls[call].name);
		EXPECT_EQ(0, memcmp(&argument, at, calls[call].size));

		/* An interrupt that nobody was told the name of is none. */
		if (!err)
			undo(_metadata, &self->irq, call, at);
		EXPECT_EQ(1, ims_file_used(self->file));
		EXPECT_EQ(1, ims_counter("used"));
	}
	EXPECT_EQ(0, ims_flags(&self->irq));
}

TEST_HARNESS_MAIN
