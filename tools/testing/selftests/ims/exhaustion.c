// SPDX-License-Identifier: GPL-2.0
/*
 * More interrupts than there are vectors, and more than there are slots.
 */
#include <sched.h>

#include "ims.h"

#define MANY 1200

TEST_F_TIMEOUT(ims, no_more_than_slots, 60)
{
	int slots = ims_counter("slots"), count;
	struct idxd_ims_query before, after;
	struct ims_irq *irqs, more;

	count = ims_alloc_all(&irqs);
	ASSERT_LT(0, count);
	EXPECT_EQ(count, ims_counter("used"));
	/* AMD-Vi has fewer remapping entries. */
	ASSERT_GE(slots, count);
	TH_LOG("%d of %d slots", count, slots);

	ASSERT_EQ(0, ims_query(irqs[0].file, &before));
	EXPECT_EQ(-ENOSPC, ims_alloc(irqs[0].file, -1, &more));
	EXPECT_EQ(-ENOSPC, ims_alloc(irqs[0].file, new_eventfd(), &more));
	ASSERT_EQ(0, ims_query(irqs[0].file, &after));
	EXPECT_EQ(before.used, after.used);
	EXPECT_EQ(before.file_used, after.file_used);
	EXPECT_EQ(count, ims_counter("used"));

	/* Nothing of what failed is in the way of what fits. */
	ASSERT_EQ(0, ims_free(&irqs[0]));
	EXPECT_EQ(count - 1, ims_counter("used"));
	EXPECT_EQ(0, ims_alloc(irqs[0].file, -1, &more));
	if (count == slots)
		EXPECT_EQ(irqs[0].slot, more.slot);
	EXPECT_EQ(count, ims_counter("used"));
	free(irqs);
}

/* Allocates without eventfd, from work queue 0. Returns how many there was room for. */
static int alloc_many(struct __test_metadata *_metadata, int file, struct ims_irq *irqs, int count)
{
	for (int i = 0; i < count; i++) {
		int err = ims_alloc(file, -1, &irqs[i]);

		if (err) {
			EXPECT_EQ(-ENOSPC, err);
			return i;
		}
	}
	return count;
}

TEST_F_TIMEOUT(ims, many, 60)
{
	static struct ims_irq irqs[MANY];
	int slots = ims_counter("slots"), file = ims_open(0), count;

	ASSERT_LE(0, file);
	if (slots < MANY + ims_wqs())
		SKIP(return, "%d slots", slots);
	count = alloc_many(_metadata, file, irqs, MANY);
	EXPECT_EQ(count, ims_counter("used"));
	EXPECT_EQ(count, ims_file_used(file));
	TH_LOG("%d interrupts", count);

	/* In another order than they came. */
	for (int first = count / 100 * 100; first >= 0; first -= 100)
		for (int i = first; i < first + 100 && i < count; i++)
			ASSERT_EQ(0, ims_free(&irqs[i]));
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(0, ims_file_used(file));
}

/* Gives eventfds to those from @first on. Returns how many there was a vector for. */
static int bind_until_full(struct __test_metadata *_metadata, struct ims_irq *irqs, int first,
			   int count)
{
	for (int i = 0; i < count; i++) {
		int eventfd = new_eventfd(), err;

		ASSERT_LE(0, eventfd);
		err = ims_bind(&irqs[first + i], eventfd);
		if (err) {
			EXPECT_EQ(-ENOSPC, err);
			close(eventfd);
			return i;
		}
	}
	return count;
}

static void deliver_one(struct __test_metadata *_metadata, struct ims_irq *irq)
{
	uint64_t before = ims_signals(irq);

	ASSERT_EQ(0, ims_noop(irq));
	EXPECT_TRUE(wait_for(ims_signals(irq) > before && ims_count(irq) > before));
	EXPECT_EQ(before + 1, ims_signals(irq));
	EXPECT_EQ(before + 1, ims_count(irq));
}

TEST_F_TIMEOUT(ims, beyond_vectors, 60)
{
	static struct ims_irq irqs[MANY];
	int file = ims_open(0), count, others_count, full, rest, more;
	struct ims_irq none, *others;
	bool pending;

	ASSERT_LE(0, file);
	/* AMD-Vi has fewer remapping entries than that. */
	count = alloc_many(_metadata, file, irqs, MANY);
	ASSERT_LT(0, count);
	full = bind_until_full(_metadata, irqs, 0, count);
	if (full == count)
		SKIP(return, "vectors for all of %d", count);
	TH_LOG("%d of %d were given a vector", full, count);

	/* It stays refused, and so do others, and one that is allocated with an eventfd. */
	EXPECT_EQ(0, bind_until_full(_metadata, irqs, full, 1));
	EXPECT_EQ(0, bind_until_full(_metadata, irqs, count - 1, 1));
	EXPECT_EQ(-EINVAL, ims_noop(&irqs[full]));
	EXPECT_EQ(-ENOSPC, ims_alloc(file, new_eventfd(), &none));
	EXPECT_EQ(count, ims_file_used(file));
	EXPECT_EQ(count, ims_counter("used"));
	deliver_one(_metadata, &irqs[0]);
	deliver_one(_metadata, &irqs[full - 1]);

	/*
	 * An interrupt that was pending when its slot was freed is not for the next owner of the
	 * slot, which is given out without a vector.
	 */
	others_count = ims_alloc_all(&others);
	pending = ims_page() && count + others_count == ims_counter("slots");
	if (pending) {
		page_write(PAGE_RAISE, irqs[--count].slot);
		ASSERT_TRUE(wait_pending(&irqs[count]));
		ASSERT_EQ(0, ims_free(&irqs[count]));
		ASSERT_EQ(0, ims_alloc(file, -1, &none));
		EXPECT_EQ(irqs[count].slot, none.slot);
		EXPECT_EQ(IDXD_IMS_STATE_MASKED, ims_flags(&none));
		ASSERT_EQ(0, ims_free(&none));
		EXPECT_EQ(0, ims_counter("stuck"));
	}

	/* Vectors of others can be used. */
	rest = count - full < 20 ? count - full : 20;
	for (int i = 0; i < rest; i++)
		ASSERT_EQ(0, ims_bind(&irqs[i], -1));
	for (int i = 0; i < others_count; i++)
		ASSERT_EQ(0, ims_free(&others[i]));
	free(others);
	EXPECT_EQ(count, ims_counter("used"));
	EXPECT_EQ(0, ims_counter("stuck"));

	more = bind_until_full(_metadata, irqs, full, rest);
	EXPECT_LT(0, more);
	for (int i = 0; i < more; i++)
		deliver_one(_metadata, &irqs[full + i]);
	EXPECT_EQ(-EINVAL, ims_noop(&irqs[0]));

	/* Freed, it makes place as well. */
	for (int i = 0; i < more; i++)
		ASSERT_EQ(0, ims_free(&irqs[full + i]));
	EXPECT_EQ(count - more, ims_counter("used"));
	EXPECT_EQ(more, bind_until_full(_metadata, irqs, 0, more));
	deliver_one(_metadata, &irqs[0]);
}

static const char cpu1_online[] = "/sys/devices/system/cpu/cpu1/online";

/* A CPU goes offline only if the others have room for its interrupts. */
TEST_F_TIMEOUT(ims, cpu_offline_without_vectors, 60)
{
	static struct ims_irq irqs[MANY];
	int file = ims_open(0), count, full, few;

	if (access(cpu1_online, W_OK) || sysconf(_SC_NPROCESSORS_ONLN) != 2)
		SKIP(return, "there is no second CPU, or a third");
	count = alloc_many(_metadata, file, irqs, MANY);
	full = bind_until_full(_metadata, irqs, 0, count);
	if (full == count)
		SKIP(return, "vectors for all of %d", count);
	EXPECT_EQ(-ENOSPC, write_text(cpu1_online, "0"));
	for (int i = 0; i < full; i++)
		deliver_one(_metadata, &irqs[i]);

	few = full / 4;
	for (int i = few; i < full; i++)
		ASSERT_EQ(0, ims_bind(&irqs[i], -1));
	ASSERT_EQ(0, write_text(cpu1_online, "0"));
	for (int i = 0; i < few; i++)
		deliver_one(_metadata, &irqs[i]);
	/* The one CPU is full sooner. */
	few += bind_until_full(_metadata, irqs, few, count - few);
	EXPECT_GT(full, few);
	EXPECT_EQ(0, bind_until_full(_metadata, irqs, few, 1));
	for (int i = 0; i < few; i++)
		deliver_one(_metadata, &irqs[i]);

	ASSERT_EQ(0, write_text(cpu1_online, "1"));
	EXPECT_EQ(full, few + bind_until_full(_metadata, irqs, few, count - few));
	for (int i = 0; i < full; i++)
		deliver_one(_metadata, &irqs[i]);
}

/*
 * At the limits, with processes on all CPUs that allocate, bind and free at random. All
 * but some slots or remapping entries are in use, and all but some vectors.
 */
#define ALLOCATIONS 80
#define STORM_MS (60000 * slow())
#define FREE_SLOTS 16
#define FREE_VECTORS 8
#define QUOTA 6
#define EACH 10
#define MOST_WORKERS 32

/* Whether workers have a file in common, a work queue, or nothing. */
enum sharing { A_FILE, A_WORK_QUEUE, NOTHING };

/* What a worker tells, and is told. */
struct report {
	bool stop;
	int allocated;
	int bound;
	int no_slot;
	int no_vector;
	int wrong;	/* An error that is not that of a limit */
	int held;
	bool stopped;
};

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

struct storm {
	struct ims_irq *irqs;
	int count;	/* How many interrupts there can be, */
	int full;	/* and how many of them with a vector */
	struct report *reports;
	int workers;
};

FIXTURE(storm) {
	FIXTURE_DATA(ims) ims;
	struct storm storm;
};

FIXTURE_VARIANT(storm) {
	enum sharing sharing;
	/* Limits beyond which the work queue or a file gets nothing, instead of slots. */
	bool max;
	bool file_max;
	int error;
};

FIXTURE_VARIANT_ADD(storm, in_a_file) {
	.sharing = A_FILE, .error = -ENOSPC,
};

FIXTURE_VARIANT_ADD(storm, in_a_work_queue) {
	.sharing = A_WORK_QUEUE, .error = -ENOSPC,
};

FIXTURE_VARIANT_ADD(storm, in_work_queues) {
	.sharing = NOTHING, .error = -ENOSPC,
};

FIXTURE_VARIANT_ADD(storm, at_the_maximum) {
	.sharing = A_WORK_QUEUE, .max = true, .error = -EDQUOT,
};

FIXTURE_VARIANT_ADD(storm, at_the_maximum_of_a_file) {
	.sharing = A_FILE, .file_max = true, .error = -EMFILE,
};

FIXTURE_SETUP(storm)
{
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->storm.reports = share(MOST_WORKERS * sizeof(*self->storm.reports));
	ASSERT_NE(NULL, self->storm.reports);
	if (variant->file_max && !ims_is_module())
		SKIP(return, "not a module");
	if (variant->file_max) {
		ASSERT_EQ(0, ims_unload());
		ASSERT_EQ(0, ims_load(path_of("max_per_file=%d", QUOTA)));
	}
}

FIXTURE_TEARDOWN(storm)
{
	stop_all();
	ims_close_all();
	free(self->storm.irqs);
	if (variant->file_max) {
		EXPECT_EQ(0, ims_unload());
		EXPECT_EQ(0, ims_load(""));
	}
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Allocates, binds and frees until it is told to stop. What it has then stays. */
static void work(struct report *report, int cpu, int file, int error)
{
	struct ims_irq irqs[EACH] = {};
	bool used[EACH] = {};
	int eventfd = new_eventfd(), err;
	unsigned int random = 12345 + cpu + getpid();
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) || file < 0 || eventfd < 0)
		report->wrong = -errno;
	while (!report->wrong && !is_set(&report->stop)) {
		struct ims_irq *irq;

		random = random * 1103515245 + 12345;
		irq = &irqs[(random >> 20) % EACH];
		if (!used[irq - irqs]) {
			bool bound = random >> 16 & 1;

			/* Without an eventfd it needs no vector. */
			err = ims_alloc(file, bound ? eventfd : -1, irq);
			used[irq - irqs] = !err;
			__atomic_add_fetch(&report->allocated, !err, __ATOMIC_RELAXED);
			report->no_slot += !bound && err == error;
			report->wrong = err == error || (bound && err == -ENOSPC) ? 0 : err;
		} else if (random >> 17 & 1) {
			err = ims_free(irq);
			used[irq - irqs] = false;
			report->wrong = err;
		} else if (irq->eventfd < 0) {
			err = ims_bind(irq, eventfd);
			report->bound += !err;
			report->no_vector += err == -ENOSPC;
			report->wrong = err == -ENOSPC ? 0 : err;
		} else {
			report->wrong = ims_bind(irq, -1);
		}
	}
	for (int i = 0; i < EACH; i++)
		report->held += used[i];
	set(&report->stopped);
	for (;;)
		pause();
}

/* Takes all there is. */
static void fill(struct __test_metadata *_metadata, struct storm *storm)
{
	storm->count = ims_alloc_all(&storm->irqs);
	ASSERT_LT(FREE_SLOTS, storm->count);
	storm->full = bind_until_full(_metadata, storm->irqs, 0, storm->count);
	ASSERT_LT(FREE_VECTORS, storm->full);
}

/* Gives some of it back. */
static void make_room(struct __test_metadata *_metadata, struct storm *storm)
{
	for (int i = 0; i < FREE_VECTORS; i++)
		ASSERT_EQ(0, ims_free(&storm->irqs[i]));
	for (int i = 0; i < FREE_SLOTS - FREE_VECTORS; i++)
		ASSERT_EQ(0, ims_free(&storm->irqs[storm->full + i]));
}

/* All of it is there again, and no more. */
static void fill_again(struct __test_metadata *_metadata, struct storm *storm)
{
	struct ims_irq again[FREE_SLOTS], more;
	int file = ims_open(0);

	ASSERT_LE(0, file);
	for (int i = 0; i < FREE_SLOTS; i++)
		ASSERT_EQ(0, ims_alloc(file, -1, &again[i]));
	EXPECT_EQ(-ENOSPC, ims_alloc(file, -1, &more));
	EXPECT_EQ(storm->count, ims_counter("used"));
	EXPECT_EQ(FREE_VECTORS, bind_until_full(_metadata, again, 0, FREE_SLOTS));
	for (int i = 0; i < FREE_VECTORS; i++)
		deliver_one(_metadata, &again[i]);
}

/* Has each of them allocated so often, or found something wrong? */
static bool have_allocated(const struct storm *storm, int times)
{
	for (int i = 0; i < storm->workers; i++) {
		const struct report *report = &storm->reports[i];

		if (__atomic_load_n(&report->allocated, __ATOMIC_RELAXED) < times &&
		    !is_set(&report->stopped))
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(storm, counts_stay_exact, 120)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), file = -1, held = 0, used = 0;
	struct report all = {};
	struct storm *storm = &self->storm;
	struct idxd_ims_query query;

	if (!variant->file_max) {
		fill(_metadata, storm);
		if (storm->count - storm->full < FREE_SLOTS)
			SKIP(return, "vectors for %d of %d", storm->full, storm->count);
		make_room(_metadata, storm);
		used = storm->count - FREE_SLOTS;
	}
	EXPECT_EQ(used, ims_counter("used"));
	if (variant->max) {
		self->ims.rebind = true;
		ASSERT_EQ(0, ims_query(storm->irqs[FREE_VECTORS].file, &query));
		ASSERT_EQ(0, ims_set_limit(0, "max", query.used + QUOTA));
	}
	if (variant->sharing == A_FILE) {
		file = ims_open(0);
		ASSERT_LE(0, file);
	}

	/* Two for each CPU, so that they are preempted as well. */
	storm->workers = cpus * 2 < MOST_WORKERS ? cpus * 2 : MOST_WORKERS;
	for (int i = 0; i < storm->workers; i++) {
		int wq = variant->sharing == NOTHING ? i % ims_wqs() : 0;
		pid_t child = start();

		ASSERT_LE(0, child);
		if (!child)
			work(&storm->reports[i], i % cpus, file < 0 ? ims_open(wq) : file,
			     variant->error);
	}
	ASSERT_TRUE(wait_for_ms(have_allocated(storm, ALLOCATIONS), STORM_MS));
	for (int i = 0; i < storm->workers; i++)
		set(&storm->reports[i].stop);
	for (int i = 0; i < storm->workers; i++) {
		struct report *report = &storm->reports[i];

		ASSERT_TRUE(wait_for(is_set(&report->stopped)));
		EXPECT_EQ(0, report->wrong) TH_LOG("process %d", i);
		held += report->held;
		all.allocated += report->allocated;
		all.bound += report->bound;
		all.no_slot += report->no_slot;
		all.no_vector += report->no_vector;
	}
	TH_LOG("%d allocated, %d bound, no slot %d times, no vector %d times", all.allocated,
	       all.bound, all.no_slot, all.no_vector);
	EXPECT_LT(0, all.no_slot);
	/* A limit may be below the number of vectors. */
	EXPECT_EQ(variant->error == -ENOSPC, all.no_vector > 0);
	EXPECT_EQ(used + held, ims_counter("used"));
	if (file >= 0)
		EXPECT_EQ(held, ims_file_used(file));

	stop_all();
	ims_close(file);
	EXPECT_TRUE(wait_for(ims_counter("used") == used));
	if (variant->max)
		ASSERT_EQ(0, ims_set_limit(0, "max", ims_counter("slots")));
	if (!variant->file_max)
		fill_again(_metadata, storm);
}

TEST_HARNESS_MAIN
