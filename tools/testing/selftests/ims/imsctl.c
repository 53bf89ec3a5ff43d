// SPDX-License-Identifier: GPL-2.0
/*
 * imsctl: opens a work queue and does with its interrupts what it is told, for
 * shell scripts. The interrupts are freed when it ends.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/idxd_ims.h>

#include "slow.h"

#define MAX_WORDS 7
#define MAX_IDS 65536

static const char usage[] =
	"usage: imsctl [-e] [-k] [-t MS] DEVICE [COMMAND]...\n"
	"  -e  echo each command       -k  keep going after one that fails\n"
	"  -t MS  wait for an interrupt so long, 5000 if not given\n"
	"Commands are read from standard input if none is given:\n"
	"  alloc [COUNT] [cpu=N] [unbound]\n"
	"  free ID        bind ID      noop ID [COUNT]    wait ID COUNT\n"
	"  mask ID        unbind ID    copy ID BYTES      state ID\n"
	"  unmask ID      query        run SHELL COMMAND\n";

static int device;
static unsigned int deadline_ms = 5000;
static jmp_buf failed;

/* The eventfd that an interrupt has or had last, and how often it was signalled. */
static struct interrupt {
	int eventfd;
	__u64 total;
} interrupts[MAX_IDS];

/* Ends the command. */
static void fail(int error)
{
	printf("error: %s (%s)\n", strerrorname_np(error), strerror(error));
	longjmp(failed, 1);
}

static void control(unsigned int command, void *argument)
{
	if (ioctl(device, command, argument) < 0)
		fail(errno);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		err(2, "eventfd");
	return fd;
}

static void set_eventfd(unsigned int id, int fd)
{
	if (interrupts[id % MAX_IDS].eventfd > 0)
		close(interrupts[id % MAX_IDS].eventfd);
	interrupts[id % MAX_IDS] = (struct interrupt){ .eventfd = fd };
}

/* Waits until the eventfd was signalled @total times in all. */
static void reach(struct interrupt *irq, __u64 total)
{
	struct pollfd readable = { .fd = irq->eventfd ?: -1, .events = POLLIN };
	__u64 signalled;

	for (;;) {
		if (read(readable.fd, &signalled, sizeof(signalled)) == sizeof(signalled))
			irq->total += signalled;
		if (irq->total >= total)
			return;
		if (poll(&readable, 1, deadline_ms * slow()) <= 0)
			fail(ETIMEDOUT);
	}
}

static bool is_number(const char *word, unsigned int *number)
{
	char *end;
	unsigned long value = strtoul(word, &end, 0);

	if (*word < '0' || *word > '9' || *end || value > UINT_MAX)
		return false;
	*number = value;
	return true;
}

static void allocate(char **words)
{
	struct idxd_ims_alloc alloc = { .size = sizeof(alloc) };
	unsigned int count = 1;
	bool unbound = false;

	if (*words && is_number(*words, &count))
		words++;
	for (; *words; words++) {
		if (!strncmp(*words, "cpu=", 4) && is_number(*words + 4, &alloc.cpu))
			alloc.flags |= IDXD_IMS_ALLOC_CPU;
		else if (!strcmp(*words, "unbound"))
			unbound = true;
		else
			errx(2, "alloc %s?\n%s", *words, usage);
	}
	while (count--) {
		alloc.eventfd = unbound ? -1 : new_eventfd();
		control(IDXD_IMS_ALLOC, &alloc);
		set_eventfd(alloc.id, alloc.eventfd);
		printf("%u virq %u slot %u\n", alloc.id, alloc.virq, alloc.slot);
	}
}

/* One that is freed keeps its eventfd, for `wait` to see that nothing comes any more. */
static void change(unsigned int command, unsigned int id, const char *done)
{
	struct idxd_ims_interrupt interrupt = { .size = sizeof(interrupt), .id = id };

	control(command, &interrupt);
	puts(done);
}

static void bind_to(unsigned int id, int fd, const char *done)
{
	struct idxd_ims_bind bind = { .size = sizeof(bind), .id = id, .eventfd = fd };

	control(IDXD_IMS_BIND, &bind);
	set_eventfd(id, fd);
	puts(done);
}

static struct idxd_ims_state state_of(unsigned int id)
{
	struct idxd_ims_state state = { .size = sizeof(state), .id = id };

	control(IDXD_IMS_STATE, &state);
	return state;
}

/* Submits descriptors, each when the interrupt of the one before has arrived. */
static void submit(unsigned int id, unsigned int op, unsigned int length, unsigned int count)
{
	struct idxd_ims_submit submit = { sizeof(submit), id, op, length };
	bool masked = state_of(id).flags & IDXD_IMS_STATE_MASKED;
	struct interrupt *irq = &interrupts[id % MAX_IDS];
	__u64 before = irq->total;

	while (count--) {
		control(IDXD_IMS_SUBMIT, &submit);
		if (!masked)
			reach(irq, irq->total + 1);
	}
	printf("%llu arrived\n", irq->total - before);
}

static void show_state(struct idxd_ims_state state)
{
	printf("%smasked%s count %llu\n", state.flags & IDXD_IMS_STATE_MASKED ? "" : "un",
	       state.flags & IDXD_IMS_STATE_PENDING ? ",pending" : "", state.count);
}

static void wait_for(struct interrupt *irq, unsigned int total)
{
	reach(irq, total);
	if (irq->total > total)
		fail(EOVERFLOW);
	printf("total %u\n", total);
}

static void show_query(void)
{
	struct idxd_ims_query query = { .size = sizeof(query) };

	control(IDXD_IMS_QUERY, &query);
	printf("slots %u used %u min %u max %u file_used %u file_max %u\n",
	       query.slots, query.used, query.min, query.max, query.file_used,
	       query.file_max);
}

static void execute(char *line)
{
	char *words[MAX_WORDS + 1] = { NULL }, *rest = line;
	unsigned int id, number = 1;
	int count = 0;

	/* The shell's, while the file is open. */
	if (!strncmp(line, "run ", 4)) {
		if (system(line + 4))
			fail(ECANCELED);
		return;
	}
	while (count < MAX_WORDS && (words[count] = strsep(&rest, " ")))
		count += !!*words[count];
#define IS(name, arguments) (!strcmp(words[0], name) && count == (arguments) + 1)
	if (!count)
		puts(""); /* Shows a script where the answer before it ends. */
	else if (!strcmp(words[0], "alloc"))
		allocate(words + 1);
	else if (IS("query", 0))
		show_query();
	else if (count < 2 || !is_number(words[1], &id) ||
		 (words[2] && !is_number(words[2], &number)))
		errx(2, "%s?\n%s", words[0], usage);
	else if (IS("free", 1))
		change(IDXD_IMS_FREE, id, "freed");
	else if (IS("mask", 1))
		change(IDXD_IMS_MASK, id, "masked");
	else if (IS("unmask", 1))
		change(IDXD_IMS_UNMASK, id, "unmasked");
	else if (IS("bind", 1))
		bind_to(id, new_eventfd(), "bound");
	else if (IS("unbind", 1))
		bind_to(id, -1, "unbound");
	else if (IS("noop", 1) || IS("noop", 2))
		submit(id, IDXD_IMS_OP_NOOP, 0, number);
	else if (IS("copy", 2))
		submit(id, IDXD_IMS_OP_COPY, number, 1);
	else if (IS("state", 1))
		show_state(state_of(id));
	else if (IS("wait", 2))
		wait_for(&interrupts[id % MAX_IDS], number);
	else
		errx(2, "%s?\n%s", words[0], usage);
}

static bool succeeds(char *line)
{
	if (setjmp(failed))
		return false;
	execute(line);
	return true;
}

int main(int argc, char **argv)
{
	bool echo = false, keep_going = false;
	char *line = NULL;
	size_t size = 0;
	int option;

	while ((option = getopt(argc, argv, "+ekt:")) != -1) {
		echo |= option == 'e';
		keep_going |= option == 'k';
		if (option == '?' || (option == 't' && !is_number(optarg, &deadline_ms)))
			errx(2, "%s", usage);
	}
	if (optind == argc)
		errx(2, "no device\n%s", usage);
	device = open(argv[optind], O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, "%s", argv[optind]);
	setlinebuf(stdout);

	for (int next = optind + 1; next < argc || argc == optind + 1; next++) {
		if (next < argc)
			line = argv[next];
		else if (getline(&line, &size, stdin) < 0)
			break;
		line[strcspn(line, "\n")] = '\0';
		if (echo)
			printf("> %s\n", line);
		if (!succeeds(line) && !keep_going)
			return 1;
	}
	return 0;
}
