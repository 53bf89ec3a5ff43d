// SPDX-License-Identifier: GPL-2.0
/*
 * Conservation of interrupts. The device raises slots at random, by itself. Meanwhile this
 * masks, unmasks and moves their interrupts, takes CPU 1 offline and online, binds other
 * eventfds, frees and allocates, unbinds and binds subdevices and the device, at random as
 * well. Of each slot, as the device counts and as its eventfds do:
 *
 * - messages sent = interrupts handled
 * - one message when it is unmasked if it was raised while masked, none if not
 * - nothing is sent or arrives while it is masked
 * - what is under way when it is freed is dropped: one message at most
 * - nothing is sent while it is free, and nothing of before when it is allocated again
 *
 * For that to be exact, a slot must not send a second message before the first is taken:
 * a CPU would see one. The device asks (ALLOW in its test page).
 *
 * A second test does all this on a device that does work, while processes submit items:
 * see soak_items.h. There the messages are not counted, as the slots are shared, and some
 * come late without commands for interrupt handles. It resets the device as well.
 *
 * SEED=N repeats what is done here, as far as the device's raises do not depend on it.
 * SOAK=N is how many raises there are, and how long items are submitted.
 */
#include <pthread.h>
#include <sys/epoll.h>

#include "soak_items.h"

#define RAISES 100000
#define RAISES_A_S 2500		/* Time to submit items: as long as so many raises take */
#define RATE 10000		/* Draws in a second; most slots are not allowed at that moment */
#define FILES 4
#define INTERRUPTS 96		/* One CPU has vectors for them */
#define HISTORY 12
#define AT_ONCE 64
#define MARKS 20		/* Lines of progress */
#define DAY_S (24 * 60 * 60)	/* Who starts this has a deadline of his own */

static const char cpu1_online[] = "/sys/devices/system/cpu/cpu1/online";

enum action {
	MASK, UNMASK, MOVE, BIND, SWAP, UNBIND, ALLOC, FREE, OFFLINE, ONLINE, CLOSE, SUBDEVICE,
	DEVICE, RESET, CHECK, ACTIONS
};

static const char * const names[ACTIONS] = {
	"mask", "unmask", "move", "bind eventfd", "bind other eventfd", "unbind eventfd",
	"allocate", "free", "CPU 1 offline", "CPU 1 online", "close and open file",
	"rebind subdevice", "rebind device", "reset device", "check all",
};

/* What the device counted for a slot. */
struct counts {
	uint32_t sent;
	uint32_t latched;
	uint32_t refused;
	uint32_t replayed;
};

/* An interrupt, and what is known of it since it was allocated. */
struct tally {
	pthread_mutex_t lock;	/* For who counts signals */
	struct ims_irq irq;
	int eventfds[2];
	int which;		/* The one that it has, or had last */
	uint32_t signals[2];	/* Of each, since it was bound */
	uint32_t handled;
	bool allocated;
	bool allowed;		/* To be raised, also after the next message */
	bool bound;
	bool masked;
	bool held;		/* It sends nothing: what follows is of when that began */
	uint32_t handled_until_held;
	struct counts until_held;
	struct counts first;	/* When it was allocated */
	enum action history[HISTORY];
	unsigned int actions;
};

struct soak {
	uint64_t random;
	uint64_t source;	/* Seed of the device's source */
	bool exact;		/* All messages are accounted for */
	int wqs;
	int files[FILES];
	bool offline;		/* CPU 1 */
	unsigned int slot_array;
	unsigned int slot_stride;
	struct counts *freed;	/* Of each slot, when it was freed last */
	struct tally tallies[INTERRUPTS];
	int epoll;
	bool stop;
	unsigned int violations;
	/* Sums over what was freed */
	uint64_t sent;
	uint64_t latched;
	uint64_t replayed;
	uint64_t handled;
	uint64_t dropped;
	uint64_t drained;
	uint64_t periods;	/* In which one was masked */
	uint64_t actions[ACTIONS];
};

/* What comes after the last one. */
static struct tally *end_of(struct soak *soak)
{
	return soak->tallies + INTERRUPTS;
}

/* SplitMix64 */
static uint64_t next(struct soak *soak)
{
	uint64_t z = soak->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned int below(struct soak *soak, unsigned int bound)
{
	return next(soak) % bound;
}

static struct counts counts_of(const struct soak *soak, int slot)
{
	unsigned int at = soak->slot_array + slot * soak->slot_stride;
	uint64_t low = page_read64(at), high = page_read64(at + SLOT_REFUSED);

	return (struct counts) { low, low >> 32, high, high >> 32 };
}

static int file_of(const struct soak *soak, const struct tally *tally)
{
	return (tally - soak->tallies) % soak->wqs;
}

/* Says what is wrong, and with which interrupt. Returns false. */
static __printf(3, 4) bool wrong(struct soak *soak, const struct tally *tally,
				 const char *format, ...)
{
	struct counts now;
	char text[128];
	va_list args;

	__atomic_fetch_add(&soak->violations, 1, __ATOMIC_RELAXED);
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ksft_print_msg("violated: %s\n", text);
	if (!tally)
		return false;

	now = counts_of(soak, tally->irq.slot);
	ksft_print_msg("interrupt %d, virq %u, slot %u:%s%s%s%s\n",
		       (int)(tally - soak->tallies), tally->irq.virq, tally->irq.slot,
		       tally->allocated ? "" : " freed", tally->bound ? " bound" : "",
		       tally->masked ? " masked" : "", tally->allowed ? " allowed" : "");
	ksft_print_msg("handled %u; sent %u latched %u refused %u replayed %u\n", tally->handled,
		       now.sent - tally->first.sent, now.latched - tally->first.latched,
		       now.refused - tally->first.refused, now.replayed - tally->first.replayed);
	for (int ago = tally->actions < HISTORY ? tally->actions : HISTORY; ago; ago--)
		ksft_print_msg("%d actions ago: %s\n", ago,
			       names[tally->history[(tally->actions - ago) % HISTORY]]);
	return false;
}

/* Counts what its eventfds were signalled. Locked. */
static void count(struct soak *soak, struct tally *tally)
{
	for (int i = 0; i < 2; i++) {
		uint64_t signals = take(tally->eventfds[i]);

		/* The next message waits until this one has been counted. */
		if (signals > 1 && soak->exact)
			wrong(soak, tally, "%llu interrupts for one message",
			      (unsigned long long)signals);
		tally->signals[i] += signals;
		tally->handled += signals;
		if (signals && tally->allowed)
			page_write(PAGE_ALLOW, tally->irq.slot);
	}
}

/* How often it was handled since it was allocated. */
static uint32_t handled(struct soak *soak, struct tally *tally)
{
	uint32_t result;

	pthread_mutex_lock(&tally->lock);
	count(soak, tally);
	result = tally->handled;
	pthread_mutex_unlock(&tally->lock);
	return result;
}

/* Counts as they come, so that the device goes on. */
static void *receive(void *argument)
{
	struct epoll_event events[AT_ONCE];
	struct soak *soak = argument;

	while (!__atomic_load_n(&soak->stop, __ATOMIC_RELAXED)) {
		int ready = epoll_wait(soak->epoll, events, AT_ONCE, 100);

		for (int i = 0; i < ready; i++)
			handled(soak, &soak->tallies[events[i].data.u32]);
	}
	return NULL;
}

/* The device raises it from now on, or from when it has been handled. */
static void allow(struct soak *soak, struct tally *tally)
{
	pthread_mutex_lock(&tally->lock);
	count(soak, tally);
	if (!tally->allowed &&
	    counts_of(soak, tally->irq.slot).sent - tally->first.sent == tally->handled)
		page_write(PAGE_ALLOW, tally->irq.slot);
	tally->allowed = true;
	pthread_mutex_unlock(&tally->lock);
}

/* The device does not raise it any more. */
static void deny(struct tally *tally)
{
	pthread_mutex_lock(&tally->lock);
	tally->allowed = false;
	page_write(PAGE_DENY, tally->irq.slot);
	pthread_mutex_unlock(&tally->lock);
}

static void start_source(struct soak *soak)
{
	soak->source++;
	page_write(PAGE_SOURCE_SEED, soak->source);
	page_write(PAGE_SOURCE_SEED + 4, soak->source >> 32);
	page_write(PAGE_SOURCE_COUNT, UINT32_MAX);
	page_write(PAGE_SOURCE_RATE, RATE);
	page_write(PAGE_SOURCE_FIRST, 0);
	page_write(PAGE_SOURCE_SLOTS, 0);
	page_write(PAGE_SOURCE_CONTROL, SOURCE_START_PACED);
}

static void note(struct soak *soak, struct tally *tally, enum action action)
{
	soak->actions[action]++;
	if (tally)
		tally->history[tally->actions++ % HISTORY] = action;
}

/* Is it in a state in which it sends nothing? */
static bool is_held(const struct tally *tally)
{
	return !tally->bound || tally->masked;
}

/* Before what may mask it or unmask it. */
static bool before(struct soak *soak, struct tally *tally, struct counts *then)
{
	*then = counts_of(soak, tally->irq.slot);
	if (!tally->held || !soak->exact)
		return true;
	if (then->sent != tally->until_held.sent)
		return wrong(soak, tally, "a message was sent while it was masked");
	if (handled(soak, tally) != tally->handled_until_held)
		return wrong(soak, tally, "it arrived while it was masked");
	return true;
}

/* After it. */
static bool after(struct soak *soak, struct tally *tally, const struct counts *then)
{
	struct counts now;
	bool was_raised;

	if (is_held(tally) == tally->held)
		return true;
	tally->held = !tally->held;
	now = counts_of(soak, tally->irq.slot);
	if (tally->held) {
		/* Until then it was not masked, and nothing was latched. */
		tally->until_held = *then;
		tally->until_held.sent = now.sent;
		tally->handled_until_held = handled(soak, tally);
		return true;
	}
	soak->periods++;
	was_raised = now.latched != tally->until_held.latched;
	if (!soak->exact || now.replayed - tally->until_held.replayed == was_raised)
		return true;
	return wrong(soak, tally, "raised %u times while masked, and %u messages when unmasked",
		     now.latched - tally->until_held.latched,
		     now.replayed - tally->until_held.replayed);
}

/* One of the actions from MASK to UNBIND. */
static bool act(struct soak *soak, struct tally *tally, enum action action)
{
	struct counts then;
	int err = -EINVAL;

	note(soak, tally, action);
	if (!before(soak, tally, &then))
		return false;
	switch (action) {
	case MASK:
		err = ims_mask(&tally->irq);
		tally->masked = true;
		break;
	case UNMASK:
		err = ims_unmask(&tally->irq);
		tally->masked = false;
		break;
	case MOVE:
		err = write_text(path_of("/proc/irq/%u/smp_affinity", tally->irq.virq),
				 path_of("%x", 1 + below(soak, soak->offline ? 1 : 3)));
		break;
	case BIND:
	case SWAP:
		tally->which ^= action == SWAP;
		handled(soak, tally);
		tally->signals[tally->which] = 0;
		err = ims_bind(&tally->irq, tally->eventfds[tally->which]);
		tally->bound = true;
		break;
	case UNBIND:
		err = ims_bind(&tally->irq, -1);
		tally->bound = false;
		tally->masked = false;
		break;
	default:
		break;
	}
	if (err)
		return wrong(soak, tally, "error %d", err);
	return after(soak, tally, &then);
}

/* Adds what the device did for a slot. Returns how many messages it sent. */
static uint32_t add(struct soak *soak, const struct counts *now, const struct counts *then)
{
	soak->sent += now->sent - then->sent;
	soak->latched += now->latched - then->latched;
	soak->replayed += now->replayed - then->replayed;
	return now->sent - then->sent;
}

static bool allocate(struct soak *soak, struct tally *tally)
{
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc), .eventfd = -1 };
	uint32_t drained;
	int err;

	note(soak, tally, ALLOC);
	tally->bound = below(soak, 8);
	if (tally->bound)
		alloc.eventfd = tally->eventfds[tally->which];
	if (!below(soak, 8)) {
		alloc.flags = IDXD_IMS_ALLOC_CPU;
		alloc.cpu = 1;
	}
	memset(tally->signals, 0, sizeof(tally->signals));
	tally->handled = 0;
	err = ims_call(soak->files[file_of(soak, tally)], IDXD_IMS_ALLOC, &alloc);
	if (err)
		return wrong(soak, NULL, "allocation failed with %d", err);
	tally->irq = (struct ims_irq) {
		.file = soak->files[file_of(soak, tally)],
		.id = alloc.id, .virq = alloc.virq, .slot = alloc.slot,
	};
	tally->allocated = true;
	tally->masked = false;
	tally->held = is_held(tally);

	/* What was raised since it was freed is sent to nobody. */
	tally->first = counts_of(soak, alloc.slot);
	drained = add(soak, &tally->first, &soak->freed[alloc.slot]);
	soak->drained += drained;
	soak->dropped += drained;
	if (drained && soak->exact && (!page_sync() || handled(soak, tally)))
		return wrong(soak, tally, "a new owner got what was not his");
	tally->until_held = tally->first;
	tally->handled_until_held = 0;
	allow(soak, tally);
	return true;
}

/* Accounts for one that has just been freed. What it sends comes to an end here. */
static bool was_freed(struct soak *soak, struct tally *tally, const struct counts *then)
{
	struct counts now = counts_of(soak, tally->irq.slot);
	uint32_t dropped = add(soak, &now, &tally->first) - handled(soak, tally);

	tally->allocated = false;
	soak->freed[tally->irq.slot] = now;
	soak->handled += tally->handled;
	soak->drained += now.replayed - then->replayed;
	soak->dropped += dropped;
	if (!soak->exact)
		return true;
	if (now.refused != tally->first.refused)
		return wrong(soak, tally, "a message was refused");
	/* It sends no second one. */
	if (dropped > 1)
		return wrong(soak, tally, "more than what was under way was lost, or came twice");
	return true;
}

/* Has messages that are under way come before the vector goes; on PCI a read would do that. */
static bool let_come(struct soak *soak, struct tally *tally)
{
	if (below(soak, 2))
		deny(tally);
	else if (tally->bound && !tally->masked && !act(soak, tally, MASK))
		return false;
	return page_sync() || wrong(soak, tally, "messages do not arrive");
}

static bool release(struct soak *soak, struct tally *tally)
{
	struct counts then;
	int err;

	/* Or in the midst of it, and also after it. */
	if (below(soak, 2) && !let_come(soak, tally))
		return false;
	note(soak, tally, FREE);
	if (!before(soak, tally, &then))
		return false;
	err = ims_free(&tally->irq);
	if (err)
		return wrong(soak, tally, "error %d", err);
	deny(tally);
	if (!page_sync())
		return wrong(soak, tally, "messages do not arrive");
	return was_freed(soak, tally, &then);
}

static bool unbind(struct soak *soak, struct tally *tally)
{
	if (!let_come(soak, tally) || !act(soak, tally, UNBIND))
		return false;
	allow(soak, tally);
	return true;
}

static bool one_of(struct soak *soak, struct tally *tally)
{
	unsigned int kind = below(soak, 100);

	if (!tally->allocated)
		return allocate(soak, tally);
	if (kind < 10)
		return release(soak, tally);
	if (!tally->bound)
		return act(soak, tally, BIND);
	if (kind < 50)
		return act(soak, tally, tally->masked ? UNMASK : MASK);
	if (kind < 80)
		return act(soak, tally, MOVE);
	if (kind < 90)
		return act(soak, tally, SWAP);
	return unbind(soak, tally);
}

static bool toggle_cpu(struct soak *soak)
{
	struct counts then[INTERRUPTS];
	struct tally *tally;
	int err;

	note(soak, NULL, soak->offline ? ONLINE : OFFLINE);
	if (!page_sync())
		return wrong(soak, NULL, "messages do not arrive");
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (tally->allocated && !before(soak, tally, &then[tally - soak->tallies]))
			return false;
	err = write_text(cpu1_online, soak->offline ? "1" : "0");
	if (err)
		return wrong(soak, NULL, "CPU 1: error %d", err);
	soak->offline = !soak->offline;
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (tally->allocated && !after(soak, tally, &then[tally - soak->tallies]))
			return false;
	return true;
}

static bool reopen(struct soak *soak, int file)
{
	struct tally *tally;

	soak->files[file] = ims_open(file);
	if (soak->files[file] < 0)
		return wrong(soak, NULL, "work queue %d: error %d", file, soak->files[file]);
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (file_of(soak, tally) == file && !allocate(soak, tally))
			return false;
	return true;
}

/* Does it go with that? */
static bool goes(const struct soak *soak, const struct tally *tally, enum action action, int file)
{
	return tally->allocated && (action == DEVICE || file_of(soak, tally) == file);
}

/* The file of a work queue is closed, or its subdevice or the device goes, and comes again. */
static bool lose(struct soak *soak, enum action action)
{
	int err = 0, file = below(soak, soak->wqs);
	struct counts then[INTERRUPTS];
	char subdevice[64];
	struct tally *tally;

	note(soak, NULL, action);
	snprintf(subdevice, sizeof(subdevice), "%s", subdevice_of(file));
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (goes(soak, tally, action, file) &&
		    !before(soak, tally, &then[tally - soak->tallies]))
			return false;
	if (action == CLOSE)
		ims_close(soak->files[file]);
	else if (action == SUBDEVICE)
		err = bind_subdevice("unbind", subdevice);
	else
		err = ims_bind_driver("unbind");
	if (err)
		return wrong(soak, NULL, "%s: error %d", names[action], err);

	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (goes(soak, tally, action, file))
			deny(tally);
	if (!page_sync())
		return wrong(soak, NULL, "messages do not arrive");
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (goes(soak, tally, action, file) &&
		    !was_freed(soak, tally, &then[tally - soak->tallies]))
			return false;

	if (action == SUBDEVICE)
		err = bind_subdevice("bind", subdevice);
	else if (action == DEVICE)
		err = ims_bind_driver("bind");
	if (err)
		return wrong(soak, NULL, "%s: error %d", names[action], err);
	for (int i = 0; i < soak->wqs; i++) {
		if (action != DEVICE && i != file)
			continue;
		if (action != CLOSE)
			ims_close(soak->files[i]);
		if (!reopen(soak, i))
			return false;
	}
	return true;
}

/* What is in flight is aborted. The interrupts stay as they are. */
static bool reset(struct soak *soak)
{
	int err;

	note(soak, NULL, RESET);
	err = ims_reset();
	if (err)
		return wrong(soak, NULL, "%s: error %d", names[RESET], err);
	start_source(soak);
	return true;
}

/* Is one as it should be, while the source stands still? */
static bool check_one(struct soak *soak, struct tally *tally)
{
	struct counts now = counts_of(soak, tally->irq.slot);
	uint32_t sent = now.sent - tally->first.sent;
	struct idxd_ims_state state;
	int flags = 0, err;

	if (now.refused != tally->first.refused)
		return wrong(soak, tally, "a message was refused");
	if (!tally->held && !wait_for(handled(soak, tally) >= sent))
		return wrong(soak, tally, "an interrupt was lost");
	/* What arrived when it was masked already is handled when it is unmasked. */
	if (sent - handled(soak, tally) > tally->held)
		return wrong(soak, tally, "more interrupts than messages, or less");

	if (tally->held)
		flags |= IDXD_IMS_STATE_MASKED;
	if (tally->held && now.latched != tally->until_held.latched)
		flags |= IDXD_IMS_STATE_PENDING;
	err = ims_state(&tally->irq, &state);
	if (err || state.flags != flags)
		return wrong(soak, tally, "error %d, state %#x, expected %#x", err, state.flags,
			     flags);
	if (state.count != (tally->bound ? tally->signals[tally->which] : 0))
		return wrong(soak, tally, "the driver counts %llu, its eventfd %u",
			     (unsigned long long)state.count, tally->signals[tally->which]);
	return true;
}

static bool check_all(struct soak *soak)
{
	int64_t allocated = 0, used, stuck;
	struct tally *tally;

	note(soak, NULL, CHECK);
	page_write(PAGE_SOURCE_CONTROL, SOURCE_STOP);
	if (!page_sync())
		return wrong(soak, NULL, "messages do not arrive");
	for (tally = soak->tallies; tally < end_of(soak); tally++) {
		allocated += tally->allocated;
		if (soak->exact && tally->allocated && !check_one(soak, tally))
			return false;
	}
	used = ims_counter("used");
	stuck = ims_counter("stuck");
	if ((soak->exact && used != allocated) || stuck)
		return wrong(soak, NULL, "%lld slots are in use, not %lld, and %lld stayed pending",
			     (long long)used, (long long)allocated, (long long)stuck);
	start_source(soak);
	return true;
}

/* Nothing is held back any more: all that was sent has to be handled. */
static bool release_all(struct soak *soak)
{
	struct tally *tally;

	if (soak->offline && !toggle_cpu(soak))
		return false;
	for (tally = soak->tallies; tally < end_of(soak); tally++) {
		if (!tally->allocated)
			continue;
		if (!tally->bound ? !act(soak, tally, BIND) :
		    tally->masked && !act(soak, tally, UNMASK))
			return false;
	}
	return check_all(soak);
}

static bool step(struct soak *soak)
{
	unsigned int kind = below(soak, 2000);

	if (kind < 4)
		return lose(soak, DEVICE);
	if (kind < 10)
		return lose(soak, SUBDEVICE);
	if (kind < 16)
		return lose(soak, CLOSE);
	if (kind < 26)
		return check_all(soak);
	if (kind < 30)
		return release_all(soak);
	if (kind < 50)
		return toggle_cpu(soak);
	if (kind < 54 && !soak->exact)
		return reset(soak);
	return one_of(soak, &soak->tallies[below(soak, INTERRUPTS)]);
}

#define LINE(what, value) ksft_print_msg("%-20s %10llu\n", what, (unsigned long long)(value))

static void print_actions(const struct soak *soak)
{
	for (int i = 0; i < ACTIONS; i++)
		LINE(names[i], soak->actions[i]);
}

static void print_messages(const struct soak *soak, uint64_t raises, uint64_t ms)
{
	LINE("raised", raises);
	LINE("  while masked", soak->latched);
	LINE("masked periods", soak->periods);
	LINE("sent", soak->sent);
	LINE("  when unmasked", soak->replayed);
	LINE("handled", soak->handled);
	LINE("dropped at free", soak->dropped);
	LINE("  and sent for that", soak->drained);
	LINE("violations", soak->violations);
	LINE("raises a second", raises * 1000 / (ms ?: 1));
}

/* Of all processes. */
static struct items_report sum_of(const struct items_soak *items)
{
	struct items_report sum = {};

	for (int i = 0; i < WORKERS; i++) {
		const struct items_report *one = &items->reports[i];

		sum.opened += one->opened;
		sum.removed += one->removed;
		sum.accepted += one->accepted;
		sum.completed += one->completed;
		sum.aborted += one->aborted;
		sum.failed += one->failed;
		sum.compared += one->compared;
		sum.wrong_bytes += one->wrong_bytes;
	}
	return sum;
}

static void print_items(const struct soak *soak, const struct items_report *sum, uint64_t ms)
{
	LINE("files opened", sum->opened);
	LINE("  and lost device", sum->removed);
	LINE("items accepted", sum->accepted);
	LINE("  completed", sum->completed);
	LINE("  aborted", sum->aborted);
	LINE("  failed", sum->failed);
	LINE("  lost", sum->accepted - sum->completed - sum->aborted - sum->failed);
	LINE("bytes compared", sum->compared);
	LINE("  wrong", sum->wrong_bytes);
	LINE("violations", soak->violations);
	LINE("items a second", sum->accepted * 1000 / (ms ?: 1));
}

FIXTURE(soak) {
	FIXTURE_DATA(ims) ims;
	struct soak *soak;
	pthread_t receiver;
};

FIXTURE_SETUP(soak)
{
	struct tally *tally;
	struct soak *soak;

	/*
	 * Whoever soaks for long has a busy host at times, on which a command takes seconds. A
	 * driver that is built in has the limit that it was booted with.
	 */
	if (ims_present() && !ims_is_built_in()) {
		ims_unload();
		ASSERT_EQ(0, ims_load("timeout_ms=10000"));
	}
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	if (!ims_page())
		SKIP(return, "no test page");
	if (access(cpu1_online, W_OK))
		SKIP(return, "CPU 1 cannot go offline");

	soak = calloc(1, sizeof(*soak));
	ASSERT_NE(NULL, soak);
	self->soak = soak;
	soak->slot_array = page_read(PAGE_SLOT_ARRAY);
	soak->slot_stride = page_read(PAGE_SLOT_STRIDE);
	soak->wqs = ims_wqs() < FILES ? ims_wqs() : FILES;
	soak->epoll = epoll_create1(EPOLL_CLOEXEC);
	soak->freed = calloc(ims_counter("slots"), sizeof(*soak->freed));
	ASSERT_NE(NULL, soak->freed);
	for (int slot = 0; slot < ims_counter("slots"); slot++) {
		page_write(PAGE_DENY, slot);
		soak->freed[slot] = counts_of(soak, slot);
	}
	for (tally = soak->tallies; tally < end_of(soak); tally++) {
		struct epoll_event event = { EPOLLIN, { .u32 = tally - soak->tallies } };

		pthread_mutex_init(&tally->lock, NULL);
		for (int i = 0; i < 2; i++) {
			tally->eventfds[i] = new_eventfd();
			ASSERT_LE(0, tally->eventfds[i]);
			ASSERT_EQ(0, epoll_ctl(soak->epoll, EPOLL_CTL_ADD, tally->eventfds[i],
					       &event));
		}
	}
	ASSERT_EQ(0, pthread_create(&self->receiver, NULL, receive, soak));
}

FIXTURE_TEARDOWN(soak)
{
	if (ims_page())
		page_write(PAGE_SOURCE_CONTROL, SOURCE_STOP);
	if (self->receiver) {
		__atomic_store_n(&self->soak->stop, true, __ATOMIC_RELAXED);
		pthread_join(self->receiver, NULL);
	}
	if (!access(cpu1_online, W_OK))
		EXPECT_EQ(0, write_text(cpu1_online, "1"));
	/* Whatever went wrong, the next test gets a device. */
	if (!exists(ims_dir) || !ims_wqs())
		EXPECT_EQ(0, ims_rebind());
	ims_teardown(_metadata, &self->ims, NULL);
}

/* Opens the files, allocates the interrupts, and starts the source. */
static bool start_storm(struct soak *soak, uint64_t seed)
{
	bool good = true;

	soak->random = seed;
	soak->source = next(soak);
	for (int file = 0; good && file < soak->wqs; file++)
		good = reopen(soak, file);
	start_source(soak);
	return good;
}

static bool storm(struct soak *soak)
{
	bool good = true;

	for (int i = 0; good && i < 16; i++)
		good = step(soak) && !__atomic_load_n(&soak->violations, __ATOMIC_RELAXED);
	return good;
}

/* Stops the source, and frees what is allocated if all is well. */
static bool stop_storm(struct soak *soak, bool good)
{
	struct tally *tally;

	page_write(PAGE_SOURCE_CONTROL, SOURCE_STOP);
	for (tally = soak->tallies; tally < end_of(soak); tally++)
		if (good && tally->allocated)
			good = release(soak, tally);
	return good;
}

static void print_replay(uint64_t wanted, uint64_t seed)
{
	ksft_print_msg("make soak KERNELS=%s SOAK=%llu SEED=%llu CHAOS=0 replays this\n",
		       getenv("IMS_KERNEL") ?: "plain", (unsigned long long)wanted,
		       (unsigned long long)seed);
}

TEST_F_TIMEOUT(soak, conserves_interrupts, DAY_S)
{
	uint64_t seed = from_environment("SEED", 1), wanted = from_environment("SOAK", RAISES);
	uint64_t raises, earlier = page_read64(PAGE_SOURCE_RAISES), mark = 0;
	uint64_t begin = now_ms();
	struct soak *soak = self->soak;
	bool good;

	ksft_print_msg("SEED=%llu SOAK=%llu\n", (unsigned long long)seed,
		       (unsigned long long)wanted);
	soak->exact = true;
	good = start_storm(soak, seed);
	while (good) {
		raises = page_read64(PAGE_SOURCE_RAISES) - earlier;
		if (raises >= wanted)
			break;
		if (raises >= mark) {
			ksft_print_msg("%llu of %llu raises, %llu s\n", (unsigned long long)raises,
				       (unsigned long long)wanted,
				       (unsigned long long)(now_ms() - begin) / 1000);
			mark = raises + wanted / MARKS;
		}
		good = storm(soak);
	}
	good = good && release_all(soak);
	page_write(PAGE_SOURCE_CONTROL, SOURCE_STOP);
	raises = page_read64(PAGE_SOURCE_RAISES) - earlier;
	good = stop_storm(soak, good);
	print_actions(soak);
	print_messages(soak, raises, now_ms() - begin);

	/* The device has counted the same. */
	if (good) {
		EXPECT_EQ(raises, soak->sent - soak->replayed + soak->latched);
		EXPECT_EQ(soak->sent, soak->handled + soak->dropped);
	}
	EXPECT_TRUE(good && !soak->violations)
		print_replay(wanted, seed);
}

/* Has a process found something wrong? */
static bool any_wrong(const struct items_soak *items)
{
	for (int i = 0; i < WORKERS; i++)
		if (__atomic_load_n(items->reports[i].wrong, __ATOMIC_RELAXED))
			return true;
	return false;
}

TEST_F_TIMEOUT(soak, conserves_items, DAY_S)
{
	uint64_t seed = from_environment("SEED", 1), wanted = from_environment("SOAK", RAISES);
	const uint64_t duration = wanted * 1000 / RAISES_A_S, begin = now_ms();
	struct items_soak *items = share(sizeof(*items));
	struct soak *soak = self->soak;
	struct idxd_ims_query query;
	struct items_report sum;
	pid_t children[WORKERS];
	uint64_t mark = 0;
	bool good;
	int file;

	ASSERT_NE(NULL, items);
	file = ims_open(0);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_query(file, &query));
	ims_close(file);
	if (!query.ops)
		SKIP(return, "a device that does no work");

	ksft_print_msg("SEED=%llu SOAK=%llu\n", (unsigned long long)seed,
		       (unsigned long long)wanted);
	for (int i = 0; i < WORKERS; i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (!children[i])
			work_on(items, i, soak->wqs, seed);
	}
	good = start_storm(soak, seed);
	while (good && !any_wrong(items) && now_ms() - begin < duration) {
		if (now_ms() - begin >= mark) {
			ksft_print_msg("%llu items, %llu of %llu s\n",
				       (unsigned long long)sum_of(items).accepted,
				       (unsigned long long)(now_ms() - begin) / 1000,
				       (unsigned long long)duration / 1000);
			mark = now_ms() - begin + duration / MARKS;
		}
		good = storm(soak);
	}
	good = good && release_all(soak);
	__atomic_store_n(&items->stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < WORKERS; i++) {
		EXPECT_EQ(0, finish(children[i], 2 * PATIENCE_MS))
			TH_LOG("process %d: %s", i, items->reports[i].wrong);
	}
	good = stop_storm(soak, good);
	sum = sum_of(items);
	print_actions(soak);
	print_items(soak, &sum, now_ms() - begin);

	EXPECT_LT(0, sum.completed);
	EXPECT_LT(0, sum.compared);
	EXPECT_EQ(sum.accepted, sum.completed + sum.aborted);
	EXPECT_EQ(0, sum.wrong_bytes);
	EXPECT_TRUE(good && !soak->violations && !any_wrong(items))
		print_replay(wanted, seed);
}

TEST_HARNESS_MAIN
