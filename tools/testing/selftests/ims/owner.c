// SPDX-License-Identifier: GPL-2.0
/*
 * An open file owns its interrupts: whoever has it can use them, and with the last
 * one who closes it they are gone, however that comes about.
 */
#include <sys/socket.h>

#include "interrupt.h"

#define KILLS 12
#define COMMAND_MS 300

/* What processes tell each other. */
struct signs {
	int step;
	struct ims_irq irq;
};

static int step_of(const struct signs *signs)
{
	return __atomic_load_n(&signs->step, __ATOMIC_ACQUIRE);
}

static void set_step(struct signs *signs, int step)
{
	__atomic_store_n(&signs->step, step, __ATOMIC_RELEASE);
}

static bool is_running(pid_t child, const char *command)
{
	char line[32];

	return read_line(line, sizeof(line), path_of("/proc/%d/comm", child)) &&
	       !strcmp(line, command);
}

/* Slots, interrupt numbers and handlers go with the file, whatever state they are in. */
TEST_F(interrupt, close)
{
	struct ims_irq bound, unbound, masked;

	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &bound));
	ASSERT_EQ(0, ims_alloc(self->file, -1, &unbound));
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &masked));
	ASSERT_EQ(0, ims_mask(&masked));
	raise_one(_metadata, &bound, 1);
	EXPECT_ARRIVED(&bound, 1);
	EXPECT_EQ(4, ims_counter("used"));

	ims_close(self->file);
	EXPECT_EQ(0, ims_counter("used"));
	EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", self->irq.virq)));
	EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", bound.virq)));
	EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", unbound.virq)));
	EXPECT_FALSE(exists(path_of("/sys/kernel/irq/%u", masked.virq)));
	EXPECT_TRUE(ims_delivers(0, 4));
}

/* What the device raises while nobody has the slot is nobody's, also later. */
TEST_F(ims, raised_while_free)
{
	struct ims_irq irq, *irqs;
	int count, file = ims_open(0);

	if (!ims_page())
		SKIP(return, "no test page");
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, new_eventfd(), &irq));
	ASSERT_EQ(0, ims_free(&irq));
	page_write(PAGE_RAISE, irq.slot);

	/* All, so that it is among them unless it was passed over. */
	self->rebind = true;
	count = ims_alloc_all(&irqs);
	ASSERT_LT(0, count);
	EXPECT_EQ(0, ims_counter("stuck"));
	for (int i = 0; i < count; i++) {
		if (irqs[i].slot != irq.slot)
			continue;
		EXPECT_STATE(&irqs[i], true, false);
		ASSERT_EQ(0, ims_bind(&irqs[i], irq.eventfd));
		EXPECT_ARRIVED_IN_ALL(&irqs[i], 0);
		ASSERT_EQ(0, ims_noop(&irqs[i]));
		EXPECT_ARRIVED_IN_ALL(&irqs[i], 1);
	}
	free(irqs);
}

/* A slot that stays pending is passed over as long as it does. */
TEST_F(ims, raised_while_free_for_good)
{
	struct ims_irq next, *irqs, *others;
	int count, file = ims_open(0);

	if (!ims_page())
		SKIP(return, "no test page");
	ASSERT_LE(0, file);
	self->rebind = true;
	count = ims_alloc_all(&irqs);
	ASSERT_LT(4, count);
	for (int i = 0; i < count; i++)
		ASSERT_EQ(0, ims_free(&irqs[i]));
	if (count < ims_counter("slots"))
		SKIP(return, "remapping entries for %d slots", count);

	/*
	 * Slots are allocated in turn: after the last the first is next, unless it is
	 * pending. One is drained, the second is passed over without that.
	 */
	page_write(PAGE_RAISE, irqs[0].slot);
	page_write(PAGE_RAISE, irqs[1].slot);
	ims_break(FAULT_STUCK_PENDING, 0);
	ASSERT_EQ(0, ims_alloc(file, -1, &next));
	EXPECT_EQ(irqs[2].slot, next.slot);
	EXPECT_STATE(&next, true, false);
	EXPECT_EQ(1, ims_counter("stuck"));
	EXPECT_EQ(1, ims_counter("used"));

	/* A message that is lost on its way was sent: its slot is clean. */
	ims_break(FAULT_DROP_MESSAGE, 1);
	page_write(PAGE_RAISE, irqs[3].slot);
	ASSERT_EQ(0, ims_alloc(file, -1, &next));
	EXPECT_EQ(irqs[3].slot, next.slot);
	EXPECT_STATE(&next, true, false);
	ims_break(FAULT_NONE, 0);
	page_write(PAGE_RAISE, irqs[4].slot);
	ASSERT_EQ(0, ims_alloc(file, -1, &next));
	EXPECT_EQ(irqs[4].slot, next.slot);
	EXPECT_STATE(&next, true, false);
	EXPECT_EQ(1, ims_counter("stuck"));

	/* The first two are drained, each by an allocation of its own. */
	EXPECT_EQ(count - 3, ims_alloc_all(&others));
	EXPECT_EQ(1, ims_counter("stuck"));

	/* Only slots that stay pending are left. */
	ASSERT_EQ(0, ims_free(&others[0]));
	ASSERT_EQ(0, ims_free(&others[1]));
	page_write(PAGE_RAISE, others[0].slot);
	page_write(PAGE_RAISE, others[1].slot);
	ims_break(FAULT_STUCK_PENDING, 0);
	EXPECT_EQ(-ENOSPC, ims_alloc(file, -1, &next));
	EXPECT_EQ(-ENOSPC, ims_alloc(file, -1, &next));
	EXPECT_EQ(3, ims_counter("stuck"));
	ims_break(FAULT_NONE, 0);
	EXPECT_EQ(0, ims_alloc(file, -1, &next));
	EXPECT_EQ(0, ims_alloc(file, -1, &next));
	EXPECT_EQ(-ENOSPC, ims_alloc(file, -1, &next));
	free(irqs);
	free(others);
}

TEST_F(interrupt, dup)
{
	int copy = dup(self->file);

	ASSERT_LE(0, copy);
	ims_close(self->file);
	EXPECT_EQ(1, ims_counter("used"));
	self->irq.file = copy;
	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	close(copy);
	EXPECT_EQ(0, ims_counter("used"));
}

TEST_F(interrupt, another_file_is_another_owner)
{
	int other = ims_open(0);

	ASSERT_LE(0, other);
	EXPECT_EQ(0, ims_file_used(other));
	ims_close(other);
	EXPECT_EQ(1, ims_counter("used"));
	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
}

/* A child has the same interrupts, leaves them when it ends, and keeps them if it stays. */
TEST_F(interrupt, fork)
{
	struct signs *signs = share(sizeof(*signs));
	pid_t child;

	ASSERT_NE(NULL, signs);
	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		if (ims_noop(&self->irq) || !wait_for(ims_count(&self->irq) == 1))
			_exit(1);
		_exit(!!ims_alloc(self->file, -1, &signs->irq));
	}
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	EXPECT_EQ(2, ims_counter("used"));
	EXPECT_EQ(2, ims_file_used(self->file));
	EXPECT_ARRIVED(&self->irq, 1);
	EXPECT_EQ(0, ims_free(&signs->irq));

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		wait_for(step_of(signs) == 1);
		if (ims_noop(&self->irq) || !wait_for(ims_count(&self->irq) == 2))
			_exit(1);
		set_step(signs, 2);
		pause();
	}
	ims_close(self->file);
	set_step(signs, 1);
	EXPECT_TRUE(wait_for(step_of(signs) == 2));
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(2, ims_signals(&self->irq));
	EXPECT_TRUE(stop(child));
	EXPECT_TRUE(wait_for(!ims_counter("used")));
}

/* A process that allocates an interrupt, waits for step 2, and becomes another program. */
static pid_t start_exec(struct signs *signs, int flags)
{
	pid_t child = start();
	int file;

	if (child)
		return child;
	file = ims_open(0);
	if (file < 0 || fcntl(file, F_SETFD, flags) || ims_alloc(file, new_eventfd(), &signs->irq))
		_exit(1);
	set_step(signs, 1);
	wait_for(step_of(signs) == 2);
	execlp("sleep", "sleep", "60", NULL);
	_exit(2);
}

static void exec_with(struct __test_metadata *_metadata, int flags, int used_then)
{
	struct signs *signs = share(sizeof(*signs));
	pid_t child;

	ASSERT_NE(NULL, signs);
	child = start_exec(signs, flags);
	ASSERT_LE(0, child);
	ASSERT_TRUE(wait_for(step_of(signs) == 1));
	EXPECT_EQ(1, ims_counter("used"));
	set_step(signs, 2);
	ASSERT_TRUE(wait_for(is_running(child, "sleep")));
	EXPECT_TRUE(wait_for(ims_counter("used") == used_then));
	settle();
	EXPECT_EQ(used_then, ims_counter("used"));
	EXPECT_TRUE(stop(child)) TH_LOG("the other program has ended");
	EXPECT_TRUE(wait_for(!ims_counter("used")));
}

TEST_F(ims, exec_closes)
{
	exec_with(_metadata, FD_CLOEXEC, 0);
}

TEST_F(ims, exec_keeps)
{
	exec_with(_metadata, 0, 1);
}

/* The end of a process is enough. */
TEST_F(ims, exit)
{
	pid_t child = start();

	ASSERT_LE(0, child);
	if (!child) {
		struct ims_irq irq;
		int file = ims_open(0);

		for (int i = 0; i < 5; i++)
			if (file < 0 || ims_alloc(file, i % 2 ? new_eventfd() : -1, &irq))
				_exit(1);
		_exit(ims_counter("used") != 5);
	}
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	EXPECT_EQ(0, ims_counter("used"));
}

/* Sends @file, and a byte with it. Returns false if that fails. */
static bool send_file(int to, int file)
{
	char byte = 0, control[CMSG_SPACE(sizeof(file))] = {};
	struct iovec bytes = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &bytes, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(file));
	memcpy(CMSG_DATA(header), &file, sizeof(file));
	return sendmsg(to, &message, 0) == 1;
}

/* Returns the file that was sent, or -1. */
static int receive_file(int from)
{
	int file = -1;
	char byte, control[CMSG_SPACE(sizeof(file))] = {};
	struct iovec bytes = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &bytes, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&file, CMSG_DATA(header), sizeof(file));
	return file;
}

TEST_F(ims, sent_to_another_process)
{
	int sockets[2], file, eventfd = new_eventfd();
	struct signs *signs = share(sizeof(*signs));
	pid_t child;

	ASSERT_NE(NULL, signs);
	ASSERT_LE(0, eventfd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		struct ims_irq irq;

		file = receive_file(sockets[1]);
		irq = signs->irq;
		irq.file = file;
		if (file < 0 || !wait_for(step_of(signs) == 1) || ims_noop(&irq) ||
		    !wait_for(ims_count(&irq) == 1))
			_exit(1);
		set_step(signs, 2);
		pause();
	}

	file = ims_open(0);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, eventfd, &signs->irq));
	ASSERT_TRUE(send_file(sockets[0], file));
	ims_close(file);
	set_step(signs, 1);
	EXPECT_TRUE(wait_for(step_of(signs) == 2)) TH_LOG("the other process cannot use it");
	EXPECT_EQ(1, ims_counter("used"));
	EXPECT_EQ(1, take(eventfd));
	EXPECT_TRUE(stop(child));
	EXPECT_TRUE(wait_for(!ims_counter("used")));
}

/* Sent, but never received. */
TEST_F(interrupt, lost_on_its_way)
{
	int sockets[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	ASSERT_TRUE(send_file(sockets[0], self->file));
	ims_close(self->file);
	settle();
	EXPECT_EQ(1, ims_counter("used"));
	close(sockets[0]);
	close(sockets[1]);
	EXPECT_TRUE(wait_for(!ims_counter("used")));
}

/* Allocates, binds, raises, masks and frees without end. */
static void use_without_end(int wq)
{
	int file = ims_open(wq), eventfds[2] = { new_eventfd(), new_eventfd() };
	struct ims_irq irqs[4];

	if (file < 0)
		_exit(1);
	for (unsigned int round = 0;; round++) {
		for (int i = 0; i < ARRAY_SIZE(irqs); i++)
			if (ims_alloc(file, i % 2 ? eventfds[0] : -1, &irqs[i]))
				_exit(2);
		for (int i = 0; i < ARRAY_SIZE(irqs); i++) {
			if (ims_bind(&irqs[i], eventfds[1]) ||
			    ims_mask(&irqs[i]) || ims_unmask(&irqs[i]))
				_exit(3);
			if ((round & 1 ? ims_noop(&irqs[i]) : ims_copy(&irqs[i], 8000)) ||
			    !wait_for(ims_count(&irqs[i]) == 1))
				_exit(4);
		}
		for (int i = 0; i < ARRAY_SIZE(irqs); i++)
			if (ims_free(&irqs[i]))
				_exit(5);
	}
}

TEST_F_TIMEOUT(ims, killed_in_a_stream, 60)
{
	for (int i = 0; i < KILLS; i++) {
		pid_t child = start();

		ASSERT_LE(0, child);
		if (!child)
			use_without_end(i % ims_wqs());
		ASSERT_TRUE(wait_for(ims_counter("used") > 0));
		usleep(20000 + i * 7919);
		EXPECT_TRUE(stop(child)) TH_LOG("it has ended by itself");
		EXPECT_TRUE(wait_for(!ims_counter("used"))) TH_LOG("after kill %d", i);
	}
	/* What it had just raised was pending when it was freed, and is nobody's. */
	EXPECT_EQ(0, ims_counter("stuck"));
	EXPECT_TRUE(ims_delivers(0, 8));
}

/* Allocates without end, and fails each time when the result is written. */
static void alloc_in_vain(int file)
{
	struct idxd_ims_alloc *alloc = share(sizeof(*alloc));

	if (!alloc)
		_exit(1);
	*alloc = (struct idxd_ims_alloc) { .size = sizeof(*alloc), .eventfd = -1 };
	if (mprotect(alloc, sizeof(*alloc), PROT_READ))
		_exit(1);
	while (ims_call(file, IDXD_IMS_ALLOC, alloc) == -EFAULT)
		;
	_exit(2);
}

/* Nobody can name an interrupt whose number its owner did not get, nor lose its own. */
TEST_F_TIMEOUT(ims, failed_copy, 60)
{
	const uint64_t end = now_ms() + 3000;
	int file = ims_open(0), named = 0, lost = 0, rounds = 0;
	pid_t children[2];

	ASSERT_LE(0, file);
	for (int i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (!children[i])
			alloc_in_vain(file);
	}
	for (; now_ms() < end || rounds < 10; rounds++) {
		struct ims_irq irq = { .file = file };

		for (irq.id = 0; irq.id < 3; irq.id++)
			named += ims_free(&irq) != -ENOENT;
		ASSERT_EQ(0, ims_alloc(file, -1, &irq));
		for (int i = 0; i < 3; i++)
			lost += ims_flags(&irq) < 0;
		lost += ims_free(&irq) != 0;
	}
	for (int i = 0; i < ARRAY_SIZE(children); i++)
		EXPECT_TRUE(stop(children[i])) TH_LOG("it has ended by itself");
	EXPECT_EQ(0, named) TH_LOG("of %d rounds", rounds);
	EXPECT_EQ(0, lost) TH_LOG("of %d rounds", rounds);
	EXPECT_TRUE(wait_for(!ims_file_used(file)));
}

/*
 * Killed while the device works on a command of theirs, or while they wait for one
 * another: for the device, and for the file, which two of them share.
 */
TEST_F_TIMEOUT(interrupt, killed_in_a_call, 60)
{
	pid_t children[4];

	if (!ims_page())
		SKIP(return, "no test page");
	ims_break(FAULT_COMMAND_TAKES_MS, COMMAND_MS);
	for (int i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (!children[i]) {
			int file = i < 2 ? self->file : ims_open(0);
			struct ims_irq irq;

			ims_alloc(file, self->irq.eventfd, &irq);
			pause();
		}
	}
	ims_close(self->file);
	settle();
	for (int i = 0; i < ARRAY_SIZE(children); i++)
		kill(children[i], SIGKILL);
	for (int i = 0; i < ARRAY_SIZE(children); i++) {
		EXPECT_EQ(-1, finish(children[i], 2 * DEADLINE_MS))
			TH_LOG("process %d", i);
	}
	EXPECT_TRUE(wait_for(!ims_counter("used")));
	ims_break(FAULT_NONE, 0);
	EXPECT_TRUE(ims_delivers(0, 4));
}

TEST_HARNESS_MAIN
