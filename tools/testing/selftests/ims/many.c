// SPDX-License-Identifier: GPL-2.0
/*
 * As many files as there can be, each with an interrupt and a buffer of its own, and all at
 * work on a few work queues: every item completes once, at the file that submitted it, and
 * raises that file's interrupt only.
 */
#include "work.h"

#define MANY 2048
#define ROUNDS 3
/* Items of a file in a round. */
#define ITEMS 2
#define SLICE PAGE

struct user {
	int file;
	struct ims_irq irq;
	bool has_irq;		/* It has a slot, */
	bool is_bound;		/* and a vector */
	__u32 source;
	__u32 target;
	int signals;
};

/* All of them, and their memory. */
struct crowd {
	struct user *users;
	unsigned char *sources;
	unsigned char *targets;
	int count;
};

FIXTURE(many) {
	FIXTURE_DATA(ims) ims;
	struct crowd crowd;
};

FIXTURE_SETUP(many)
{
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->crowd.users = calloc(MANY, sizeof(*self->crowd.users));
	self->crowd.sources = untouched(MANY * SLICE);
	self->crowd.targets = untouched(MANY * SLICE);
	ASSERT_NE(NULL, self->crowd.users);
	ASSERT_NE(NULL, self->crowd.sources);
	ASSERT_NE(NULL, self->crowd.targets);
	randomize(self->crowd.sources, MANY * SLICE, 11);
}

FIXTURE_TEARDOWN(many)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Opens files of all work queues in turn, as many as there are slots, or MANY. */
static void open_many(struct __test_metadata *_metadata, struct crowd *crowd)
{
	const int wqs = ims_wqs(), slots = ims_counter("slots");
	int interrupts = 0, bound = 0;

	for (int i = 0; i < MANY && i < slots; i++) {
		struct user *user = &crowd->users[i];
		int err, eventfd;

		user->file = ims_open(i % wqs);
		ASSERT_LE(0, user->file);
		crowd->count++;
		err = ims_alloc(user->file, -1, &user->irq);
		user->has_irq = !err;
		if (err) {
			/* Remapping entries. */
			ASSERT_EQ(-ENOSPC, err);
		} else {
			interrupts++;
			eventfd = new_eventfd();
			ASSERT_LE(0, eventfd);
			err = ims_bind(&user->irq, eventfd);
			user->is_bound = !err;
			if (err) {
				/* Vectors. */
				ASSERT_EQ(-ENOSPC, err);
				close(eventfd);
			}
			bound += !err;
		}
		ASSERT_EQ(0, ims_register(user->file, crowd->sources + i * SLICE, SLICE, 0,
					  &user->source));
		ASSERT_EQ(0, ims_register(user->file, crowd->targets + i * SLICE, SLICE,
					  IDXD_IMS_BUFFER_WRITE, &user->target));
	}
	TH_LOG("%d files of %d work queues, %d interrupts, %d with a vector", crowd->count, wqs,
	       interrupts, bound);
	EXPECT_EQ(interrupts, ims_counter("used"));
	ASSERT_LT(0, bound);
	ASSERT_LT(wqs, crowd->count);
}

/* Cookies tell the file, the round and the item. */
static uint64_t cookie_of(int user, int round, int item)
{
	return ((uint64_t)user << 32) + round * ITEMS + item;
}

static void submit(struct __test_metadata *_metadata, struct user *user, int index, int round)
{
	struct idxd_ims_item items[ITEMS];

	for (int i = 0; i < ITEMS; i++) {
		const int half = SLICE / ITEMS;

		items[i] = copy_item(user->source, i * half, user->target, i * half, half,
				     cookie_of(index, round, i));
		/* Only one has an interrupt: two messages could become one. */
		if (user->is_bound && i == ITEMS - 1)
			items[i].interrupt = user->irq.id;
	}
	ASSERT_EQ(ITEMS, ims_work(user->file, items, ITEMS));
	user->signals += user->is_bound;
}

/* Have all interrupts arrived? */
static bool all_arrived(struct user *users, int count)
{
	for (int i = 0; i < count; i++)
		if (users[i].is_bound && ims_signals(&users[i].irq) < users[i].signals)
			return false;
	return true;
}

TEST_F_TIMEOUT(many, files_at_work, 240)
{
	struct crowd *crowd = &self->crowd;
	int completed = 0;

	open_many(_metadata, crowd);
	for (int round = 0; round < ROUNDS; round++) {
		memset(crowd->targets, UNTOUCHED, crowd->count * SLICE);
		/* All of them, before any is collected. */
		for (int i = 0; i < crowd->count; i++)
			submit(_metadata, &crowd->users[i], i, round);
		for (int i = 0; i < crowd->count; i++) {
			struct idxd_ims_completion completions[ITEMS + 1];

			ASSERT_EQ(ITEMS, ims_collect(crowd->users[i].file, completions, ITEMS))
				TH_LOG("file %d", i);
			expect_each_once(_metadata, completions, ITEMS, cookie_of(i, round, 0));
			for (int j = 0; j < ITEMS; j++) {
				EXPECT_EQ(IDXD_IMS_COMPLETED, completions[j].status);
				EXPECT_EQ(SLICE / ITEMS, completions[j].bytes);
			}
			EXPECT_EQ(0, ims_poll(crowd->users[i].file, POLLIN, 0));
			completed += ITEMS;
		}
		EXPECT_EQ(0, memcmp(crowd->sources, crowd->targets, crowd->count * SLICE))
			TH_LOG("round %d", round);
		ASSERT_TRUE(wait_for(all_arrived(crowd->users, crowd->count)));
	}
	EXPECT_EQ(ROUNDS * ITEMS * crowd->count, completed);
	settle();
	for (int i = 0; i < crowd->count; i++) {
		struct user *user = &crowd->users[i];

		if (!user->is_bound)
			continue;
		EXPECT_EQ(ROUNDS, ims_signals(&user->irq));
		EXPECT_EQ(ROUNDS, ims_count(&user->irq));
		EXPECT_EQ(ROUNDS, kernel_count(user->irq.virq));
		EXPECT_DEVICE(&user->irq, ROUNDS, 0, 0);
	}
}

/* All are closed at work, by the end of a process. */
TEST_F_TIMEOUT(many, files_closed_at_work, 120)
{
	struct crowd *crowd = &self->crowd;
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		open_many(_metadata, crowd);
		for (int i = 0; i < crowd->count; i++)
			submit(_metadata, &crowd->users[i], i, 0);
		_exit(_metadata->exit_code);
	}
	EXPECT_EQ(KSFT_PASS, finish(child, 100000 * slow()));
	EXPECT_TRUE(wait_for(!ims_counter("used")));
	for (int wq = 0; wq < ims_wqs(); wq++) {
		EXPECT_TRUE(ims_delivers(wq, 4))
			TH_LOG("work queue %d", wq);
	}
}

TEST_HARNESS_MAIN
