/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that submit items of work while other things happen to the device. Of each
 * process:
 *
 * - items accepted = items completed + aborted + failed, and each cookie completes once
 * - the bytes and results of items are those that the CPU computes; of an aborted item,
 *   the bytes that are reported as done
 * - no byte next to the range of an item is written, and none after the item has completed
 * - items with an interrupt signal its eventfd
 *
 * When the device or the subdevice is unbound, the process reads the completions that are
 * left, closes the file, and opens it again as soon as it can.
 */
#ifndef IMS_SOAK_ITEMS_H
#define IMS_SOAK_ITEMS_H

#include "work.h"

#define WORKERS 2
#define PLACES 12
#define LONGEST 0x40000		/* 256 KiB */
#define MOST_SHIFT 18		/* Down to one byte */
#define GUARD 64		/* Bytes next to a range that must not change */
#define PLACE (LONGEST + 2 * PAGE)
#define MOST_AT_ONCE 4
/* The device may be unbound for long on a busy host. */
#define PATIENCE_MS (6 * DEADLINE_MS)

/* The results of one process. */
struct items_report {
	uint64_t opened;
	uint64_t removed;	/* Files whose device was removed */
	uint64_t accepted;
	uint64_t completed;
	uint64_t aborted;
	uint64_t failed;
	uint64_t compared;	/* Bytes */
	uint64_t wrong_bytes;
	char wrong[160];	/* The first violation */
};

/* Shared with the processes. */
struct items_soak {
	bool stop;
	struct items_report reports[WORKERS];
};

/* A part of the target, for one item. */
struct place {
	bool used;
	size_t offset;		/* In the target */
	struct idxd_ims_item item;
	uint64_t equal;		/* Bytes before the first difference, for COMPARE */
};

struct worker {
	struct items_soak *soak;
	struct items_report *report;
	uint64_t random;
	int wqs;
	int file;		/* -1: none */
	bool nonblock;
	struct idxd_ims_query query;
	int eventfd;
	struct ims_irq irq;
	bool is_signal_due;
	struct region source;
	struct region target;
	struct place places[PLACES];
	int in_flight;
	uint64_t next_cookie;
};

static inline uint64_t worker_below(struct worker *worker, uint64_t bound)
{
	return (next_random(&worker->random) >> 20) % bound;
}

static inline bool worker_stops(const struct worker *worker)
{
	return __atomic_load_n(&worker->soak->stop, __ATOMIC_RELAXED);
}

/* Reports the first violation. Returns an error other than those of the device. */
static inline __printf(2, 3) int violated(struct worker *worker, const char *format, ...)
{
	struct items_report *report = worker->report;
	va_list args;

	if (report->wrong[0])
		return -EPROTO;
	va_start(args, format);
	vsnprintf(report->wrong, sizeof(report->wrong), format, args);
	va_end(args);
	return -EPROTO;
}

/* An operation that the work queue has. */
static inline __u32 any_op(struct worker *worker)
{
	__u32 op;

	do
		op = worker_below(worker, IDXD_IMS_OP_CRC + 1);
	while (!has_op(&worker->query, op));
	return op;
}

/* Prepares an item at random, and the memory that it uses. */
static inline struct idxd_ims_item prepare(struct worker *worker, struct place *place)
{
	struct idxd_ims_item *item = &place->item;
	uint64_t from;

	*item = (struct idxd_ims_item) {
		.op = any_op(worker),
		.interrupt = worker_below(worker, 2) ? worker->irq.id : IDXD_IMS_NO_INTERRUPT,
		.cookie = worker->next_cookie++,
	};
	place->used = true;
	place->offset = (place - worker->places) * PLACE + GUARD + worker_below(worker, PAGE);
	if (item->op == IDXD_IMS_OP_NOOP)
		return *item;

	item->length = 1 + worker_below(worker, LONGEST >> worker_below(worker, MOST_SHIFT + 1));
	from = worker_below(worker, worker->source.size - item->length + 1);
	if (item->op != IDXD_IMS_OP_FILL) {
		item->source = worker->source.buffer;
		item->source_offset = from;
	}
	if (item->op != IDXD_IMS_OP_CRC) {
		item->target = worker->target.buffer;
		item->target_offset = place->offset;
	}
	if (item->op == IDXD_IMS_OP_FILL)
		item->value = next_random(&worker->random);
	if (item->op == IDXD_IMS_OP_CRC)
		item->value = (__u32)next_random(&worker->random);
	if (item->op == IDXD_IMS_OP_COMPARE) {
		unsigned char *target = worker->target.bytes + place->offset;

		memcpy(target, worker->source.bytes + from, item->length);
		place->equal = item->length;
		if (worker_below(worker, 2)) {
			place->equal = worker_below(worker, item->length);
			target[place->equal] ^= 1 << worker_below(worker, 8);
		}
	}
	return *item;
}

/* Frees a place, whose memory is untouched again. */
static inline void clear(struct worker *worker, struct place *place)
{
	memset(worker->target.bytes + place->offset - GUARD, UNTOUCHED,
	       place->item.length + 2 * GUARD);
	place->used = false;
}

/* Compares the first @bytes bytes of the target with what the CPU computes. */
static inline void compare_bytes(struct worker *worker, const struct place *place, uint64_t bytes)
{
	const unsigned char *target = worker->target.bytes + place->offset;
	const struct idxd_ims_item *item = &place->item;
	const unsigned char *source = worker->source.bytes + item->source_offset;
	const unsigned char *pattern = (const unsigned char *)&item->value;
	uint64_t wrong = 0;

	for (int i = 0; i < GUARD; i++) {
		wrong += target[-1 - i] != UNTOUCHED;
		wrong += target[item->length + i] != UNTOUCHED;
	}
	if (item->op == IDXD_IMS_OP_COPY) {
		for (uint64_t i = 0; i < bytes; i++)
			wrong += target[i] != source[i];
		worker->report->compared += bytes;
	} else if (item->op == IDXD_IMS_OP_FILL) {
		for (uint64_t i = 0; i < bytes; i++)
			wrong += target[i] != pattern[i % sizeof(item->value)];
		worker->report->compared += bytes;
	}
	worker->report->wrong_bytes += wrong;
	if (wrong)
		violated(worker, "operation %u on %llu bytes at %#zx: %llu bytes of %llu are wrong",
			 item->op, (unsigned long long)item->length, place->offset,
			 (unsigned long long)wrong, (unsigned long long)bytes);
}

/* Does a completion tell what the CPU computes? */
static inline void compare_result(struct worker *worker, const struct place *place,
				  const struct idxd_ims_completion *completion)
{
	const struct idxd_ims_item *item = &place->item;
	uint64_t bytes = item->length, result = 0;

	if (item->op == IDXD_IMS_OP_COMPARE) {
		bytes = place->equal;
		result = place->equal < item->length;
	}
	if (item->op == IDXD_IMS_OP_CRC)
		result = crc32c(item->value, worker->source.bytes + item->source_offset,
				item->length);
	if (item->op == IDXD_IMS_OP_COMPARE || item->op == IDXD_IMS_OP_CRC)
		worker->report->compared += bytes;
	if (completion->bytes != bytes || completion->result != result)
		violated(worker, "operation %u on %llu bytes: %llu, result %#llx, not %llu, %#llx",
			 item->op, (unsigned long long)item->length,
			 (unsigned long long)completion->bytes,
			 (unsigned long long)completion->result, (unsigned long long)bytes,
			 (unsigned long long)result);
}

/* Checks the completion of an item, which must be in flight. */
static inline void complete(struct worker *worker, const struct idxd_ims_completion *completion)
{
	struct items_report *report = worker->report;
	struct place *place = worker->places;

	while (place < worker->places + PLACES &&
	       !(place->used && place->item.cookie == completion->cookie))
		place++;
	if (place == worker->places + PLACES) {
		violated(worker, "cookie %llu completes, but is not in flight",
			 (unsigned long long)completion->cookie);
		return;
	}

	switch (completion->status) {
	case IDXD_IMS_COMPLETED:
		report->completed++;
		compare_result(worker, place, completion);
		compare_bytes(worker, place, place->item.length);
		break;
	case IDXD_IMS_ABORTED:
		report->aborted++;
		if (completion->bytes > place->item.length || completion->result)
			violated(worker, "aborted after %llu bytes of %llu, result %#llx",
				 (unsigned long long)completion->bytes,
				 (unsigned long long)place->item.length,
				 (unsigned long long)completion->result);
		else
			compare_bytes(worker, place, completion->bytes);
		break;
	default:
		report->failed++;
		violated(worker, "operation %u on %llu bytes: status %u, result %#llx",
			 place->item.op, (unsigned long long)place->item.length,
			 completion->status, (unsigned long long)completion->result);
		break;
	}
	if (completion->reserved)
		violated(worker, "a reserved field is not zero");
	worker->in_flight--;
	clear(worker, place);
}

/* Reads completions. Returns how many were read, or a negative errno. */
static inline int read_some(struct worker *worker)
{
	struct idxd_ims_completion completions[PLACES];
	int got = ims_read(worker->file, completions, 1 + worker_below(worker, PLACES));

	for (int i = 0; i < got; i++)
		complete(worker, &completions[i]);
	return worker->report->wrong[0] ? -EPROTO : got;
}

/* Waits for completions, and reads them. Returns 0 or a negative errno. */
static inline int collect(struct worker *worker)
{
	/* Let read() wait at times. */
	const bool polls = worker->nonblock || worker_below(worker, 2);
	int got;

	if (polls && !ims_poll(worker->file, POLLIN, PATIENCE_MS))
		return violated(worker, "%d items do not complete", worker->in_flight);
	got = read_some(worker);
	if (!got || (got == -EAGAIN && !worker->nonblock))
		return violated(worker, "read() returns %d", got);
	return got == -EAGAIN || got > 0 ? 0 : got;
}

/* Submits items. Returns 0 or a negative errno. */
static inline int submit(struct worker *worker)
{
	const int most = 1 + worker_below(worker, MOST_AT_ONCE);
	struct idxd_ims_item items[MOST_AT_ONCE];
	struct place *places[MOST_AT_ONCE];
	int count = 0, accepted;

	for (int i = 0; i < PLACES && count < most; i++) {
		if (worker->places[i].used)
			continue;
		places[count] = &worker->places[i];
		items[count] = prepare(worker, places[count]);
		count++;
	}
	if (!count)
		return 0;
	accepted = ims_work(worker->file, items, count);
	for (int i = 0; i < count; i++) {
		if (i >= accepted) {
			clear(worker, places[i]);
			continue;
		}
		worker->in_flight++;
		worker->report->accepted++;
		worker->is_signal_due |= items[i].interrupt != IDXD_IMS_NO_INTERRUPT;
	}
	if (!accepted)
		return violated(worker, "no item is accepted, and no error returned");
	/* Also a file that waits, if the device is just being reset or unbound. */
	return accepted > 0 || accepted == -EAGAIN ? 0 : accepted;
}

/* Returns 1 if the eventfd is signalled, 0 if it is not yet, or a negative errno. */
static inline int take_signal(struct worker *worker)
{
	struct idxd_ims_query query;

	return take(worker->eventfd) ? 1 : ims_query(worker->file, &query);
}

/* Collects all completions, and a signal. Returns 0 or a negative errno. */
static inline int collect_all(struct worker *worker)
{
	const uint64_t end = now_ms() + PATIENCE_MS;
	int err = 0;

	while (worker->in_flight && !err)
		err = collect(worker);
	if (err || !worker->is_signal_due)
		return err;
	worker->is_signal_due = false;
	while (!(err = take_signal(worker))) {
		if (now_ms() > end)
			return violated(worker, "items with an interrupt signal no eventfd");
		usleep(500);
	}
	return err > 0 ? 0 : err;
}

/* The device was removed: reads what is unread. Returns 0 or a negative errno. */
static inline int collect_removed(struct worker *worker)
{
	int got;

	do
		got = read_some(worker);
	while (got > 0);
	if (got != -ENODEV)
		return violated(worker, "read() returns %d after the device was removed", got);
	if (worker->in_flight)
		return violated(worker, "%d items are lost with the device", worker->in_flight);
	worker->report->removed++;
	return 0;
}

/* Without items in flight no byte of the target changes. */
static inline int check_untouched(struct worker *worker)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < worker->target.size; i++)
		wrong += worker->target.bytes[i] != UNTOUCHED;
	worker->report->wrong_bytes += wrong;
	if (wrong)
		return violated(worker, "%llu bytes are written without an item in flight",
				(unsigned long long)wrong);
	return 0;
}

static inline void close_file(struct worker *worker)
{
	ims_close(worker->file);
	worker->file = -1;
}

/* Makes a file usable. Returns 0 or a negative errno. */
static inline int set_up_file(struct worker *worker)
{
	struct region *source = &worker->source, *target = &worker->target;
	int err = ims_query(worker->file, &worker->query);

	if (!err)
		err = ims_register(worker->file, source->bytes, source->size, 0, &source->buffer);
	if (!err)
		err = ims_register(worker->file, target->bytes, target->size,
				   IDXD_IMS_BUFFER_WRITE, &target->buffer);
	if (!err)
		err = ims_alloc(worker->file, worker->eventfd, &worker->irq);
	return err;
}

/* Opens a work queue as soon as there is one, unless the end comes before that. */
static inline int open_file(struct worker *worker)
{
	const uint64_t end = now_ms() + PATIENCE_MS;
	int err = check_untouched(worker);

	while (!err && !worker_stops(worker)) {
		const int wq = worker_below(worker, worker->wqs);

		worker->file = ims_open(wq);
		if (worker->file >= 0) {
			err = set_up_file(worker);
			if (!err)
				break;
			close_file(worker);
			if (err != -ENODEV && err != -EAGAIN)
				return violated(worker, "a new file returns %d", err);
		} else if (now_ms() > end) {
			return violated(worker, "work queue %d: error %d", wq, worker->file);
		}
		err = 0;
		usleep(1000);
	}
	if (err || worker->file < 0)
		return err;
	worker->report->opened++;
	worker->nonblock = worker_below(worker, 2);
	ims_set_nonblock(worker->file, worker->nonblock);
	/* Signals of the file before do not count. */
	take(worker->eventfd);
	worker->is_signal_due = false;
	return 0;
}

/* Works on a file until it is closed. Returns 0 or a negative errno. */
static inline int use_file(struct worker *worker)
{
	int err = 0;

	while (!err && !worker_stops(worker) && worker_below(worker, 1000)) {
		/* Fails if the device has just been removed. */
		if (!worker_below(worker, 50))
			write_text(path_of("/proc/irq/%u/smp_affinity", worker->irq.virq),
				   worker_below(worker, 2) ? "1" : "3");
		if (!worker_below(worker, 20))
			err = collect_all(worker);
		else if (worker->in_flight && worker_below(worker, 2))
			err = collect(worker);
		else
			err = submit(worker);
	}
	if (!err)
		err = collect_all(worker);
	if (err == -ENODEV)
		err = collect_removed(worker);
	close_file(worker);
	return err;
}

/* Never returns. The exit status tells whether all was well. */
static inline void work_on(struct items_soak *soak, int index, int wqs, uint64_t seed)
{
	struct worker worker = {
		.soak = soak,
		.report = &soak->reports[index],
		.random = (seed + index) * 0x9e3779b97f4a7c15 | 1,
		.wqs = wqs,
		.file = -1,
		.eventfd = new_eventfd(),
		.source.size = 2 * LONGEST,
		.target.size = PLACES * PLACE,
	};
	int err = 0;

	/* The items of every other process are split, as its pages are scattered. */
	if (index & 1)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	worker.source.bytes = untouched(worker.source.size);
	worker.target.bytes = untouched(worker.target.size);
	if (worker.eventfd < 0 || !worker.source.bytes || !worker.target.bytes)
		_exit(2);
	randomize(worker.source.bytes, worker.source.size, seed + index);
	while (!err && !worker_stops(&worker)) {
		err = open_file(&worker);
		if (!err && worker.file >= 0)
			err = use_file(&worker);
	}
	if (err)
		violated(&worker, "error %d", err);
	else
		err = check_untouched(&worker);
	_exit(!!err);
}

#endif /* IMS_SOAK_ITEMS_H */
