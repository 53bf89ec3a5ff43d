// SPDX-License-Identifier: GPL-2.0
/*
 * Calls at random: unknown numbers, sizes, contents and pointers of all kinds, and
 * good ones in between, from two processes that share some of the files and an
 * argument that the other one overwrites. Items of work write to a buffer of their own.
 * No call may fail in a way that is not documented, and afterwards the device works as
 * before.
 *
 * SEED=N repeats what was done with a seed, as far as the processes do not depend on
 * each other. ITERATIONS=N is how many calls there are; the deadline grows with it.
 */
#include "calls.h"
#include "expect.h"

#define ITERATIONS 100000
#define PROCESSES 2
#define PRIVATE_FILES 4
#define SHARED_FILES 2
#define FILES (PRIVATE_FILES + SHARED_FILES)
#define EVENTFDS 6
#define MOST_IDS 24
#define MOST_ITEMS 8
#define MEMORY (16 * 4096)
#define DEADLINE_S 100		/* For ITERATIONS calls */
#define DAY_S (24 * 60 * 60)

/* What a process tells of itself. */
struct report {
	uint64_t calls[CALLS];
	uint64_t successes[CALLS];
	uint64_t unknown;
	char wrong[160];
};

/* What processes share. */
struct arena {
	union call_argument argument;
	struct report reports[PROCESSES];
};

struct open_file {
	int file;
	int ids;
	__u32 id[MOST_IDS];
	int buffers;
	__u32 buffer[MOST_IDS];
};

struct fuzzer {
	uint64_t random;
	struct open_file files[FILES];
	int eventfds[EVENTFDS];
	unsigned char *end;		/* Of memory that can be written */
	unsigned char *read_only_end;	/* Of memory that can be read */
	unsigned char *memory;		/* What is registered, with nothing behind it */
	struct idxd_ims_item items[MOST_ITEMS];
	struct arena *arena;
	struct report *report;
};

/* xorshift64 */
static uint64_t next(struct fuzzer *fuzzer)
{
	fuzzer->random ^= fuzzer->random << 13;
	fuzzer->random ^= fuzzer->random >> 7;
	fuzzer->random ^= fuzzer->random << 17;
	return fuzzer->random;
}

static unsigned int below(struct fuzzer *fuzzer, unsigned int bound)
{
	return (next(fuzzer) >> 20) % bound;
}

/* A number that somebody may have got wrong, or any. */
static __u32 number(struct fuzzer *fuzzer)
{
	static const __u32 numbers[] = {
		0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 24, 31, 32, 36, 40, 63, 64, 255, 256,
		4095, 4096, 4097, 8191, 8192, 8193, 0xfffe, 0xffff, 0x10000, 0xfffff, 0x100000,
		0x7fffffff, 0x80000000, 0xfffffffe, ~0U,
	};

	if (below(fuzzer, 4))
		return numbers[below(fuzzer, ARRAY_SIZE(numbers))];
	return next(fuzzer) >> below(fuzzer, 32);
}

static __u32 an_id(struct fuzzer *fuzzer, const struct open_file *file)
{
	if (file->ids && below(fuzzer, 10) < 7)
		return file->id[below(fuzzer, file->ids)];
	return below(fuzzer, 3) ? below(fuzzer, 16) : number(fuzzer);
}

static int an_eventfd(struct fuzzer *fuzzer)
{
	if (below(fuzzer, 2))
		return fuzzer->eventfds[below(fuzzer, EVENTFDS)];
	return below(fuzzer, 2) ? -1 : number(fuzzer);
}

static void *bad_pointer(struct fuzzer *fuzzer)
{
	switch (below(fuzzer, 6)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(0xffff888000000000 + (next(fuzzer) >> 24));
	case 2:
		return (void *)(0xffffffff80000000 + (next(fuzzer) >> 36));
	case 3:
		return (void *)(next(fuzzer) | 1ULL << 63);
	case 4:
		return (void *)(long)below(fuzzer, 4096);
	default:
		return fuzzer->end + below(fuzzer, 4000);
	}
}

/* Notes the first thing that is wrong. Returns whether the error is one of the documented. */
static bool check(struct fuzzer *fuzzer, const char *what, unsigned long request, __u32 size,
		  int err, bool good)
{
	if (good || fuzzer->report->wrong[0])
		return good;
	snprintf(fuzzer->report->wrong, sizeof(fuzzer->report->wrong),
		 "%s: request %#lx of %u bytes returns %d", what, request, size, err);
	return false;
}

/* May a call that the driver knows end so, whatever its arguments are? */
static bool documented(int err)
{
	static const int errors[] = {
		0, -EINVAL, -E2BIG, -EFAULT, -EBADF, -ENOENT, -ENOSPC, -EDQUOT, -EMFILE, -EPERM,
		-EACCES, -EAGAIN, -EBUSY, -ENOMEM,
	};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (err == errors[i])
			return true;
	return false;
}

/* Calls, and keeps track of what is allocated. @argument is ours to read. */
static int call_on(struct fuzzer *fuzzer, struct open_file *file, enum call_index call,
		   union call_argument *argument)
{
	/* Both that are freed have their number there. */
	__u32 id = argument->interrupt.id;
	int err = ims_call(file->file, calls[call].request, argument);

	fuzzer->report->calls[call]++;
	fuzzer->report->successes[call] += !err;
	if (!err && call == ALLOC && file->ids < MOST_IDS)
		file->id[file->ids++] = argument->alloc.id;
	for (int i = 0; !err && call == FREE && i < file->ids; i++)
		if (file->id[i] == id)
			file->id[i] = file->id[--file->ids];
	if (!err && call == REGISTER && file->buffers < MOST_IDS)
		file->buffer[file->buffers++] = argument->registration.buffer;
	for (int i = 0; !err && call == UNREGISTER && i < file->buffers; i++)
		if (file->buffer[i] == id)
			file->buffer[i] = file->buffer[--file->buffers];
	return err;
}

/* A number that is no call. */
static bool unknown_number(struct fuzzer *fuzzer, struct open_file *file)
{
	unsigned long request = next(fuzzer) >> 32;
	void *pointer = below(fuzzer, 2) ? bad_pointer(fuzzer) : fuzzer->end - 128;
	int err;

	/* Short ones of other types may be for all files. */
	if (below(fuzzer, 5)) {
		request = (request & ~0xff00UL) | IDXD_IMS_TYPE << 8;
		if (below(fuzzer, 3))
			request &= 0xffff;
	}
	if (_IOC_TYPE(request) == IDXD_IMS_TYPE && _IOC_NR(request) < CALLS && request < 1 << 16)
		request |= 16;
	err = ims_call(file->file, request, pointer);
	fuzzer->report->unknown++;
	return check(fuzzer, "unknown number", request, 0, err, err == -ENOTTY);
}

static bool pointer_to_nothing(struct fuzzer *fuzzer, struct open_file *file)
{
	enum call_index call = below(fuzzer, CALLS);
	int err = ims_call(file->file, calls[call].request, bad_pointer(fuzzer));

	fuzzer->report->calls[call]++;
	return check(fuzzer, "pointer to nothing", calls[call].request, 0, err, err == -EFAULT);
}

/* Bytes that make no sense, with a size that does, or not. */
static bool random_bytes(struct fuzzer *fuzzer, struct open_file *file)
{
	enum call_index call = below(fuzzer, CALLS);
	__u32 size = number(fuzzer), room = below(fuzzer, 256) + sizeof(size);
	unsigned char *at = fuzzer->end - room;
	int err;

	for (__u32 i = 0; i < room; i++)
		at[i] = below(fuzzer, 3) ? 0 : next(fuzzer);
	memcpy(at, &size, sizeof(size));
	err = ims_call(file->file, calls[call].request, at);
	fuzzer->report->calls[call]++;
	if (size < calls[call].size)
		return check(fuzzer, "small", calls[call].request, size, err, err == -EINVAL);
	return check(fuzzer, "random bytes", calls[call].request, size, err, documented(err));
}

static __u32 a_buffer(struct fuzzer *fuzzer, const struct open_file *file)
{
	if (file->buffers && below(fuzzer, 10) < 8)
		return file->buffer[below(fuzzer, file->buffers)];
	return below(fuzzer, 2) ? below(fuzzer, 16) : number(fuzzer);
}

/* An item, most of whose fields its operation has. */
static struct idxd_ims_item an_item(struct fuzzer *fuzzer, const struct open_file *file)
{
	struct idxd_ims_item item = {
		.op = below(fuzzer, 16) ? below(fuzzer, 6) : number(fuzzer),
		.interrupt = below(fuzzer, 2) ? IDXD_IMS_NO_INTERRUPT : an_id(fuzzer, file),
		.cookie = next(fuzzer),
	};
	const bool is_odd = !below(fuzzer, 6);

	if (item.op != IDXD_IMS_OP_NOOP || is_odd)
		item.length = below(fuzzer, 4) ? 1 + below(fuzzer, MEMORY / 4) : number(fuzzer);
	if ((item.op != IDXD_IMS_OP_NOOP && item.op != IDXD_IMS_OP_FILL) || is_odd) {
		item.source = a_buffer(fuzzer, file);
		item.source_offset = below(fuzzer, 2) ? number(fuzzer) : below(fuzzer, 4096);
	}
	if ((item.op != IDXD_IMS_OP_NOOP && item.op != IDXD_IMS_OP_CRC) || is_odd) {
		item.target = a_buffer(fuzzer, file);
		item.target_offset = below(fuzzer, 2) ? number(fuzzer) : below(fuzzer, 4096);
	}
	if (item.op == IDXD_IMS_OP_FILL || item.op == IDXD_IMS_OP_CRC || is_odd)
		item.value = next(fuzzer) >> (below(fuzzer, 4) ? 32 : 0);
	if (is_odd && below(fuzzer, 2))
		item.reserved = number(fuzzer);
	return item;
}

/* What completed. Any number of them, anywhere. */
static bool read_some(struct fuzzer *fuzzer, struct open_file *file)
{
	struct idxd_ims_completion completions[MOST_ITEMS];
	size_t size = below(fuzzer, 4) ? sizeof(completions) : below(fuzzer, sizeof(completions));
	void *pointer = below(fuzzer, 8) ? completions : bad_pointer(fuzzer);
	ssize_t got;

	if (!ims_poll(file->file, POLLIN, 0))
		return true;
	/* The other process may read what was there. */
	if (file >= fuzzer->files + PRIVATE_FILES)
		ims_set_nonblock(file->file, true);
	got = read(file->file, pointer, size);
	if (got < 0)
		return check(fuzzer, "read", 0, size, -errno,
			     errno == EINVAL || errno == EFAULT || errno == EAGAIN);
	return check(fuzzer, "read", 0, size, got, got && got % sizeof(completions[0]) == 0);
}

/* Fields that make some sense. */
static union call_argument some_sense(struct fuzzer *fuzzer, const struct open_file *file,
				      enum call_index call)
{
	union call_argument argument = {};

	argument.size = calls[call].size;
	switch (call) {
	case QUERY:
		argument.query.reserved = below(fuzzer, 2) ? 0 : number(fuzzer);
		break;
	case ALLOC:
		argument.alloc.flags = below(fuzzer, 2) ? below(fuzzer, 4) : number(fuzzer);
		argument.alloc.eventfd = an_eventfd(fuzzer);
		argument.alloc.reserved = below(fuzzer, 3) ? 0 : number(fuzzer);
		argument.alloc.cpu = below(fuzzer, 2) ? below(fuzzer, 3) : number(fuzzer);
		break;
	case BIND:
		argument.bind.eventfd = an_eventfd(fuzzer);
		argument.bind.reserved = below(fuzzer, 3) ? 0 : number(fuzzer);
		break;
	case STATE:
		argument.state.flags = number(fuzzer);
		argument.state.reserved = below(fuzzer, 3) ? 0 : number(fuzzer);
		break;
	case SUBMIT:
		argument.submit.op = below(fuzzer, 2) ? below(fuzzer, 2) : number(fuzzer);
		argument.submit.length = number(fuzzer);
		break;
	case REGISTER:
		argument.registration.flags = below(fuzzer, 8) ? below(fuzzer, 2) : number(fuzzer);
		argument.registration.address = below(fuzzer, 4) ?
			(unsigned long)fuzzer->memory + below(fuzzer, MEMORY) :
			(unsigned long)bad_pointer(fuzzer);
		argument.registration.length = below(fuzzer, 2) ? 1 + below(fuzzer, MEMORY) :
								  number(fuzzer);
		argument.registration.reserved = below(fuzzer, 8) ? 0 : number(fuzzer);
		break;
	case UNREGISTER:
		argument.unregister.buffer = a_buffer(fuzzer, file);
		break;
	case WORK:
		for (int i = 0; i < MOST_ITEMS; i++)
			fuzzer->items[i] = an_item(fuzzer, file);
		argument.work.flags = below(fuzzer, 8) ? 0 : number(fuzzer);
		argument.work.items = (unsigned long)(below(fuzzer, 8) ? fuzzer->items :
								     bad_pointer(fuzzer));
		argument.work.count = below(fuzzer, 4) ? 1 + below(fuzzer, MOST_ITEMS) :
							 number(fuzzer);
		break;
	default:
		break;
	}
	if (names_an_interrupt(call))
		set_id(&argument, call, an_id(fuzzer, file));
	return argument;
}

static bool random_fields(struct fuzzer *fuzzer, struct open_file *file)
{
	enum call_index call = below(fuzzer, CALLS);
	union call_argument argument = some_sense(fuzzer, file, call);
	__u32 size = calls[call].size;
	unsigned char *at;
	int err;

	switch (below(fuzzer, 8)) {
	case 0:
		/* An argument that the other process writes to as well. */
		memcpy(&fuzzer->arena->argument, &argument, size);
		err = ims_call(file->file, calls[call].request, &fuzzer->arena->argument);
		fuzzer->report->calls[call]++;
		break;
	case 1:
		/* One that nobody can write to. */
		at = fuzzer->read_only_end - size;
		if (mprotect(fuzzer->read_only_end - 4096, 4096, PROT_READ | PROT_WRITE))
			return false;
		memcpy(at, &argument, size);
		if (mprotect(fuzzer->read_only_end - 4096, 4096, PROT_READ))
			return false;
		err = ims_call(file->file, calls[call].request, at);
		fuzzer->report->calls[call]++;
		if (calls[call].has_output)
			return check(fuzzer, "read only", calls[call].request, size, err,
				     err && documented(err));
		break;
	default:
		err = call_on(fuzzer, file, call, &argument);
		break;
	}
	return check(fuzzer, "random fields", calls[call].request, size, err, documented(err));
}

/* A call that works, as far as it can be told here. */
static bool good(struct fuzzer *fuzzer, struct open_file *file, bool slow)
{
	static const enum call_index fast[] = {
		QUERY, ALLOC, FREE, STATE, MASK, UNMASK, UNMASK, UNMASK, REGISTER, UNREGISTER,
		WORK, WORK,
	};
	static const enum call_index slower[] = { ALLOC, BIND, SUBMIT, SUBMIT };
	enum call_index call = slow ? slower[below(fuzzer, ARRAY_SIZE(slower))] :
				      fast[below(fuzzer, ARRAY_SIZE(fast))];
	union call_argument argument;
	struct ims_irq irq = { .file = file->file };
	int err;

	if (call == ALLOC && file->ids == MOST_IDS)
		call = FREE;
	if (call == REGISTER && file->buffers == MOST_IDS)
		call = UNREGISTER;
	if (names_an_interrupt(call)) {
		if (!file->ids)
			return true;
		irq.id = file->id[below(fuzzer, file->ids)];
	}
	irq.eventfd = fuzzer->eventfds[below(fuzzer, EVENTFDS)];
	argument = valid_argument(call, &irq);
	if (call == REGISTER) {
		argument.registration.address = (unsigned long)fuzzer->memory;
		argument.registration.length = MEMORY;
		argument.registration.flags = IDXD_IMS_BUFFER_WRITE;
	}
	if (call == ALLOC && slow)
		argument.alloc.eventfd = irq.eventfd;
	if (call == SUBMIT && below(fuzzer, 2)) {
		argument.submit.op = IDXD_IMS_OP_COPY;
		argument.submit.length = 1 + below(fuzzer, 8192);
	}
	err = call_on(fuzzer, file, call, &argument);

	/* What is shared may have been freed by the other. Without an eventfd, some fail. */
	if (call == QUERY)
		return check(fuzzer, "good", calls[call].request, 0, err, !err);
	if (call == ALLOC)
		return check(fuzzer, "good", calls[call].request, 0, err,
			     !err || err == -ENOSPC || err == -EDQUOT || err == -EMFILE);
	if (call >= REGISTER)
		return check(fuzzer, "good", calls[call].request, 0, err,
			     !err || err == -EAGAIN || err == -EBUSY || err == -ENOENT ||
			     err == -ENOMEM || err == -ENOSPC || err == -EMFILE);
	/* What items in flight name is busy. */
	if (call == FREE && err == -EBUSY)
		return true;
	return check(fuzzer, "good", calls[call].request, 0, err,
		     !err || err == -ENOENT || err == -EINVAL || err == -ENOSPC);
}

/* What is closed while it is pending is lost for the next: unmask most of it. */
static void unmask_all(const struct open_file *file)
{
	for (int i = 0; i < file->ids; i++) {
		struct ims_irq irq = { .file = file->file, .id = file->id[i] };

		ims_unmask(&irq);
	}
}

static bool reopen(struct fuzzer *fuzzer, int index)
{
	struct open_file *file = &fuzzer->files[index];

	if (below(fuzzer, 8))
		unmask_all(file);
	ims_close(file->file);
	file->ids = 0;
	file->buffers = 0;
	file->file = ims_open(below(fuzzer, ims_wqs()));
	if (file->file >= 0)
		ims_set_nonblock(file->file, index & 1);
	return check(fuzzer, "open", 0, 0, file->file, file->file >= 0);
}

static bool step(struct fuzzer *fuzzer)
{
	int index = below(fuzzer, FILES), kind = below(fuzzer, 1000);
	struct open_file *file = &fuzzer->files[index];

	if (kind < 300)
		return unknown_number(fuzzer, file);
	if (kind < 550)
		return pointer_to_nothing(fuzzer, file);
	if (kind < 700)
		return random_bytes(fuzzer, file);
	if (kind < 840)
		return random_fields(fuzzer, file);
	if (kind < 880)
		return read_some(fuzzer, file);
	if (kind < 988)
		return good(fuzzer, file, false);
	if (kind < 997)
		return good(fuzzer, file, true);
	return index >= PRIVATE_FILES || reopen(fuzzer, index);
}

/* How many calls it made. */
static uint64_t made(const struct report *report)
{
	uint64_t sum = report->unknown;

	for (int call = 0; call < CALLS; call++)
		sum += report->calls[call];
	return sum;
}

/* Never returns. The exit status says whether all was well. */
static void fuzz(struct arena *arena, unsigned char *memory, int me, uint64_t seed,
		 const int *shared, uint64_t iterations)
{
	struct fuzzer fuzzer = {
		.random = (seed + me) * 0x9e3779b97f4a7c15 | 1,
		.end = end_of_page(),
		.read_only_end = end_of_page(),
		.memory = memory,
		.arena = arena,
		.report = &arena->reports[me],
	};

	if (!fuzzer.end || !fuzzer.read_only_end)
		_exit(2);
	for (int i = 0; i < EVENTFDS; i++)
		fuzzer.eventfds[i] = new_eventfd();
	for (int i = 0; i < FILES; i++) {
		struct open_file *file = &fuzzer.files[i];

		file->file = i < PRIVATE_FILES ? ims_open(i % ims_wqs()) :
						 shared[i - PRIVATE_FILES];
		if (file->file < 0)
			_exit(3);
		if (i < PRIVATE_FILES)
			ims_set_nonblock(file->file, i & 1);
	}
	while (made(fuzzer.report) < iterations)
		if (!step(&fuzzer))
			_exit(1);
	for (int i = 0; i < FILES; i++)
		unmask_all(&fuzzer.files[i]);
	_exit(0);
}

static uint64_t iterations_wanted(void)
{
	return from_environment("ITERATIONS", ITERATIONS);
}

/* How long they may take, in seconds. */
static int deadline_s(void)
{
	const uint64_t seconds = iterations_wanted() * DEADLINE_S / ITERATIONS;

	if (seconds < DEADLINE_S)
		return DEADLINE_S;
	return seconds < DAY_S ? seconds : DAY_S;
}

TEST_F_TIMEOUT(ims, random_calls, deadline_s() + 15)
{
	uint64_t seed = from_environment("SEED", 1);
	const uint64_t iterations = iterations_wanted();
	struct arena *arena = share(sizeof(*arena));
	unsigned char *memory = share(MEMORY + 4096);
	int shared[SHARED_FILES], used = 0, status;
	uint64_t begin = now_ms();
	pid_t children[PROCESSES];

	ASSERT_NE(NULL, arena);
	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, mprotect(memory + MEMORY, 4096, PROT_NONE));
	TH_LOG("SEED=%llu ITERATIONS=%llu", (unsigned long long)seed,
	       (unsigned long long)iterations);
	self->rebind = true;
	for (int i = 0; i < SHARED_FILES; i++) {
		shared[i] = ims_open(i % ims_wqs());
		ASSERT_LE(0, shared[i]);
	}
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (!children[i])
			fuzz(arena, memory, i, seed, shared, iterations / PROCESSES);
	}
	for (int i = 0; i < PROCESSES; i++) {
		struct report *report = &arena->reports[i];

		status = finish(children[i], deadline_s() * 1000 * slow());
		EXPECT_EQ(0, status)
			TH_LOG("process %d: %s", i, report->wrong);
		for (int call = 0; call < CALLS; call++) {
			TH_LOG("process %d: %6llu of %6llu %s succeeded", i,
			       (unsigned long long)report->successes[call],
			       (unsigned long long)report->calls[call], calls[call].name);
			/* Enough of everything, so that this is a test. */
			if (iterations >= ITERATIONS)
				EXPECT_LT(10, report->successes[call]);
		}
	}
	EXPECT_LE(iterations, made(&arena->reports[0]) + made(&arena->reports[1]));
	TH_LOG("%llu ms, %lld slots in use, %lld stayed pending",
	       (unsigned long long)(now_ms() - begin), (long long)ims_counter("used"),
	       (long long)ims_counter("stuck"));

	/* What is left is that of the files that are still open. */
	for (int i = 0; i < SHARED_FILES; i++)
		used += ims_file_used(shared[i]);
	EXPECT_EQ(used, ims_counter("used"));
	for (int i = 0; i < SHARED_FILES; i++)
		ims_close(shared[i]);
	EXPECT_TRUE(wait_for(!ims_counter("used")));
	for (int wq = 0; wq < ims_wqs(); wq++) {
		EXPECT_TRUE(ims_delivers(wq, 10))
			TH_LOG("work queue %d", wq);
	}
}

TEST_HARNESS_MAIN
