// SPDX-License-Identifier: GPL-2.0
/*
 * traffic: processes that use two work queues in all ways until the device is gone,
 * and the device's own raises, for scripts that take the device away meanwhile.
 * Prints "running" when all of them are at work. They have to end with ENODEV.
 *
 * traffic SLOT: only has the device raise that slot, for a while, and ends at once.
 */
#include "ims.h"

#define USERS 6
#define WQS 2
#define GONE_MS 60000
#define RAISES_PER_SECOND 2000
#define WHILE_S 60

/* What the processes of a work queue share: the file, and its interrupts. */
struct queue {
	int file;
	struct ims_irq bound;
	struct ims_irq masked;
	struct ims_irq changed;
};

static int submit_noop(struct queue *queue, int i)
{
	return ims_noop(&queue->bound);
}

static int submit_copy(struct queue *queue, int i)
{
	return ims_copy(&queue->masked, i % 8192 + 1);
}

static int mask_unmask(struct queue *queue, int i)
{
	return i & 1 ? ims_unmask(&queue->masked) : ims_mask(&queue->masked);
}

static int alloc_free(struct queue *queue, int i)
{
	struct ims_irq irq;

	return ims_alloc(queue->file, i & 1 ? queue->bound.eventfd : -1, &irq) ?: ims_free(&irq);
}

static int bind_unbind(struct queue *queue, int i)
{
	return ims_bind(&queue->changed, i & 1 ? queue->bound.eventfd : -1);
}

static int look(struct queue *queue, int i)
{
	struct idxd_ims_query query;
	struct idxd_ims_state state;
	struct ims_slot slot;

	ims_slot(queue->bound.slot, &slot);
	return ims_query(queue->file, &query) ?: ims_state(&queue->masked, &state);
}

static const struct {
	const char *name;
	int (*use)(struct queue *queue, int i);
} users[USERS] = {
	{ "noop", submit_noop },
	{ "copy", submit_copy },
	{ "mask", mask_unmask },
	{ "alloc", alloc_free },
	{ "bind", bind_unbind },
	{ "look", look },
};

/* What a process did, for the others to see. */
struct report {
	int calls;
	int error;
};

static void use_until_gone(struct queue *queue, int user, struct report *report)
{
	for (int i = 0; !report->error; i++) {
		report->error = users[user].use(queue, i);
		report->calls++;
	}
	_exit(report->error != -ENODEV);
}

static void open_queue(int wq, struct queue *queue)
{
	queue->file = ims_open(wq);
	if (queue->file < 0 || ims_alloc(queue->file, new_eventfd(), &queue->bound) ||
	    ims_alloc(queue->file, new_eventfd(), &queue->masked) ||
	    ims_alloc(queue->file, -1, &queue->changed))
		ksft_exit_fail_msg("work queue %d cannot be used\n", wq);
}

static int raise_slot(int slot)
{
	if (!ims_page())
		ksft_exit_fail_msg("no test page\n");
	page_write(PAGE_SOURCE_RATE, RAISES_PER_SECOND);
	page_write(PAGE_SOURCE_FIRST, slot);
	page_write(PAGE_SOURCE_SLOTS, 1);
	page_write(PAGE_SOURCE_COUNT, WHILE_S * RAISES_PER_SECOND);
	page_write(PAGE_SOURCE_CONTROL, 1);
	return 0;
}

static void leave(int signal)
{
	_exit(0);
}

/*
 * The device raises what is in use, until it is gone. It raises for a while only:
 * gone, it cannot be told to stop.
 */
static void raise_until_gone(const struct queue *queues)
{
	int slots = 0;

	signal(SIGBUS, leave);
	if (!ims_page())
		_exit(0);
	for (int wq = 0; wq < WQS; wq++)
		if (queues[wq].changed.slot >= slots)
			slots = queues[wq].changed.slot + 1;
	page_write(PAGE_SOURCE_RATE, RAISES_PER_SECOND);
	page_write(PAGE_SOURCE_FIRST, 0);
	page_write(PAGE_SOURCE_SLOTS, slots);
	for (;;) {
		page_write(PAGE_SOURCE_COUNT, RAISES_PER_SECOND / 5);
		page_write(PAGE_SOURCE_CONTROL, 1);
		usleep(100000);
	}
}

/* Have all of them made some calls? */
static bool all_run(const struct report *reports)
{
	for (int i = 0; i < WQS * USERS; i++)
		if (reports[i].calls < 4)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct report *reports = share(WQS * USERS * sizeof(*reports));
	struct queue queues[WQS] = {};
	pid_t children[WQS * USERS], source;
	uint64_t end;
	int bad = 0;

	if (!reports || !ims_find())
		ksft_exit_fail_msg("no device\n");
	if (argc > 1)
		return raise_slot(atoi(argv[1]));
	for (int wq = 0; wq < WQS; wq++)
		open_queue(wq, &queues[wq]);
	source = start();
	if (!source)
		raise_until_gone(queues);
	for (int i = 0; i < WQS * USERS; i++) {
		children[i] = start();
		if (!children[i])
			use_until_gone(&queues[i / USERS], i % USERS, &reports[i]);
	}
	if (!wait_for(all_run(reports)))
		ksft_exit_fail_msg("not all of them run\n");
	printf("running\n");
	fflush(stdout);

	end = now_ms() + GONE_MS;
	for (int i = 0; i < WQS * USERS; i++) {
		uint64_t now = now_ms();
		int status = finish(children[i], now < end ? end - now : 0);

		printf("wq%d %s: %d calls, %s%s\n", i / USERS, users[i % USERS].name,
		       reports[i].calls, strerrorname_np(-reports[i].error) ?: "?",
		       status == -2 ? ", does not end" : "");
		bad |= status;
	}
	stop(source);
	return !!bad;
}
