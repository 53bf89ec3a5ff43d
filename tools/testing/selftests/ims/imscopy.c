// SPDX-License-Identifier: GPL-2.0
/*
 * imscopy: copies a file with a DSA, or checks it. An example of how to use a work queue.
 *
 * Each thread has a CPU, an open file of the work queue, and an interrupt that is
 * delivered to this CPU. It takes one part of the files after the other, registers it,
 * and keeps a number of items in flight on it. Interrupts wake it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/idxd_ims.h>

#include "crc32c.h"

#define PAGE 4096UL
#define MAX_PART 0x4000000UL
#define MAX_THREADS 256
#define SILENCE_MS 1000
#define PROGRESS_S 0.2

static const char usage[] =
	"usage: imscopy [OPTION]... SOURCE TARGET\n"
	"       imscopy -c [OPTION]... FILE\n"
	"\n"
	"Copies a file with the Data Streaming Accelerator. TARGET is overwritten. With -c, the\n"
	"device computes the CRC-32C of a file, which is compared with the CPU's. Prints how\n"
	"fast the device was, and how many items, interrupts and system calls it took.\n"
	"\n"
	"  -w QUEUE    file of the work queue; default: the first one in /dev/idxd_ims\n"
	"  -n ITEMS    items in flight of each thread; default 16\n"
	"  -t THREADS  each on its own CPU, with an interrupt there; default 2\n"
	"  -s SIZE     bytes of an item, a multiple of 4K; K and M can follow; default 64K\n"
	"\n"
	"The device works on the page cache of the files, as much of it at a time as `ulimit -l`\n"
	"lets the threads lock. If pages of TARGET cannot be pinned for writing, as on most file\n"
	"systems but tmpfs, it copies to memory of this program, which writes TARGET.\n"
	"\n"
	"Exits with 0, with 1 if something fails or the CRCs differ, or with 2 on wrong usage.\n";

static const char *queue, *source_name, *target_name;
static bool check;
static size_t in_flight = 16, threads = 2, item_size = 16 * PAGE, part_size;

static int source_fd, target_fd;
static char *source, *target;
static size_t file_size;
static __u32 *crcs;		/* Of each item */
static atomic_size_t next_part, bytes_done;
static double start;

struct worker {
	pthread_t thread;
	int cpu;
	int wq;
	int eventfd;
	__u32 irq;
	char *memory;		/* The target if that of the file cannot be pinned */
	__u32 memory_buffer;
	struct idxd_ims_item *items;	/* To be submitted */
	struct idxd_ims_completion *done;
	unsigned long completed;
	unsigned long interrupts;
	unsigned long calls;
};

static struct worker workers[MAX_THREADS];

/* Part of the files that is registered. */
struct part {
	size_t offset;
	size_t length;
	size_t next;		/* Offset in it of the next item */
	size_t ready;		/* Items to be submitted */
	size_t flying;		/* Items in flight */
	__u32 source;
	__u32 target;
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		err(1, "memory");
	return memory;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9 - start;
}

static void show_progress(void)
{
	static double next;

	if (seconds() < next || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%3.0f %%  %.1f MB/s ", 100.0 * bytes_done / file_size,
		bytes_done / 1e6 / seconds());
	next = seconds() + PROGRESS_S;
}

static int control(struct worker *worker, unsigned long command, void *argument)
{
	worker->calls++;
	return ioctl(worker->wq, command, argument);
}

static void must(struct worker *worker, const char *name, unsigned long command, void *argument)
{
	if (control(worker, command, argument) < 0)
		err(1, "%s: %s", queue, name);
}

/* Registers memory. Returns false if it cannot be pinned. */
static bool pin(struct worker *worker, void *address, size_t length, __u32 flags, __u32 *buffer)
{
	struct idxd_ims_register memory = {
		.size = sizeof(memory),
		.flags = flags,
		.address = (unsigned long)address,
		.length = length,
	};

	if (control(worker, IDXD_IMS_REGISTER, &memory) < 0) {
		if (errno == ENOMEM)
			errx(1, "cannot lock %zu bytes, see ulimit -l: reduce -t or -s", length);
		if (errno != EFAULT && errno != EOPNOTSUPP)
			err(1, "%s: register %zu bytes", queue, length);
		return false;
	}
	*buffer = memory.buffer;
	return true;
}

static void unpin(struct worker *worker, __u32 buffer)
{
	struct idxd_ims_unregister memory = { .size = sizeof(memory), .buffer = buffer };

	must(worker, "unregister", IDXD_IMS_UNREGISTER, &memory);
}

static void pin_part(struct worker *worker, struct part *part)
{
	if (!pin(worker, source + part->offset, part->length, 0, &part->source))
		err(1, "%s: cannot be pinned", source_name);
	if (check)
		return;
	if (!worker->memory && target &&
	    pin(worker, target + part->offset, part->length, IDXD_IMS_BUFFER_WRITE, &part->target))
		return;
	if (!worker->memory) {
		worker->memory = mmap(NULL, part_size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (worker->memory == MAP_FAILED)
			err(1, "memory");
		if (!pin(worker, worker->memory, part_size, IDXD_IMS_BUFFER_WRITE,
			 &worker->memory_buffer))
			err(1, "%s: register", queue);
	}
	part->target = worker->memory_buffer;
}

static void unpin_part(struct worker *worker, struct part *part)
{
	ssize_t written;

	unpin(worker, part->source);
	if (!check && !worker->memory)
		unpin(worker, part->target);
	for (size_t at = 0; worker->memory && at < part->length; at += written) {
		worker->calls++;
		written = pwrite(target_fd, worker->memory + at, part->length - at,
				 part->offset + at);
		if (written <= 0)
			err(1, "%s", target_name);
	}
}

static void add_item(struct worker *worker, struct part *part, size_t at)
{
	worker->items[part->ready++] = (struct idxd_ims_item){
		.op = check ? IDXD_IMS_OP_CRC : IDXD_IMS_OP_COPY,
		.interrupt = worker->irq,
		.source = part->source,
		.source_offset = at,
		.target = part->target,
		.target_offset = check ? 0 : at,
		.length = smaller(item_size, part->length - at),
		.cookie = at,
	};
}

static void submit(struct worker *worker, struct part *part)
{
	struct idxd_ims_work work = { .size = sizeof(work), .items = (unsigned long)worker->items };

	/* Half of them at a time, which saves system calls. */
	if (part->flying > in_flight / 2)
		return;
	for (; part->ready + part->flying < in_flight && part->next < part->length;
	     part->next += item_size)
		add_item(worker, part, part->next);
	work.count = part->ready;
	/* Others use the work queue as well: EAGAIN if it has no room. */
	if (work.count && control(worker, IDXD_IMS_WORK, &work) < 0 && errno != EAGAIN)
		err(1, "%s: work", queue);
	part->flying += work.accepted;
	part->ready -= work.accepted;
	memmove(worker->items, worker->items + work.accepted, part->ready * sizeof(*worker->items));
}

/* Sleeps until an item is done, or if none is in flight, until one would be accepted. */
static void wait_for_device(struct worker *worker, bool flying)
{
	struct idxd_ims_interrupt irq = { .size = sizeof(irq), .id = worker->irq };
	struct pollfd ready = { .fd = worker->wq, .events = POLLOUT };
	__u64 signals;

	if (flying) {
		worker->calls++;
		if (read(worker->eventfd, &signals, sizeof(signals)) > 0)
			return;
		ready = (struct pollfd){ .fd = worker->eventfd, .events = POLLIN };
	}
	worker->calls++;
	/* The driver masks an interrupt that comes too often. */
	if (!poll(&ready, 1, SILENCE_MS))
		must(worker, "unmask", IDXD_IMS_UNMASK, &irq);
}

/* Reads all completions, which can be in any order. */
static void collect(struct worker *worker, struct part *part)
{
	ssize_t size = read(worker->wq, worker->done, in_flight * sizeof(*worker->done));

	worker->calls++;
	if (size < 0 && errno != EAGAIN)
		err(1, "%s: read", queue);
	for (struct idxd_ims_completion *done = worker->done; size > 0; done++) {
		size -= sizeof(*done);
		part->flying--;
		if (done->status == IDXD_IMS_ABORTED) {
			add_item(worker, part, done->cookie);
			continue;
		}
		if (done->status == IDXD_IMS_FAILED)
			errx(1, "%s: the device fails at offset %zu with status 0x%llx", queue,
			     part->offset + (size_t)done->cookie, done->result);
		if (check)
			crcs[(part->offset + done->cookie) / item_size] = done->result;
		bytes_done += done->bytes;
		worker->completed++;
	}
}

static void open_queue(struct worker *worker)
{
	struct idxd_ims_query query = { .size = sizeof(query) };

	worker->wq = open(queue, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (worker->wq < 0)
		err(1, "%s", queue);
	must(worker, "query", IDXD_IMS_QUERY, &query);
	if (!(query.ops >> (check ? IDXD_IMS_OP_CRC : IDXD_IMS_OP_COPY) & 1))
		errx(1, "%s: cannot %s", queue, check ? "compute a CRC" : "copy");
	if (in_flight > query.file_items)
		errx(2, "-n %zu: %s takes %u at most", in_flight, queue, query.file_items);
}

/* Allocates an interrupt on the CPU of this thread. */
static void prepare(struct worker *worker)
{
	struct idxd_ims_alloc irq = {
		.size = sizeof(irq),
		.flags = IDXD_IMS_ALLOC_CPU,
		.cpu = worker->cpu,
		.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
	};
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(worker->cpu, &cpus);
	if (irq.eventfd < 0 || sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		err(1, "CPU %d", worker->cpu);
	must(worker, "alloc", IDXD_IMS_ALLOC, &irq);
	worker->irq = irq.id;
	worker->eventfd = irq.eventfd;
	worker->items = allocate(in_flight, sizeof(*worker->items));
	worker->done = allocate(in_flight, sizeof(*worker->done));
}

static void *work(void *argument)
{
	struct idxd_ims_state state = { .size = sizeof(state) };
	struct worker *worker = argument;
	struct part part = {};

	prepare(worker);
	while ((part.offset = atomic_fetch_add(&next_part, part_size)) < file_size) {
		part.length = smaller(part_size, file_size - part.offset);
		part.next = 0;
		pin_part(worker, &part);
		while (submit(worker, &part), part.flying || part.ready) {
			wait_for_device(worker, part.flying);
			collect(worker, &part);
			if (worker == workers)
				show_progress();
		}
		unpin_part(worker, &part);
	}
	state.id = worker->irq;
	must(worker, "state", IDXD_IMS_STATE, &state);
	worker->interrupts = state.count;
	close(worker->wq);
	return NULL;
}

/* The CPU of the thread, of those that this program may use. */
static int cpu_of(size_t thread)
{
	cpu_set_t cpus;
	int cpu = -1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		err(1, "sched_getaffinity");
	for (thread = thread % CPU_COUNT(&cpus) + 1; thread; thread -= !!CPU_ISSET(cpu, &cpus))
		cpu++;
	return cpu;
}

static void run(void)
{
	unsigned long items = 0, interrupts = 0, calls = 0;

	start = seconds();
	for (size_t i = 0; i < threads; i++) {
		workers[i].cpu = cpu_of(i);
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			errx(1, "cannot create %zu threads", threads);
	}
	for (size_t i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		items += workers[i].completed;
		interrupts += workers[i].interrupts;
		calls += workers[i].calls;
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	printf("%s %zu bytes in %.3f s, %.1f MB/s: %lu items, %lu interrupts, %lu system calls\n",
	       check ? "checked" : "copied", file_size, seconds(), file_size / 1e6 / seconds(),
	       items, interrupts, calls);
}

static void compare_crcs(void)
{
	char *bytes = allocate(1, item_size);
	__u32 device = 0, cpu = 0;
	ssize_t count;

	for (size_t at = 0; at < file_size; at += item_size)
		device = crc32c_combine(device, crcs[at / item_size],
					smaller(item_size, file_size - at));
	for (size_t at = 0; at < file_size; at += count) {
		count = pread(source_fd, bytes, smaller(item_size, file_size - at), at);
		if (count < 0)
			err(1, "%s", source_name);
		if (!count)
			errx(1, "%s: has become shorter", source_name);
		cpu = crc32c(cpu, bytes, count);
	}
	if (device != cpu)
		errx(1, "%s: CRC-32C %08x by the device, %08x by the CPU", source_name, device,
		     cpu);
	printf("CRC-32C %08x, as by the CPU\n", cpu);
	free(bytes);
}

static int open_file(const char *name, int flags, mode_t mode, struct stat *stat)
{
	int fd = open(name, flags | O_CLOEXEC, mode);

	if (fd < 0 || fstat(fd, stat) < 0)
		err(1, "%s", name);
	if (!S_ISREG(stat->st_mode))
		errx(1, "%s: not a regular file", name);
	return fd;
}

static void open_files(void)
{
	struct stat from, to;

	source_fd = open_file(source_name, O_RDONLY, 0, &from);
	file_size = from.st_size;
	if (!check) {
		target_fd = open_file(target_name, O_RDWR | O_CREAT, from.st_mode & 0777, &to);
		if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
			errx(1, "%s and %s are the same file", source_name, target_name);
		if (ftruncate(target_fd, file_size) < 0)
			err(1, "%s", target_name);
	}
	if (!file_size)
		return;
	source = mmap(NULL, file_size, PROT_READ, MAP_SHARED, source_fd, 0);
	if (source == MAP_FAILED)
		err(1, "%s: mmap", source_name);
	if (check)
		crcs = allocate((file_size + item_size - 1) / item_size, sizeof(*crcs));
	else
		target = mmap(NULL, file_size, PROT_READ | PROT_WRITE, MAP_SHARED, target_fd, 0);
	if (target == MAP_FAILED)
		target = NULL;
}

/* Each thread gets a part, and each file as much locked memory. */
static void choose_part_size(void)
{
	size_t share = file_size / threads / item_size + 1;
	struct rlimit lockable;

	if (getrlimit(RLIMIT_MEMLOCK, &lockable) < 0)
		err(1, "getrlimit");
	part_size = smaller(share, MAX_PART / item_size);
	part_size = smaller(part_size, lockable.rlim_cur / (check ? 1 : 2) / threads / item_size);
	part_size = (part_size ?: 1) * item_size;
}

static size_t number(char option, const char *text, size_t unit, size_t most)
{
	char *end;
	size_t value = strtoul(text, &end, 10);

	if (unit > 1 && (*end == 'K' || *end == 'M'))
		value *= *end++ == 'K' ? 1 << 10 : 1 << 20;
	if (*text < '0' || *text > '9' || *end || !value || value > most || value % unit)
		errx(2, "-%c %s: must be %zu to %zu%s", option, text, unit, most,
		     unit > 1 ? ", a multiple of 4K" : "");
	return value;
}

static void show_usage(int status)
{
	fputs(usage, status ? stderr : stdout);
	exit(status);
}

int main(int argc, char **argv)
{
	glob_t queues;
	int option;

	while ((option = getopt(argc, argv, "cw:n:t:s:h")) != -1) {
		if (option == 'c')
			check = true;
		else if (option == 'w')
			queue = optarg;
		else if (option == 'n')
			in_flight = number('n', optarg, 1, 65536);
		else if (option == 't')
			threads = number('t', optarg, 1, MAX_THREADS);
		else if (option == 's')
			item_size = number('s', optarg, PAGE, MAX_PART);
		else
			show_usage(option == 'h' ? 0 : 2);
	}
	if (argc - optind != (check ? 1 : 2))
		show_usage(2);
	source_name = argv[optind];
	target_name = argv[optind + 1];
	if (!queue) {
		if (glob("/dev/idxd_ims/*", 0, NULL, &queues))
			errx(1, "no work queue in /dev/idxd_ims: is the driver loaded?");
		queue = queues.gl_pathv[0];
	}

	for (size_t i = 0; i < threads; i++)
		open_queue(&workers[i]);
	open_files();
	choose_part_size();
	run();
	if (check)
		compare_crcs();
	return 0;
}
