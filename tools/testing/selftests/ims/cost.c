// SPDX-License-Identifier: GPL-2.0
/*
 * cost: measures items of work with the time stamp counter. For the benchmark in tools/testing/ims:
 * its guest has one CPU, and a counter that counts instructions. The device model must have more
 * than WQS work queues. Prints lines of a name, a parameter and a number.
 *
 * cost trace: submits one batch of each size only, while QEMU traces register accesses.
 */
#include <pthread.h>
#include <sched.h>
#include <x86intrin.h>

#include "work.h"

#define WQS 8
#define ENTRIES 63
#define HUGE (2 * MIB)
#define ROUNDS 8
#define MOST_SAMPLES 4096
#define LOOP 1000
/* More instructions than the loop of the idle thread has. */
#define GAP 100

enum figure { SUBMIT, REFUSED, INTERRUPTS, WAKE, COLLECT, FIGURES };

static struct {
	const char *name;
	uint64_t samples[MOST_SAMPLES];
	int count;
} figures[FIGURES] = {
	{ "submit" }, { "refused" }, { "interrupts" }, { "wake" }, { "collect" },
};

/* An open file, and two of its buffers. */
struct user {
	int file;
	__u32 source;
	__u32 target;
};

/* The program sleeps until the second one arrives. The first one wakes nobody. */
static struct ims_irq quiet, waking;

/* The thread that runs while the program sleeps. */
static struct {
	bool begins;
	uint64_t last;		/* Counter when it ran last */
	int descriptors;	/* Number that the device may have taken */
	uint64_t interrupts;	/* Instructions of interrupts that did not wake the program */
} idle;

static void add(enum figure figure, uint64_t sample)
{
	if (figures[figure].count < MOST_SAMPLES)
		figures[figure].samples[figures[figure].count++] = sample;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static void forget(void)
{
	for (int i = 0; i < FIGURES; i++)
		figures[i].count = 0;
}

/* Prints the mean of the middle half of each figure, which leaves out samples with a tick. */
static void report(const char *what, int parameter)
{
	for (int i = 0; i < FIGURES; i++) {
		int first = figures[i].count / 4, end = figures[i].count - first;
		double sum = 0;

		qsort(figures[i].samples, figures[i].count, sizeof(uint64_t), compare);
		for (int j = first; j < end; j++)
			sum += figures[i].samples[j];
		if (end)
			printf("%s_%s %d %.1f\n", what, figures[i].name, parameter,
			       sum / (end - first));
	}
	forget();
}

/* Stalls the device after so many descriptors. The others stay in their work queues. */
static void let_take(int descriptors)
{
	page_write(PAGE_FAULT_ARG, descriptors);
	page_write(PAGE_FAULT, FAULT_STALLED);
}

/* Begins a round. The trace shows @marker, see bench/work.py. */
static void stall(int marker)
{
	let_take(0);
	page_write(PAGE_COUNTER_RESET, marker);
}

/*
 * Runs while the program sleeps, as time does not count instructions on an idle CPU. Reading a
 * register takes long but is one instruction, so that ticks are rare. A gap is the program, a tick,
 * or the interrupt of the descriptor that the device has taken. The device may take the next one
 * once it has counted the message, which can be later than the gap.
 */
static void *run_idle(void *unused)
{
	bool came = false;
	uint64_t loop = 0;

	for (;;) {
		uint64_t now = __rdtsc(), gap = now - idle.last;

		__atomic_store_n(&idle.last, now, __ATOMIC_RELAXED);
		if (__atomic_load_n(&idle.begins, __ATOMIC_RELAXED)) {
			idle.begins = false;
			idle.interrupts = 0;
			idle.descriptors = 0;
		} else {
			if (gap >= GAP) {
				idle.interrupts += gap - loop;
				came = true;
			}
			if (!came) {
				loop = gap;
				page_read(PAGE_MAGIC);
				continue;
			}
			if (page_read(PAGE_SENT) + page_read(PAGE_VECTORS_SENT) < idle.descriptors)
				continue;
		}
		came = false;
		let_take(1);
		idle.descriptors++;
	}
}

/* Lets the device continue, and sleeps until it has completed all items. */
static void wait_until_done(void)
{
	uint64_t signals, now;
	int err;

	__atomic_store_n(&idle.begins, true, __ATOMIC_RELAXED);
	err = read(waking.eventfd, &signals, sizeof(signals));
	now = __rdtsc();
	if (err != sizeof(signals) || signals != 1)
		ksft_exit_fail_msg("no interrupt\n");
	add(WAKE, now - idle.last);
	add(INTERRUPTS, idle.interrupts);
}

static void submit(const struct user *user, struct idxd_ims_item *items, int count, int expected)
{
	uint64_t start = __rdtsc();
	int accepted = ims_work(user->file, items, count);

	add(accepted > 0 ? SUBMIT : REFUSED, __rdtsc() - start);
	if (accepted != expected)
		ksft_exit_fail_msg("%d of %d items are accepted\n", accepted, count);
}

static void collect(const struct user *user, int count)
{
	struct idxd_ims_completion done[ENTRIES];
	uint64_t start = __rdtsc();
	int got = ims_read(user->file, done, count);

	add(COLLECT, __rdtsc() - start);
	if (got != count || done[0].status != IDXD_IMS_COMPLETED)
		ksft_exit_fail_msg("%d of %d items are done\n", got, count);
}

/* A user of @file, with buffers of @size bytes in memory of twice that. */
static struct user new_user(int file, unsigned char *memory, size_t size)
{
	struct user user = { .file = file };

	if (file < 0 || ims_register(file, memory, size, 0, &user.source) ||
	    ims_register(file, memory + size, size, IDXD_IMS_BUFFER_WRITE, &user.target))
		ksft_exit_fail_msg("memory cannot be registered\n");
	ims_set_nonblock(file, true);
	return user;
}

static struct idxd_ims_item new_item(const struct user *user, size_t length, int interrupt)
{
	struct idxd_ims_item item = copy_item(user->source, 0, user->target, 0, length, 0);

	item.interrupt = interrupt;
	return item;
}

/* All of its items are in flight before the first completes. The last wakes the program. */
static void do_batch(const struct user *user, int count, size_t length)
{
	struct idxd_ims_item items[ENTRIES];

	for (int i = 0; i < count; i++)
		items[i] = new_item(user, length, i < count - 1 ? quiet.id : waking.id);
	stall(count);
	submit(user, items, count, count);
	wait_until_done();
	collect(user, count);
	page_write(PAGE_COUNTER_RESET, 0);
	take(quiet.eventfd);
}

static void measure_batches(const struct user *user, int rounds)
{
	static const int counts[] = { 1, 8, 32, ENTRIES };

	for (int i = 0; i < ARRAY_SIZE(counts); i++) {
		for (int round = 0; round < rounds; round++)
			do_batch(user, counts[i], PAGE);
		report("batch", counts[i]);
	}
}

/* Each of @count files submits an item at a time. ENTRIES of a work queue have one in flight. */
static void measure_files(const struct user *other, unsigned char *memory, int count)
{
	const int wqs = count < WQS ? count : WQS;
	const int active = count < wqs * ENTRIES ? count : wqs * ENTRIES;
	struct idxd_ims_item last = new_item(other, PAGE, waking.id);
	struct user *users = calloc(count, sizeof(*users));
	struct idxd_ims_completion done;
	struct idxd_ims_item item;

	for (int i = 0; i < count; i++)
		users[i] = new_user(ims_open(i % wqs), memory, PAGE);
	for (int round = 0; round <= ROUNDS / 2; round++) {
		const struct user *one;

		stall(0);
		/* The files that have waited longest. */
		for (int i = 0; i < active; i++) {
			one = &users[(round * active + i) % count];
			item = new_item(one, PAGE, IDXD_IMS_NO_INTERRUPT);
			submit(one, &item, 1, 1);
		}
		/* The files of the last round queue again. In the first round all others do. */
		for (int i = active; i < (round ? 2 * active : count) && active < count; i++) {
			one = &users[((round ? round - 2 : 0) * active + i) % count];
			item = new_item(one, PAGE, IDXD_IMS_NO_INTERRUPT);
			submit(one, &item, 1, -EAGAIN);
		}
		if (ims_work(other->file, &last, 1) != 1)
			ksft_exit_fail_msg("the last item is not accepted\n");
		wait_until_done();
		for (int i = 0; i < active; i++)
			collect(&users[(round * active + i) % count], 1);
		ims_read(other->file, &done, 1);
		/* In the first round no file waited. */
		if (!round)
			forget();
	}
	report("files", count);
	for (int i = 0; i < count; i++)
		ims_close(users[i].file);
	free(users);
}

/* Copies by the CPU, and by the device in one transfer, or in one for each page. */
static void measure_sizes(const struct user *whole, const struct user *scattered,
			  unsigned char *memory)
{
	for (size_t size = PAGE; size <= HUGE; size *= 2) {
		for (int round = 0; round < ROUNDS; round++) {
			uint64_t start = __rdtsc();

			memcpy(memory + HUGE, memory, size);
			add(COLLECT, __rdtsc() - start);
		}
		report("memcpy", size / 1024);
		for (int round = 0; round < ROUNDS; round++)
			do_batch(whole, 1, size);
		report("whole", size / 1024);
		for (int round = 0; round < ROUNDS; round++)
			do_batch(scattered, 1, size);
		report("scattered", size / 1024);
	}
}

/* The counter has to count LOOP times two instructions, and one before. */
static void measure_clock(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = __rdtsc();
		unsigned long count;

		add(SUBMIT, __rdtsc() - start);
		start = __rdtsc();
		asm volatile("mov %1, %0\n1:\tdec %0\n\tjnz 1b" : "=r" (count) : "i" (LOOP));
		add(COLLECT, __rdtsc() - start);
	}
	report("clock", LOOP);
}

/* Two huge pages, or as many small pages that are all the same one: no two are contiguous. */
static unsigned char *new_memory(bool huge)
{
	unsigned char *bytes = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file = memfd_create("page", MFD_CLOEXEC);

	bytes += -(unsigned long)bytes % HUGE;
	if (madvise(bytes, 2 * HUGE, MADV_HUGEPAGE) || ftruncate(file, PAGE))
		ksft_exit_fail_msg("no memory\n");
	for (size_t at = 0; !huge && at < 2 * HUGE; at += PAGE)
		mmap(bytes + at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
	close(file);
	return memset(bytes, UNTOUCHED, 2 * HUGE);
}

int main(int argc, char **argv)
{
	static const int counts[] = { 1, 8, 256, 2048 };
	const struct sched_param priority = { .sched_priority = 1 };
	const bool trace = argc > 1 && !strcmp(argv[1], "trace");
	unsigned char *memory = new_memory(true);
	struct user whole, scattered;
	pthread_t thread;

	if (!ims_find() || !ims_page() || ims_wqs() <= WQS)
		ksft_exit_fail_msg("no device model with %d work queues\n", WQS + 1);
	allow_more_files();
	whole = new_user(ims_open(WQS), memory, HUGE);
	scattered = new_user(whole.file, new_memory(false), HUGE);
	if (ims_alloc(whole.file, new_eventfd(), &quiet) ||
	    ims_alloc(whole.file, eventfd(0, EFD_CLOEXEC), &waking) ||
	    pthread_create(&thread, NULL, run_idle, NULL) ||
	    sched_setscheduler(0, SCHED_FIFO, &priority))
		ksft_exit_fail_msg("cannot measure\n");
	/* Print at the end: the serial port has interrupts. */
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);

	measure_clock();
	measure_batches(&whole, trace ? 1 : ROUNDS);
	for (int i = 0; i < ARRAY_SIZE(counts) && !trace; i++)
		measure_files(&whole, memory, counts[i]);
	if (!trace)
		measure_sizes(&whole, &scattered, memory);
	ims_break(FAULT_NONE, 0);
	return 0;
}
