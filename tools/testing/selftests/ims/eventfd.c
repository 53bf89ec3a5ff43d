// SPDX-License-Identifier: GPL-2.0
/*
 * What an interrupt signals: eventfds of all kinds, in whatever state they are.
 */
#include <sys/epoll.h>

#include "interrupt.h"

#define RAISES 200
#define TURNS 100

/* Nobody can read it any more. */
TEST_F(interrupt, closed)
{
	int64_t before;

	raise_one(_metadata, &self->irq, 1);
	EXPECT_TRUE(wait_for(ims_count(&self->irq) == 1));
	close(self->irq.eventfd);
	self->irq.eventfd = -1;
	for (int i = 2; i <= 10; i++) {
		ASSERT_EQ(0, ims_noop(&self->irq));
		ASSERT_TRUE(wait_for(ims_count(&self->irq) == i)) TH_LOG("raise %d was lost", i);
	}
	settle();
	EXPECT_EQ(10, ims_count(&self->irq));
	EXPECT_EQ(10, kernel_count(self->irq.virq));

	/* Another is as good as ever. */
	before = kernel_count(self->irq.virq);
	ASSERT_EQ(0, ims_bind(&self->irq, new_eventfd()));
	raise_one(_metadata, &self->irq, 1);
	EXPECT_ARRIVED(&self->irq, 1);
	EXPECT_EQ(before + 1, kernel_count(self->irq.virq));
}

/* The counter stays at its highest value, and the interrupt does not wait for a reader. */
TEST_F(interrupt, full)
{
	uint64_t most = ULLONG_MAX - 1;

	ASSERT_EQ(sizeof(most), write(self->irq.eventfd, &most, sizeof(most)));
	for (int i = 1; i <= 5; i++) {
		ASSERT_EQ(0, ims_noop(&self->irq));
		ASSERT_TRUE(wait_for(ims_count(&self->irq) == i)) TH_LOG("raise %d was lost", i);
	}
	settle();
	EXPECT_EQ(5, ims_count(&self->irq));
	EXPECT_EQ(5, kernel_count(self->irq.virq));
	EXPECT_STATE(&self->irq, false, false);
	EXPECT_EQ(ULLONG_MAX, take(self->irq.eventfd));

	/* Read, it counts again. */
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_TRUE(wait_for(ims_count(&self->irq) == 6));
	EXPECT_EQ(1, take(self->irq.eventfd));
}

TEST_F(interrupt, shared)
{
	struct ims_irq other;
	uint64_t sum = 0;

	ASSERT_EQ(0, ims_alloc(self->file, self->irq.eventfd, &other));
	for (int i = 1; i <= 10; i++) {
		ASSERT_EQ(0, ims_noop(&self->irq));
		ASSERT_EQ(0, ims_noop(&other));
		ASSERT_TRUE(wait_for((sum += take(self->irq.eventfd)) >= 2 * i));
	}
	settle();
	EXPECT_EQ(20, sum + take(self->irq.eventfd));
	EXPECT_EQ(10, ims_count(&self->irq));
	EXPECT_EQ(10, ims_count(&other));

	/* What one does without does not concern the other. */
	ASSERT_EQ(0, ims_bind(&other, -1));
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_TRUE(wait_for(ims_count(&self->irq) == 11));
	EXPECT_EQ(1, take(self->irq.eventfd));
	ASSERT_EQ(0, ims_free(&other));
	ASSERT_EQ(0, ims_noop(&self->irq));
	EXPECT_TRUE(wait_for(ims_count(&self->irq) == 12));
	EXPECT_EQ(1, take(self->irq.eventfd));
}

/* Interrupts of two work queues on one eventfd, which is that of another process, too. */
TEST_F(interrupt, shared_by_files)
{
	int file = ims_open(1);
	struct ims_irq other;
	pid_t child;

	if (file == -ENOENT)
		SKIP(return, "one work queue");
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_alloc(file, self->irq.eventfd, &other));
	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 1; i <= 10; i++)
			if (ims_noop(&other) || !wait_for(ims_count(&other) == i))
				_exit(1);
		_exit(0);
	}
	for (int i = 1; i <= 10; i++) {
		ASSERT_EQ(0, ims_noop(&self->irq));
		ASSERT_TRUE(wait_for(ims_count(&self->irq) == i));
	}
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	settle();
	EXPECT_EQ(20, take(self->irq.eventfd));
}

TEST_F(interrupt, semaphore)
{
	int eventfd_semaphore = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);

	ASSERT_LE(0, eventfd_semaphore);
	ASSERT_EQ(0, ims_bind(&self->irq, eventfd_semaphore));
	for (int i = 1; i <= 5; i++) {
		ASSERT_EQ(0, ims_noop(&self->irq));
		ASSERT_TRUE(wait_for(ims_count(&self->irq) == i));
	}
	settle();
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(1, take(eventfd_semaphore));
	EXPECT_EQ(0, take(eventfd_semaphore));
}

/* Starts a process that raises the interrupt in a moment, when somebody waits for it. */
static pid_t raise_later(const struct ims_irq *irq)
{
	pid_t child = start();

	if (!child) {
		settle();
		_exit(!!ims_noop(irq));
	}
	return child;
}

TEST_F(interrupt, wakes_a_reader)
{
	int blocking = eventfd(0, EFD_CLOEXEC);
	uint64_t begin, value = 0;
	pid_t child;

	ASSERT_LE(0, blocking);
	ASSERT_EQ(0, ims_bind(&self->irq, blocking));
	begin = now_ms();
	child = raise_later(&self->irq);
	ASSERT_LE(0, child);
	/* Should it not wake, the test's deadline ends this. */
	ASSERT_EQ(sizeof(value), read(blocking, &value, sizeof(value)));
	EXPECT_EQ(1, value);
	EXPECT_LE(SETTLE_MS, now_ms() - begin);
	EXPECT_GT(DEADLINE_MS, now_ms() - begin);
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
}

TEST_F(interrupt, wakes_a_poll)
{
	struct pollfd waiting = { .fd = self->irq.eventfd, .events = POLLIN };
	pid_t child;

	ASSERT_EQ(0, poll(&waiting, 1, SETTLE_MS));
	child = raise_later(&self->irq);
	ASSERT_LE(0, child);
	EXPECT_EQ(1, poll(&waiting, 1, DEADLINE_MS));
	EXPECT_EQ(POLLIN, waiting.revents);
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
	EXPECT_EQ(0, poll(&waiting, 1, 0));
}

/* Of many, those that were raised. */
TEST_F(interrupt, wakes_an_epoll)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), woken = 0;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct ims_irq irqs[8];
	bool seen[8] = {};
	pid_t child;

	ASSERT_LE(0, epoll);
	for (int i = 0; i < ARRAY_SIZE(irqs); i++) {
		ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &irqs[i]));
		event.data.u32 = i;
		ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, irqs[i].eventfd, &event));
	}
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, SETTLE_MS));

	child = start();
	ASSERT_LE(0, child);
	if (!child) {
		settle();
		_exit(ims_noop(&irqs[6]) || ims_noop(&irqs[1]) || ims_noop(&irqs[4]));
	}
	while (woken < 3 && epoll_wait(epoll, &event, 1, DEADLINE_MS) == 1) {
		seen[event.data.u32] = true;
		woken++;
	}
	EXPECT_EQ(3, woken);
	EXPECT_EQ(0, finish(child, DEADLINE_MS));
	for (int i = 0; i < ARRAY_SIZE(irqs); i++) {
		bool raised = i == 1 || i == 4 || i == 6;

		EXPECT_EQ(raised, seen[i]) TH_LOG("interrupt %d", i);
		EXPECT_EQ(raised, ims_signals(&irqs[i])) TH_LOG("interrupt %d", i);
	}
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	close(epoll);
}

/*
 * Raises the interrupt RAISES times, each as soon as the last was counted, and ends
 * with 0 if all were. With the test page, it may have no eventfd meanwhile.
 */
static pid_t start_stream(const struct ims_irq *irq)
{
	uint32_t late = late_messages();
	pid_t child = start();

	if (child)
		return child;
	for (int i = 1; i <= RAISES; i++) {
		if (ims_page())
			page_write(PAGE_RAISE, irq->slot);
		else if (ims_noop(irq))
			_exit(1);
		if (!wait_for(kernel_count(irq->virq) + late_messages() - late >= i))
			_exit(2);
	}
	_exit(0);
}

TEST_F_TIMEOUT(interrupt, bound_to_another_under_a_stream, 60)
{
	int eventfds[3] = { self->irq.eventfd, new_eventfd(), new_eventfd() }, status, binds = 0;
	pid_t child = start_stream(&self->irq);
	uint64_t sum = 0;

	ASSERT_LE(0, child);
	while (!waitpid(child, &status, WNOHANG)) {
		ASSERT_EQ(0, ims_bind(&self->irq, eventfds[++binds % 3]));
		/* Let some pass between two. */
		usleep(binds % 8 * 100);
	}
	EXPECT_EQ(0, status);
	TH_LOG("bound %d times while it was raised %d times", binds, RAISES);
	EXPECT_LT(10, binds);
	settle();
	for (int i = 0; i < 3; i++) {
		uint64_t signals = take(eventfds[i]);

		EXPECT_LT(0, signals) TH_LOG("eventfd %d was never signalled", i);
		sum += signals;
	}
	EXPECT_HANDLED(RAISES, sum);
	EXPECT_EQ(RAISES, kernel_count(self->irq.virq));
	EXPECT_STATE(&self->irq, false, false);
}

/* Raised with an eventfd and without in turns, it comes once for each. */
TEST_F_TIMEOUT(interrupt, bound_and_not_bound, 60)
{
	int eventfd = self->irq.eventfd;
	uint64_t signals = 0;

	if (!ims_page())
		SKIP(return, "no test page");
	for (int i = 1; i <= TURNS; i++) {
		page_write(PAGE_RAISE, self->irq.slot);
		ASSERT_TRUE(wait_for((signals += take(eventfd)) == 2 * i - 1)) TH_LOG("turn %d", i);
		ASSERT_EQ(0, ims_bind(&self->irq, -1));
		page_write(PAGE_RAISE, self->irq.slot);
		ASSERT_TRUE(wait_pending(&self->irq));
		ASSERT_EQ(0, ims_bind(&self->irq, eventfd));
		ASSERT_TRUE(wait_for((signals += take(eventfd)) == 2 * i)) TH_LOG("turn %d", i);
	}
	settle();
	EXPECT_EQ(0, take(eventfd));
	EXPECT_EQ(2 * TURNS, kernel_count(self->irq.virq));
	EXPECT_DEVICE(&self->irq, 2 * TURNS, TURNS, TURNS);
}

/* The same with a time without eventfd each time, in which it is pending. */
TEST_F_TIMEOUT(interrupt, bound_and_not_bound_under_a_stream, 60)
{
	int eventfd = self->irq.eventfd, status, binds = 0;
	uint32_t late = late_messages(), replayed, latched, sent;
	pid_t child;

	if (!ims_page())
		SKIP(return, "no test page");
	child = start_stream(&self->irq);
	ASSERT_LE(0, child);
	while (!waitpid(child, &status, WNOHANG)) {
		ASSERT_EQ(0, ims_bind(&self->irq, -1));
		usleep(binds % 8 * 100);
		ASSERT_EQ(0, ims_bind(&self->irq, eventfd));
		usleep(binds++ % 4 * 100);
	}
	EXPECT_EQ(0, status);
	settle();
	replayed = slot_counter(self->irq.slot, SLOT_REPLAYED) - self->irq.before.replayed;
	TH_LOG("bound %d times, %u of %d were raised meanwhile", binds, replayed, RAISES);
	EXPECT_LT(10, binds);
	EXPECT_LT(0, replayed);
	latched = slot_counter(self->irq.slot, SLOT_LATCHED) - self->irq.before.latched;
	sent = slot_counter(self->irq.slot, SLOT_SENT) - self->irq.before.sent;
	late = late_messages() - late;
	EXPECT_HANDLED_BUT_LATE(sent, take(eventfd), late);
	EXPECT_HANDLED_BUT_LATE(sent, kernel_count(self->irq.virq), late);
	EXPECT_EQ(RAISES, sent - replayed + latched);
	/* None is raised twice before it has come, unless it was taken for lost. */
	if (!late)
		EXPECT_EQ(replayed, latched);
}

TEST_HARNESS_MAIN
