// SPDX-License-Identifier: GPL-2.0
/*
 * imsctl: opens a work queue and does with its interrupts what it is told, and work on
 * buffers, for shell scripts. All is freed when it ends.
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
#include <sys/mman.h>
#include <unistd.h>

#include <linux/idxd_ims.h>

#include "slow.h"

#define MAX_WORDS 7
#define MAX_IDS 65536
#define MAX_BUFFERS 1024

static const char usage[] =
	"usage: imsctl [-e] [-k] [-t MS] DEVICE [COMMAND]...\n"
	"  -e  echo each command       -k  keep going after one that fails\n"
	"  -t MS  wait for an interrupt so long, 5000 if not given\n"
	"Commands are read from standard input if none is given:\n"
	"  alloc [COUNT] [cpu=N] [unbound]\n"
	"  free ID        bind ID      noop ID [COUNT]    wait ID COUNT\n"
	"  mask ID        unbind ID    copy ID BYTES      state ID\n"
	"  unmask ID      query        run SHELL COMMAND\n"
	"Work on memory, of which AT is BUFFER or BUFFER+OFFSET:\n"
	"  buffer BYTES [readonly]     unregister BUFFER  query work\n"
	"  put AT TEXT                 show AT BYTES\n"
	"  work noop                   work fill AT VALUE BYTES\n"
	"  work copy AT AT BYTES       work crc AT BYTES [SEED]\n"
	"  work compare AT AT BYTES    ... [irq=ID] [nowait]\n"
	"  collect [COUNT]             wait for completions\n";

static int device;
static unsigned int deadline_ms = 5000;
static jmp_buf failed;

/* The eventfd that an interrupt has or had last, and how often it was signalled. */
static struct interrupt {
	int eventfd;
	__u64 total;
} interrupts[MAX_IDS];

/* What is registered, so that its bytes can be seen. */
static struct {
	char *memory;
	__u64 length;
} buffers[MAX_BUFFERS];

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

static bool is_long_number(const char *word, __u64 *number)
{
	char *end;

	*number = strtoull(word, &end, 0);
	return *word >= '0' && *word <= '9' && !*end;
}

static bool is_number(const char *word, unsigned int *number)
{
	__u64 value;

	if (!is_long_number(word, &value) || value > UINT_MAX)
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

static void show_query_of_work(void)
{
	static const char * const names[] = { "noop", "copy", "fill", "compare", "crc" };
	struct idxd_ims_query query = { .size = sizeof(query) };

	control(IDXD_IMS_QUERY, &query);
	printf("entries %u file_items %u ops", query.entries, query.file_items);
	for (unsigned int op = 0; op < sizeof(names) / sizeof(*names); op++)
		if (query.ops >> op & 1)
			printf(" %s", names[op]);
	puts("");
}

static void register_buffer(__u64 bytes, bool writable)
{
	struct idxd_ims_register memory = {
		.size = sizeof(memory),
		.flags = writable ? IDXD_IMS_BUFFER_WRITE : 0,
		.length = bytes,
	};
	char *address = mmap(NULL, bytes ?: 1, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (address == MAP_FAILED)
		fail(errno);
	memory.address = (unsigned long)address;
	if (ioctl(device, IDXD_IMS_REGISTER, &memory) < 0) {
		int error = errno;

		munmap(address, bytes ?: 1);
		fail(error);
	}
	buffers[memory.buffer % MAX_BUFFERS].memory = address;
	buffers[memory.buffer % MAX_BUFFERS].length = bytes;
	printf("%u bytes %llu\n", memory.buffer, bytes);
}

static void unregister_buffer(unsigned int buffer)
{
	struct idxd_ims_unregister memory = { .size = sizeof(memory), .buffer = buffer };

	control(IDXD_IMS_UNREGISTER, &memory);
	munmap(buffers[buffer % MAX_BUFFERS].memory, buffers[buffer % MAX_BUFFERS].length);
	buffers[buffer % MAX_BUFFERS].memory = NULL;
	puts("unregistered");
}

/* BUFFER or BUFFER+OFFSET */
static void parse_place(const char *word, __u32 *buffer, __u64 *offset)
{
	char *number = strdupa(word);
	char *plus = strchr(number, '+');

	*offset = 0;
	if (plus)
		*plus++ = '\0';
	if (!is_number(number, buffer) || (plus && !is_long_number(plus, offset)))
		errx(2, "%s?\n%s", word, usage);
}

/* Memory of a buffer; ends the program if it has not so many bytes. */
static char *bytes_at(const char *word, __u64 bytes)
{
	__u32 buffer;
	__u64 offset, length;

	parse_place(word, &buffer, &offset);
	length = buffers[buffer % MAX_BUFFERS].memory ? buffers[buffer % MAX_BUFFERS].length : 0;
	if (offset > length || bytes > length - offset)
		errx(2, "%s has no %llu bytes", word, bytes);
	return buffers[buffer % MAX_BUFFERS].memory + offset;
}

static void put_text(const char *place, const char *text)
{
	memcpy(bytes_at(place, strlen(text)), text, strlen(text));
	printf("%zu bytes\n", strlen(text));
}

static void show_bytes(const char *place, __u64 bytes)
{
	const unsigned char *byte = (unsigned char *)bytes_at(place, bytes);

	while (bytes--)
		printf("%02x", *byte++);
	puts("");
}

static void collect(unsigned int count)
{
	static const char * const statuses[] = { "completed", "aborted", "failed" };
	struct pollfd readable = { .fd = device, .events = POLLIN };
	struct idxd_ims_completion done;

	while (count--) {
		if (poll(&readable, 1, deadline_ms * slow()) <= 0)
			fail(ETIMEDOUT);
		if (read(device, &done, sizeof(done)) < 0)
			fail(errno);
		printf("%llu %s bytes %llu result 0x%llx\n", done.cookie,
		       done.status <= IDXD_IMS_FAILED ? statuses[done.status] : "?",
		       done.bytes, done.result);
	}
}

/* Fills in what the words say. Returns false if they are not those of an item. */
static bool is_item(char **words, int count, struct idxd_ims_item *item)
{
#define IS(name, arguments) (!strcmp(words[0], name) && count == (arguments) + 1)
	if (IS("noop", 0)) {
		item->op = IDXD_IMS_OP_NOOP;
		return true;
	}
	if (IS("fill", 3)) {
		item->op = IDXD_IMS_OP_FILL;
		parse_place(words[1], &item->target, &item->target_offset);
		return is_long_number(words[2], &item->value) &&
		       is_long_number(words[3], &item->length);
	}
	if (IS("crc", 2) || IS("crc", 3)) {
		item->op = IDXD_IMS_OP_CRC;
		parse_place(words[1], &item->source, &item->source_offset);
		return is_long_number(words[2], &item->length) &&
		       (count == 3 || is_long_number(words[3], &item->value));
	}
	if (IS("copy", 3) || IS("compare", 3)) {
		item->op = words[0][2] == 'p' ? IDXD_IMS_OP_COPY : IDXD_IMS_OP_COMPARE;
		parse_place(words[1], &item->source, &item->source_offset);
		parse_place(words[2], &item->target, &item->target_offset);
		return is_long_number(words[3], &item->length);
	}
	return false;
}

/* Submits an item; its cookie is how many were before it. */
static void submit_work(char **words, int count)
{
	static __u64 cookie;
	struct idxd_ims_item item = { .interrupt = IDXD_IMS_NO_INTERRUPT, .cookie = cookie };
	struct idxd_ims_work work = {
		.size = sizeof(work),
		.items = (unsigned long)&item,
		.count = 1,
	};
	bool wait = true, signals = false;
	unsigned int id = 0;
	struct interrupt *irq;
	__u64 before;

	for (; count > 1; count--) {
		if (!strcmp(words[count - 1], "nowait"))
			wait = false;
		else if (!strncmp(words[count - 1], "irq=", 4) &&
			 is_number(words[count - 1] + 4, &id))
			signals = true;
		else
			break;
	}
	if (!count || !is_item(words, count, &item))
		errx(2, "work %s?\n%s", count ? words[0] : "", usage);
	if (signals)
		item.interrupt = id;
	irq = &interrupts[id % MAX_IDS];
	before = irq->total;

	control(IDXD_IMS_WORK, &work);
	cookie++;
	if (!wait) {
		printf("%llu accepted\n", item.cookie);
		return;
	}
	collect(1);
	if (signals && !(state_of(id).flags & IDXD_IMS_STATE_MASKED))
		reach(irq, before + 1);
}

static void execute(char *line)
{
	char *words[MAX_WORDS + 1] = { NULL }, *rest = line;
	unsigned int id, number = 1;
	__u64 bytes;
	int count = 0;

	/* The shell's, while the file is open. */
	if (!strncmp(line, "run ", 4)) {
		if (system(line + 4))
			fail(ECANCELED);
		return;
	}
	while (count < MAX_WORDS && (words[count] = strsep(&rest, " ")))
		count += !!*words[count];
	if (!count)
		puts(""); /* Shows a script where the answer before it ends. */
	else if (!strcmp(words[0], "alloc"))
		allocate(words + 1);
	else if (IS("query", 0))
		show_query();
	else if (IS("query", 1) && !strcmp(words[1], "work"))
		show_query_of_work();
	else if (!strcmp(words[0], "work"))
		submit_work(words + 1, count - 1);
	else if (IS("collect", 0))
		collect(1);
	else if (IS("put", 2))
		put_text(words[1], words[2]);
	else if (IS("show", 2) && is_long_number(words[2], &bytes))
		show_bytes(words[1], bytes);
	else if ((IS("buffer", 1) || (IS("buffer", 2) && !strcmp(words[2], "readonly"))) &&
		 is_long_number(words[1], &bytes))
		register_buffer(bytes, count == 2);
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
	else if (IS("collect", 1))
		collect(id);
	else if (IS("unregister", 1))
		unregister_buffer(id);
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
