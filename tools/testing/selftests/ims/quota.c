// SPDX-License-Identifier: GPL-2.0
/*
 * Limits: what a file and a work queue can have at most, what is kept for a work
 * queue whatever others do, and that this holds while processes compete.
 */
#include "expect.h"

#define COMPETE_MS (2000 * slow())
#define ROOM 6
#define FILE_MAX 3

/* Makes work queues 0 and 1 share ROOM slots, some of which are reserved for each. */
static int make_room(int min0, int min1)
{
	int slots = ims_counter("slots"), wqs = ims_wqs(), err = 0;

	for (int wq = 0; !err && wq < wqs; wq++)
		err = ims_set_limit(wq, "min", 0);
	return err ?: ims_set_limit(2, "min", slots - ROOM) ?:
	       ims_set_limit(0, "min", min0) ?:
	       ims_set_limit(1, "min", min1);
}

/* Allocates until that fails. Returns how many it got, and the error. */
static int alloc_until_full(int file, int *err)
{
	struct ims_irq irq;
	int count = 0;

	while (!(*err = ims_alloc(file, -1, &irq)))
		count++;
	return count;
}

TEST_F_TIMEOUT(ims, minimums_are_kept_from_the_greedy, 60)
{
	int slots = ims_counter("slots"), wqs = ims_wqs(), kept = 0, err, greedy;

	self->rebind = true;
	for (int wq = 1; wq < wqs; wq++) {
		ASSERT_EQ(0, ims_set_limit(wq, "min", wq % 4));
		kept += wq % 4;
	}
	greedy = ims_open(0);
	ASSERT_LE(0, greedy);
	EXPECT_EQ(slots - kept, alloc_until_full(greedy, &err));
	EXPECT_EQ(-ENOSPC, err);

	/* Each gets what was promised, and no more. */
	for (int wq = 1; wq < wqs; wq++) {
		int file = ims_open(wq);

		ASSERT_LE(0, file);
		EXPECT_EQ(wq % 4, alloc_until_full(file, &err)) TH_LOG("work queue %d", wq);
		EXPECT_EQ(-ENOSPC, err);
	}
	EXPECT_EQ(slots, ims_counter("used"));
	ims_close(greedy);
	EXPECT_EQ(kept, ims_counter("used"));
}

/* A slot that a work queue frees below its minimum stays reserved for it. */
TEST_F(ims, minimum_outlasts_use)
{
	int first, second, err;
	struct ims_irq irqs[2], irq;

	if (ims_wqs() < 3)
		SKIP(return, "%d work queues", ims_wqs());
	self->rebind = true;
	ASSERT_EQ(0, make_room(0, 2));
	first = ims_open(0);
	second = ims_open(1);
	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	ASSERT_EQ(0, ims_alloc(second, -1, &irqs[0]));
	ASSERT_EQ(0, ims_alloc(second, -1, &irqs[1]));
	EXPECT_EQ(ROOM - 2, alloc_until_full(first, &err));
	EXPECT_EQ(-ENOSPC, err);
	EXPECT_EQ(-ENOSPC, ims_alloc(second, -1, &irq));

	ASSERT_EQ(0, ims_free(&irqs[0]));
	EXPECT_EQ(-ENOSPC, ims_alloc(first, -1, &irq));
	EXPECT_EQ(0, ims_alloc(second, -1, &irqs[0]));

	/* Without the minimum it is for anybody. */
	ASSERT_EQ(0, ims_set_limit(1, "min", 0));
	ASSERT_EQ(0, ims_free(&irqs[0]));
	EXPECT_EQ(0, ims_alloc(first, -1, &irq));
	EXPECT_EQ(-ENOSPC, ims_alloc(second, -1, &irqs[0]));
}

TEST_F(ims, maximum)
{
	int first = ims_open(0), second = ims_open(0), other = ims_open(1), err;
	struct ims_irq irqs[5], irq;
	struct idxd_ims_query query;

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	self->rebind = true;
	ASSERT_EQ(0, ims_set_limit(0, "max", 5));
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(0, ims_alloc(i % 2 ? first : second, -1, &irqs[i]));
	EXPECT_EQ(-EDQUOT, ims_alloc(first, -1, &irq));
	EXPECT_EQ(-EDQUOT, ims_alloc(second, new_eventfd(), &irq));
	ASSERT_EQ(0, ims_query(first, &query));
	EXPECT_EQ(5, query.used);
	EXPECT_EQ(5, query.max);
	EXPECT_EQ(5, ims_counter("used"));
	if (other >= 0)
		EXPECT_EQ(0, ims_alloc(other, -1, &irq));

	ASSERT_EQ(0, ims_free(&irqs[3]));
	EXPECT_EQ(0, ims_alloc(second, -1, &irqs[3]));
	EXPECT_EQ(-EDQUOT, ims_alloc(second, -1, &irq));

	/* Lowered, it takes nothing away, but there is nothing new. */
	ASSERT_EQ(0, ims_set_limit(0, "max", 3));
	EXPECT_EQ(0, ims_bind(&irqs[0], new_eventfd()));
	ASSERT_EQ(0, ims_free(&irqs[1]));
	ASSERT_EQ(0, ims_free(&irqs[2]));
	EXPECT_EQ(-EDQUOT, ims_alloc(first, -1, &irq));
	ASSERT_EQ(0, ims_free(&irqs[3]));
	EXPECT_EQ(1, alloc_until_full(first, &err));
	EXPECT_EQ(-EDQUOT, err);

	/* Raised, there is. */
	ASSERT_EQ(0, ims_set_limit(0, "max", 7));
	EXPECT_EQ(4, alloc_until_full(second, &err));
	EXPECT_EQ(-EDQUOT, err);
}

TEST_F_TIMEOUT(ims, file_maximum, 60)
{
	struct idxd_ims_query query;
	struct ims_irq irqs[2];
	int first, second, err;

	if (!ims_is_module())
		SKIP(return, "not a module");
	ASSERT_EQ(0, ims_unload());
	err = ims_load(path_of("max_per_file=%d", FILE_MAX));
	EXPECT_EQ(0, err);
	if (!err) {
		first = ims_open(0);
		second = ims_open(0);
		EXPECT_LE(0, first);
		EXPECT_LE(0, second);
		EXPECT_EQ(FILE_MAX, alloc_until_full(first, &err));
		EXPECT_EQ(-EMFILE, err);
		EXPECT_EQ(0, ims_alloc(second, -1, &irqs[0]));
		EXPECT_EQ(0, ims_alloc(second, -1, &irqs[1]));
		EXPECT_EQ(FILE_MAX - 2, alloc_until_full(second, &err));
		EXPECT_EQ(-EMFILE, err);
		EXPECT_EQ(2 * FILE_MAX, ims_counter("used"));
		EXPECT_EQ(0, ims_query(first, &query));
		EXPECT_EQ(FILE_MAX, query.file_used);
		EXPECT_EQ(FILE_MAX, query.file_max);
		EXPECT_EQ(2 * FILE_MAX, query.used);
		EXPECT_EQ(0, ims_free(&irqs[0]));
		EXPECT_EQ(1, alloc_until_full(second, &err));
		EXPECT_EQ(-EMFILE, err);
		ims_close(first);
		ims_close(second);
		EXPECT_EQ(0, ims_unload());
	}
	ASSERT_EQ(0, ims_load(""));
}

/* What two processes see of each other while they compete. */
struct arena {
	int total;
	int full;		/* processes that got all they can */
	int allocated[2];
	int refused[2];
	int by_slot[1 << 16];
	int by_id[1 << 16];
};

enum competition {
	TWO_WORK_QUEUES = 1,
	TWO_FILES,
	ONE_FILE,
};

/* Its exit status says what is wrong. */
enum wrong { NOTHING, NO_FILE, NO_FREE, ERROR, LIMIT, MINIMUM, SLOT, ID, ALONE, LESS };

/* What one of them has. */
struct competitor {
	struct arena *arena;
	int me;
	int file;
	enum competition competition;
	int min;
	int error;		/* of an allocation that is one too many */
	int held;
	struct ims_irq irqs[ROOM + 1];
};

/* An entry of by_slot or by_id: whose it is. Returns false if it was somebody's. */
static bool enter(int *entry, int owner)
{
	int nobody = 0;

	return __atomic_compare_exchange_n(entry, &nobody, owner, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* Says that it is not ours any more, just before that is so. */
static void leave(struct arena *arena, const struct ims_irq *irq)
{
	__atomic_store_n(&arena->by_slot[irq->slot & 0xffff], 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&arena->by_id[irq->id & 0xffff], 0, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&arena->total, 1, __ATOMIC_SEQ_CST);
}

/* Sets @refused if there is none to be had. */
static enum wrong take_one(struct competitor *self, bool *refused)
{
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = -1 };
	int err = ims_call(self->file, IDXD_IMS_ALLOC, &alloc);
	struct arena *arena = self->arena;

	*refused = err;
	if (err) {
		if (self->held < self->min)
			return MINIMUM;
		arena->refused[self->me]++;
		return err == self->error ? NOTHING : ERROR;
	}
	/* Counted after it was allocated and until before it is freed. */
	if (__atomic_add_fetch(&arena->total, 1, __ATOMIC_SEQ_CST) > ROOM)
		return LIMIT;
	if (!enter(&arena->by_slot[alloc.slot & 0xffff], self->me + 1))
		return SLOT;
	if (self->competition == ONE_FILE && !enter(&arena->by_id[alloc.id & 0xffff], self->me + 1))
		return ID;
	arena->allocated[self->me]++;
	self->irqs[self->held++] = (struct ims_irq) {
		.file = self->file, .id = alloc.id, .slot = alloc.slot,
	};
	return NOTHING;
}

static enum wrong free_one(struct competitor *self, int index)
{
	struct ims_irq irq = self->irqs[index];

	self->irqs[index] = self->irqs[--self->held];
	leave(self->arena, &irq);
	return ims_free(&irq) ? NO_FREE : NOTHING;
}

/* Allocates and frees at random until time is up, then allocates what there is. */
static enum wrong compete(struct competitor *self)
{
	const uint64_t until = now_ms() + COMPETE_MS;
	unsigned int random = 12345 + self->me;
	struct arena *arena = self->arena;
	enum wrong wrong = NOTHING;
	bool refused = false;

	if (self->file < 0)
		return NO_FILE;
	while (!wrong && now_ms() < until) {
		random = random * 1103515245 + 12345;
		/* Mostly at the limit: it allocates more often than it frees. */
		if (self->held <= ROOM && (!self->held || random >> 16 & 3))
			wrong = take_one(self, &refused);
		else
			wrong = free_one(self, (random >> 18) % self->held);
	}
	for (refused = false; !wrong && !refused;)
		wrong = take_one(self, &refused);
	if (wrong)
		return wrong;

	/* Nobody frees any more: together they have all. */
	__atomic_add_fetch(&arena->full, 1, __ATOMIC_SEQ_CST);
	if (!wait_for(__atomic_load_n(&arena->full, __ATOMIC_SEQ_CST) == 2))
		return ALONE;
	/* The end of the process frees them. */
	return __atomic_load_n(&arena->total, __ATOMIC_SEQ_CST) == ROOM ? NOTHING : LESS;
}

static void run_competition(struct __test_metadata *_metadata, enum competition competition,
			    int min, int error)
{
	struct arena *arena = share(sizeof(*arena));
	int file = -1;
	pid_t children[2];

	ASSERT_NE(NULL, arena);
	if (competition == ONE_FILE) {
		file = ims_open(0);
		ASSERT_LE(0, file);
	}
	for (int i = 0; i < 2; i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (!children[i]) {
			struct competitor self = {
				.arena = arena, .me = i, .file = file, .competition = competition,
				.min = min, .error = error,
			};

			if (competition != ONE_FILE)
				self.file = ims_open(competition == TWO_WORK_QUEUES ? i : 0);
			_exit(compete(&self));
		}
	}
	for (int i = 0; i < 2; i++) {
		static const char * const wrongs[] = {
			"nothing", "no file", "free fails", "another error", "more than the limit",
			"less than the minimum", "a slot twice", "a name twice",
			"the other is not done", "less than there is",
		};
		int wrong = finish(children[i], COMPETE_MS + 2 * DEADLINE_MS);

		EXPECT_EQ(NOTHING, wrong)
			TH_LOG("process %d: %s", i, wrong < 0 ? "no end" : wrongs[wrong]);
		TH_LOG("process %d: %d allocated, %d refused", i, arena->allocated[i],
		       arena->refused[i]);
		EXPECT_LT(0, arena->allocated[i]);
	}
	EXPECT_LT(0, arena->refused[0] + arena->refused[1]);
	munmap(arena, sizeof(*arena));
}

TEST_F_TIMEOUT(ims, work_queues_compete, 60)
{
	if (ims_wqs() < 3)
		SKIP(return, "%d work queues", ims_wqs());
	self->rebind = true;
	ASSERT_EQ(0, make_room(2, 2));
	run_competition(_metadata, TWO_WORK_QUEUES, 2, -ENOSPC);
}

TEST_F_TIMEOUT(ims, files_compete, 60)
{
	self->rebind = true;
	ASSERT_EQ(0, ims_set_limit(0, "max", ROOM));
	run_competition(_metadata, TWO_FILES, 0, -EDQUOT);
}

TEST_F_TIMEOUT(ims, processes_compete_in_a_file, 60)
{
	self->rebind = true;
	ASSERT_EQ(0, ims_set_limit(0, "max", ROOM));
	run_competition(_metadata, ONE_FILE, 0, -EDQUOT);
}

/* What one work queue leaves pending takes no slot from the others. */
TEST_F_TIMEOUT(ims, pending_takes_no_slots, 60)
{
	int file = ims_open(0), slots = ims_counter("slots");
	struct ims_irq irq;

	ASSERT_LE(0, file);
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
		ASSERT_EQ(0, ims_mask(&irq));
		ASSERT_EQ(0, ims_noop(&irq));
		ASSERT_TRUE(wait_pending(&irq));
		ASSERT_EQ(0, ims_free(&irq));
		close(irq.eventfd);
	}
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_EQ(slots, ims_counter("slots"));
	EXPECT_TRUE(ims_delivers(1, 4));
}

TEST_HARNESS_MAIN
