// SPDX-License-Identifier: GPL-2.0
/*
 * Items of work: what each operation does to memory and tells in its completion, how
 * completions are waited for and collected, and what is accepted. Every item that was
 * accepted completes once. Kinds of memory are in buffers.c; files, processes and devices
 * that end with work in flight in inflight.c.
 */
#include <sys/epoll.h>
#include <sys/time.h>

#include "calls.h"
#include "work_fixture.h"

#define BATCH 32
#define PATTERN 0x8877665544332211ULL
#define SEED 0x12345678
#define NO_BUFFER 0x13579bdf
#define MOST_ITEMS 65536
#define SHARERS 4
#define EACH 200
/* Of what keeps the device at work for some time. */
#define LARGE MIB

static const uint64_t lengths[] = { 1, 63, 64, 4095, 4096, 4097, MIB };

/* Where a range begins in its page. */
static const struct {
	uint64_t source;
	uint64_t target;
} offsets[] = { { 0, 0 }, { 1, 4095 }, { 63, 65 }, { 4000, 7 }, { 4096, 4095 } };

/* Expects a completion, word for word. */
#define EXPECT_COMPLETION(completion_, cookie_, bytes_, result_)		\
do {										\
	const struct idxd_ims_completion *of_item_ = (completion_);		\
										\
	EXPECT_EQ(IDXD_IMS_COMPLETED, of_item_->status);			\
	EXPECT_EQ(cookie_, of_item_->cookie);					\
	EXPECT_EQ(bytes_, of_item_->bytes);					\
	EXPECT_EQ(result_, of_item_->result);					\
	EXPECT_EQ(0, of_item_->reserved);					\
} while (0)

/* A length, and where the ranges of that length begin. */
struct range {
	uint64_t length;
	uint64_t from;
	uint64_t to;
};

#define RANGES (ARRAY_SIZE(lengths) * ARRAY_SIZE(offsets))

/* Range @index of RANGES: each length at each pair of offsets. */
static struct range range_of(int index)
{
	return (struct range) {
		.length = lengths[index / ARRAY_SIZE(offsets)],
		.from = offsets[index % ARRAY_SIZE(offsets)].source,
		.to = offsets[index % ARRAY_SIZE(offsets)].target,
	};
}

/* A cookie that has bits in both halves. */
static uint64_t next_cookie(void)
{
	static uint64_t state = 0xfedcba9876543210;

	return next_random(&state);
}

TEST_F(work, query)
{
	struct idxd_ims_query other;
	int file = ims_open(0);

	EXPECT_EQ(0, self->query.ops >> (IDXD_IMS_OP_CRC + 1));
	EXPECT_LT(0, self->query.entries);
	EXPECT_LT(0, self->query.file_items);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ims_query(file, &other));
	EXPECT_EQ(self->query.ops, other.ops);
	EXPECT_EQ(self->query.entries, other.entries);
	EXPECT_EQ(self->query.file_items, other.file_items);
	/* The model does all of them. */
	if (ims_page())
		EXPECT_EQ(0x1f, self->query.ops);
}

TEST_F(work, noop)
{
	for (int i = 0; i < 3; i++) {
		struct idxd_ims_item item = noop_item(next_cookie());
		struct idxd_ims_completion completion;

		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, item.cookie, 0, 0);
	}
	EXPECT_NOTHING_LEFT(self->file);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
}

TEST_F_TIMEOUT(work, copy, 60)
{
	unsigned char *expected = untouched(REGION);

	ASSERT_NE(NULL, expected);
	for (int n = 0; n < RANGES; n++) {
		const uint64_t length = range_of(n).length;
		const uint64_t from = range_of(n).from, to = range_of(n).to;
		struct idxd_ims_item item = copy_item(self->source.buffer, from,
						      self->target.buffer, to, length,
						      next_cookie());
		struct idxd_ims_completion completion;

		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, item.cookie, length, 0);
		memcpy(expected + to, self->source.bytes + from, length);
		EXPECT_EQ(0, memcmp(expected, self->target.bytes, REGION))
			TH_LOG("%d bytes from %d to %d", (int)length, (int)from, (int)to);
		memset(expected + to, UNTOUCHED, length);
		memset(self->target.bytes + to, UNTOUCHED, length);
	}
}

TEST_F_TIMEOUT(work, fill, 60)
{
	unsigned char *expected = untouched(REGION);

	ASSERT_NE(NULL, expected);
	if (!has_op(&self->query, IDXD_IMS_OP_FILL))
		SKIP(return, "the device does not fill");
	for (int n = 0; n < RANGES; n++) {
		const uint64_t length = range_of(n).length;
		const uint64_t from = range_of(n).from, to = range_of(n).to;
		struct idxd_ims_item item = {
			.op = IDXD_IMS_OP_FILL, .interrupt = IDXD_IMS_NO_INTERRUPT,
			.target = self->target.buffer, .target_offset = to, .length = length,
			.value = PATTERN ^ from, .cookie = next_cookie(),
		};
		struct idxd_ims_completion completion;

		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, item.cookie, length, 0);
		/* The first byte of the value is at the beginning of the range. */
		for (uint64_t i = 0; i < length; i++)
			expected[to + i] = item.value >> i % 8 * 8;
		EXPECT_EQ(0, memcmp(expected, self->target.bytes, REGION))
			TH_LOG("%d bytes at %d", (int)length, (int)to);
		memset(expected + to, UNTOUCHED, length);
		memset(self->target.bytes + to, UNTOUCHED, length);
	}
}

TEST_F_TIMEOUT(work, compare, 60)
{
	if (!has_op(&self->query, IDXD_IMS_OP_COMPARE))
		SKIP(return, "the device does not compare");
	for (int n = 0; n < RANGES; n++) {
		const uint64_t length = range_of(n).length;
		const uint64_t from = range_of(n).from, to = range_of(n).to;
		const uint64_t places[] = { 0, length / 2, length - 1, length };
		struct idxd_ims_item item = copy_item(self->source.buffer, from,
						      self->target.buffer, to, length, 0);

		item.op = IDXD_IMS_OP_COMPARE;
		memcpy(self->target.bytes + to, self->source.bytes + from, length);
		/* Bytes around it do not matter, but for the last place. */
		self->target.bytes[to + length] = ~self->source.bytes[from + length];
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			struct idxd_ims_completion completion;
			uint64_t at = places[i];

			if (at < length)
				self->target.bytes[to + at] ^= 0x10;
			item.cookie = next_cookie();
			ASSERT_EQ(0, ims_do(self->file, &item, &completion));
			EXPECT_COMPLETION(&completion, item.cookie, at, at < length);
			if (at < length)
				self->target.bytes[to + at] ^= 0x10;
		}
		EXPECT_EQ(0, memcmp(self->target.bytes + to, self->source.bytes + from, length));
	}
}

/* Of several differences, the first one counts, wherever the driver splits the range. */
TEST_F(work, compare_finds_the_first)
{
	struct idxd_ims_item item = copy_item(self->source.buffer, 3, self->target.buffer, 5,
					      MIB, 1);
	struct idxd_ims_completion completion;

	if (!has_op(&self->query, IDXD_IMS_OP_COMPARE))
		SKIP(return, "the device does not compare");
	item.op = IDXD_IMS_OP_COMPARE;
	memcpy(self->target.bytes + 5, self->source.bytes + 3, MIB);
	for (int at = MIB - 1; at >= 0; at = at / 2 - 1) {
		self->target.bytes[5 + at] ^= 1;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, 1, at, 1);
	}
}

TEST_F_TIMEOUT(work, crc, 60)
{
	static const __u32 seeds[] = { 0, SEED, ~0U };

	EXPECT_EQ(0xe3069283, crc32c(0, "123456789", 9));
	if (!has_op(&self->query, IDXD_IMS_OP_CRC))
		SKIP(return, "the device computes no CRC");
	for (int n = 0; n < RANGES; n++) {
		const uint64_t length = range_of(n).length;
		const uint64_t from = range_of(n).from, to = range_of(n).to;

		for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
			struct idxd_ims_item item = {
				.op = IDXD_IMS_OP_CRC, .interrupt = IDXD_IMS_NO_INTERRUPT,
				.source = self->source.buffer, .source_offset = from,
				.length = length, .value = seeds[i], .cookie = to << 32 | i,
			};
			struct idxd_ims_completion completion;
			__u32 crc = crc32c(seeds[i], self->source.bytes + from, length);

			/* Once is enough for what takes long. */
			if (length == MIB && (i || from > 1))
				continue;
			ASSERT_EQ(0, ims_do(self->file, &item, &completion));
			EXPECT_COMPLETION(&completion, item.cookie, length, crc);
		}
	}
}

/* The result of the first part is the seed of the second, wherever the border is. */
TEST_F(work, crc_in_parts)
{
	static const char digits[] = "123456789";
	struct idxd_ims_item item = {
		.op = IDXD_IMS_OP_CRC, .interrupt = IDXD_IMS_NO_INTERRUPT,
		.source = self->source.buffer,
	};

	if (!has_op(&self->query, IDXD_IMS_OP_CRC))
		SKIP(return, "the device computes no CRC");
	memcpy(self->source.bytes + PAGE - 4, digits, 9);
	for (int at = 1; at < 9; at++) {
		struct idxd_ims_completion completion;

		item.source_offset = PAGE - 4;
		item.length = at;
		item.value = 0;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_EQ(crc32c(0, digits, at), completion.result);
		item.source_offset += at;
		item.length = 9 - at;
		item.value = completion.result;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_EQ(0xe3069283, completion.result) TH_LOG("%d bytes first", at);
	}
}

/* Within one buffer, from one range to another that touches it. */
TEST_F(work, copy_within_a_buffer)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item items[] = {
		copy_item(self->target.buffer, 100, self->target.buffer, 200, 100, 1),
		copy_item(self->target.buffer, 200, self->target.buffer, 100, 100, 2),
	};

	for (int i = 0; i < ARRAY_SIZE(items); i++) {
		randomize(self->target.bytes + items[i].source_offset, 100, i + 1);
		ASSERT_EQ(0, ims_do(self->file, &items[i], &completion));
		EXPECT_EQ(0, memcmp(self->target.bytes + 100, self->target.bytes + 200, 100));
	}
	EXPECT_EQ(UNTOUCHED, self->target.bytes[99]);
	EXPECT_EQ(UNTOUCHED, self->target.bytes[300]);
}

/* The whole of a buffer, and its last byte. */
TEST_F(work, to_the_end_of_a_buffer)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = copy_item(self->source.buffer, 0, self->target.buffer, 0,
					      REGION, 1);

	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_COMPLETION(&completion, 1, REGION, 0);
	EXPECT_EQ(0, memcmp(self->source.bytes, self->target.bytes, REGION));
	item = copy_item(self->source.buffer, 7, self->target.buffer, REGION - 1, 1, 2);
	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_EQ(self->source.bytes[7], self->target.bytes[REGION - 1]);
}

/* One signal for each item, by a message of the device, however often the item was split. */
TEST_F(work, interrupt)
{
	struct idxd_ims_completion completion;
	int times = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct idxd_ims_item item = copy_item(self->source.buffer, 1,
						      self->target.buffer, 2, lengths[i], i);

		item.interrupt = self->irq.id;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, i, lengths[i], 0);
		times++;
		ASSERT_TRUE(wait_for(ims_signals(&self->irq) >= times));
		item = noop_item(i);
		item.interrupt = self->irq.id;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		times++;
		ASSERT_TRUE(wait_for(ims_signals(&self->irq) >= times));
		/* And none for items that name none. */
		item = noop_item(i);
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	}
	EXPECT_ARRIVED_IN_ALL(&self->irq, times);
	EXPECT_DEVICE(&self->irq, times, 0, 0);
}

/* When it is signalled, the completion is there to be read. */
TEST_F(work, signal_means_completion)
{
	struct idxd_ims_completion completion;

	ims_set_nonblock(self->file, true);
	for (int i = 1; i <= BATCH; i++) {
		struct idxd_ims_item item = noop_item(i);

		item.interrupt = self->irq.id;
		ASSERT_EQ(1, ims_work(self->file, &item, 1));
		ASSERT_TRUE(wait_for(ims_signals(&self->irq) >= i));
		ASSERT_EQ(1, ims_read(self->file, &completion, 1));
		EXPECT_EQ(i, completion.cookie);
	}
	EXPECT_ARRIVED_IN_ALL(&self->irq, BATCH);
}

/* The completion of an item whose interrupt is masked can be read all the same. */
TEST_F(work, masked)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(5);

	item.interrupt = self->irq.id;
	ASSERT_EQ(0, ims_mask(&self->irq));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_COMPLETION(&completion, 5, 0, 0);
	}
	EXPECT_STATE(&self->irq, true, true);
	EXPECT_EQ(0, ims_signals(&self->irq));
	ASSERT_EQ(0, ims_unmask(&self->irq));
	EXPECT_ARRIVED_IN_ALL(&self->irq, 1);
}

/* Items with interrupts of their own, and the calls of before in between. */
TEST_F(work, interrupts_of_their_own)
{
	struct idxd_ims_item items[8];
	struct idxd_ims_completion completions[8];
	struct ims_irq irqs[8];

	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &irqs[i]));
		items[i] = copy_item(self->source.buffer, i, self->target.buffer, i * 100, 100,
				     i);
		items[i].interrupt = irqs[i].id;
	}
	ASSERT_EQ(8, ims_work(self->file, items, 8));
	EXPECT_EQ(0, ims_noop(&self->irq));
	EXPECT_EQ(0, ims_copy(&self->irq, 8000));
	ASSERT_EQ(8, ims_collect(self->file, completions, 8));
	expect_each_once(_metadata, completions, 8, 0);
	for (int i = 0; i < 8; i++)
		EXPECT_ARRIVED(&irqs[i], 1);
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(0, ims_free(&irqs[i]));
}

/* One call submits, another collects. */
TEST_F(work, one_call_each)
{
	struct idxd_ims_completion completions[BATCH + 1];
	struct idxd_ims_item items[BATCH];

	for (int i = 0; i < BATCH; i++) {
		items[i] = copy_item(self->source.buffer, i, self->target.buffer, i * PAGE, PAGE,
				     100 + i);
		items[i].interrupt = self->irq.id;
	}
	ASSERT_EQ(BATCH, ims_work(self->file, items, BATCH));
	/* Unread, they wait. */
	ASSERT_TRUE(wait_for(!memcmp(self->target.bytes + (BATCH - 1) * PAGE,
				     self->source.bytes + BATCH - 1, PAGE)));
	settle();
	ASSERT_EQ(BATCH, ims_read(self->file, completions, BATCH + 1));
	expect_each_once(_metadata, completions, BATCH, 100);
	for (int i = 0; i < BATCH; i++) {
		uint64_t at = completions[i].cookie - 100;

		EXPECT_COMPLETION(&completions[i], 100 + at, PAGE, 0);
		EXPECT_EQ(0, memcmp(self->target.bytes + i * PAGE, self->source.bytes + i, PAGE));
	}
	EXPECT_NOTHING_LEFT(self->file);
	/* A handler may see several messages as one. */
	EXPECT_LT(0, ims_signals(&self->irq));
	EXPECT_GE(BATCH, ims_signals(&self->irq));
	EXPECT_DEVICE(&self->irq, BATCH, 0, 0);
}

/* More than there is room for: the call waits, and has all accepted. */
TEST_F_TIMEOUT(work, more_than_entries, 60)
{
	const int file_items = self->query.file_items;
	int count = self->query.entries * 2 + 16;
	struct idxd_ims_completion *completions;
	struct idxd_ims_item *items;

	if (count > file_items)
		count = file_items;
	items = calloc(count, sizeof(*items));
	completions = calloc(count, sizeof(*completions));
	ASSERT_NE(NULL, items);
	ASSERT_NE(NULL, completions);
	EXPECT_LT(self->query.entries, count);
	for (int i = 0; i < count; i++)
		items[i] = copy_item(self->source.buffer, i % PAGE, self->target.buffer,
				     i % 200 * PAGE, PAGE, i);
	ASSERT_EQ(count, ims_work(self->file, items, count));
	ASSERT_EQ(count, ims_collect(self->file, completions, count));
	expect_each_once(_metadata, completions, count, 0);
	EXPECT_NOTHING_LEFT(self->file);
}

/*
 * The same without waiting: some are accepted, then none, until there is room. Who is told
 * that there is, by poll(), has an item accepted.
 */
TEST_F_TIMEOUT(work, more_than_entries_nonblock, 60)
{
	const int most = self->query.entries * 4 + 64, file_items = self->query.file_items;
	struct idxd_ims_completion *completions = calloc(most, sizeof(*completions));
	struct idxd_ims_item *items = calloc(most, sizeof(*items));
	int accepted = 0, refused = 0, got = 0, rooms = 0, err;

	ASSERT_NE(NULL, items);
	ASSERT_NE(NULL, completions);
	for (int i = 0; i < most; i++)
		items[i] = copy_item(self->source.buffer, i % PAGE, self->target.buffer,
				     i % PAGE, LARGE, i);
	ims_set_nonblock(self->file, true);
	while (accepted < most) {
		err = ims_work(self->file, items + accepted, most - accepted);
		if (err == -EBUSY) {
			EXPECT_EQ(file_items, accepted - got);
			err = ims_collect(self->file, completions + got, 1);
			ASSERT_EQ(1, err);
			got++;
			continue;
		}
		if (err == -EAGAIN) {
			refused++;
			ASSERT_EQ(POLLOUT, ims_poll(self->file, POLLOUT, DEADLINE_MS));
			rooms++;
			ASSERT_LT(0, ims_work(self->file, items + accepted, 1));
			accepted++;
			continue;
		}
		ASSERT_LT(0, err);
		accepted += err;
	}
	EXPECT_LT(0, refused) TH_LOG("%d items of %d bytes at once", most, LARGE);
	EXPECT_EQ(refused, rooms);
	ASSERT_EQ(most - got, ims_collect(self->file, completions + got, most - got));
	expect_each_once(_metadata, completions, most, 0);
	for (int i = 0; i < most; i++)
		EXPECT_EQ(IDXD_IMS_COMPLETED, completions[i].status);
	EXPECT_EQ(-EAGAIN, ims_read(self->file, completions, 1));
}

/* Completions that nobody reads are kept, up to a limit, and none is lost. */
TEST_F_TIMEOUT(work, unread_completions, 120)
{
	const int most = self->query.file_items;
	struct idxd_ims_completion *completions = calloc(most + 1, sizeof(*completions));
	struct idxd_ims_item *items = calloc(most + 1, sizeof(*items));
	int accepted = 0, err;

	ASSERT_NE(NULL, items);
	ASSERT_NE(NULL, completions);
	for (int i = 0; i <= most; i++)
		items[i] = noop_item(i);
	/* Not with O_NONBLOCK either way: it would wait for the one that it keeps from reading. */
	for (int nonblock = 0; nonblock < 2; nonblock++) {
		const uint64_t end = now_ms() + DEADLINE_MS * 4;

		ims_set_nonblock(self->file, nonblock);
		for (accepted = 0; accepted <= most; accepted += err) {
			int count = most + 1 - accepted;

			err = ims_work(self->file, items + accepted,
				       count > MOST_ITEMS ? MOST_ITEMS : count);
			if (err == -EAGAIN && now_ms() < end) {
				ims_poll(self->file, POLLOUT, SETTLE_MS);
				err = 0;
			}
			if (err < 0)
				break;
		}
		EXPECT_EQ(-EBUSY, err);
		ASSERT_EQ(most, accepted);
		/* Nor once they are done. */
		settle();
		EXPECT_EQ(-EBUSY, ims_work(self->file, items + most, 1));
		EXPECT_EQ(0, ims_poll(self->file, POLLOUT, 0));

		/* One that is read makes room for one. */
		ASSERT_EQ(1, ims_collect(self->file, completions, 1));
		EXPECT_EQ(POLLOUT, ims_poll(self->file, POLLOUT, DEADLINE_MS));
		ASSERT_EQ(1, ims_work(self->file, items + most, 1));
		EXPECT_EQ(-EBUSY, ims_work(self->file, items, 1));
		ASSERT_EQ(most, ims_collect(self->file, completions + 1, most));
		expect_each_once(_metadata, completions, most + 1, 0);
		EXPECT_NOTHING_LEFT(self->file);
	}
}

TEST_F(work, poll)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 77 };
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(1);

	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->file, &event));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(POLLOUT, ims_poll(self->file, POLLIN | POLLOUT, 0));
		EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
		ASSERT_EQ(1, ims_work(self->file, &item, 1));
		event.data.u64 = 0;
		ASSERT_EQ(1, epoll_wait(epoll, &event, 1, DEADLINE_MS));
		EXPECT_EQ(77, event.data.u64);
		EXPECT_EQ(EPOLLIN, event.events);
		EXPECT_EQ(POLLIN, ims_poll(self->file, POLLIN, DEADLINE_MS));
		EXPECT_EQ(POLLIN, ims_poll(self->file, POLLIN, 0)) TH_LOG("still there");
		ASSERT_EQ(1, ims_read(self->file, &completion, 1));
		EXPECT_EQ(0, ims_poll(self->file, POLLIN, SETTLE_MS));
	}
	/* As long as one of several is there. */
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, ims_work(self->file, &item, 1));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(POLLIN, ims_poll(self->file, POLLIN, DEADLINE_MS));
		ASSERT_EQ(1, ims_read(self->file, &completion, 1));
	}
	EXPECT_EQ(POLLOUT, ims_poll(self->file, POLLIN | POLLOUT, 0));
	close(epoll);
}

/* A read that waits is woken by an item without an interrupt. */
TEST_F(work, blocking_read)
{
	struct idxd_ims_item item = noop_item(9);
	struct idxd_ims_completion completion;
	pid_t child;

	for (int i = 0; i < 5; i++) {
		child = start();
		ASSERT_LE(0, child);
		if (!child)
			_exit(ims_read(self->file, &completion, 1) != 1 || completion.cookie != 9);
		settle();
		EXPECT_EQ(0, waitpid(child, NULL, WNOHANG)) TH_LOG("it does not wait");
		ASSERT_EQ(1, ims_work(self->file, &item, 1));
		EXPECT_EQ(0, finish(child, DEADLINE_MS));
	}
	EXPECT_NOTHING_LEFT(self->file);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* A signal ends the wait, and costs nothing. */
TEST_F(work, eintr)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 50000 };
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(3);
	struct sigaction before;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, &before));
	for (int i = 0; i < 3; i++) {
		unsigned int left = alarm(0);

		ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
		EXPECT_EQ(-EINTR, ims_read(self->file, &completion, 1));
		alarm(left);
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_EQ(3, completion.cookie);
	}
	ASSERT_EQ(0, sigaction(SIGALRM, &before, NULL));
	EXPECT_NOTHING_LEFT(self->file);
}

TEST_F(work, read_sizes)
{
	struct idxd_ims_completion completions[4] = {};
	struct idxd_ims_item items[3] = { noop_item(0), noop_item(1), noop_item(2) };
	const size_t one = sizeof(completions[0]);
	unsigned char *end = end_of_page();

	ASSERT_NE(NULL, end);
	ims_set_nonblock(self->file, true);
	EXPECT_EQ(-EAGAIN, ims_read(self->file, completions, 1));
	for (size_t size = 0; size < one; size++) {
		EXPECT_EQ(-1, read(self->file, completions, size));
		EXPECT_EQ(EINVAL, errno) TH_LOG("%zu bytes", size);
	}
	ASSERT_EQ(3, ims_work(self->file, items, 3));
	ims_set_nonblock(self->file, false);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(POLLIN, ims_poll(self->file, POLLIN, DEADLINE_MS));
	settle();
	for (size_t size = 0; size < one; size++) {
		EXPECT_EQ(-1, read(self->file, completions, size));
		EXPECT_EQ(EINVAL, errno) TH_LOG("%zu bytes", size);
	}
	/* Where nothing can be written, nothing is lost. */
	EXPECT_EQ(-EFAULT, ims_read(self->file, NULL, 1));
	EXPECT_EQ(-EFAULT, ims_read(self->file, (void *)(end - one + 1), 1));
	/* Whole ones only, and only where they fit. */
	EXPECT_EQ(one, read(self->file, completions, 2 * one - 1));
	EXPECT_EQ(one, read(self->file, end - one, 2 * one));
	memcpy(&completions[1], end - one, one);
	EXPECT_EQ(1, ims_read(self->file, completions + 2, 2));
	expect_each_once(_metadata, completions, 3, 0);
	EXPECT_NOTHING_LEFT(self->file);
}

/* What stands for a buffer of the fixture in the tables below. */
#define SOURCE 1000001
#define TARGET 1000002

/* Puts the buffers and the interrupt where their stand-ins are. */
static struct idxd_ims_item as_item(const struct idxd_ims_item *item,
				    const struct region *source, const struct region *target)
{
	struct idxd_ims_item real = *item;

	for (int i = 0; i < 2; i++) {
		__u32 *buffer = i ? &real.target : &real.source;

		if (*buffer == SOURCE)
			*buffer = source->buffer;
		else if (*buffer == TARGET)
			*buffer = target->buffer;
	}
	return real;
}

#define ITEM(op_, more_...) \
	{ .op = IDXD_IMS_OP_##op_, .interrupt = IDXD_IMS_NO_INTERRUPT, more_ }
#define FROM(buffer_, offset_) .source = (buffer_), .source_offset = (offset_)
#define TO(buffer_, offset_) .target = (buffer_), .target_offset = (offset_)
#define COPY_100 FROM(SOURCE, 0), TO(TARGET, 0), .length = 100

static const struct {
	const char *what;
	int error;
	struct idxd_ims_item item;
} bad_items[] = {
	{ "unknown operation", EINVAL, { .op = 5, .interrupt = -1 } },
	{ "unknown operation", EINVAL, { .op = 63, .interrupt = -1 } },
	{ "unknown operation", EINVAL, { .op = 64, .interrupt = -1 } },
	{ "unknown operation", EINVAL, { .op = ~0U, .interrupt = -1 } },
	{ "unknown source", ENOENT, ITEM(COPY, FROM(NO_BUFFER, 0), TO(TARGET, 0), .length = 1) },
	{ "unknown target", ENOENT, ITEM(COPY, FROM(SOURCE, 0), TO(NO_BUFFER, 0), .length = 1) },
	{ "unknown target", ENOENT, ITEM(FILL, TO(NO_BUFFER, 0), .length = 1) },
	{ "unknown source", ENOENT, ITEM(CRC, FROM(~0U, 0), .length = 1) },
	{ "source short", EINVAL, ITEM(COPY, FROM(SOURCE, 1), TO(TARGET, 0), .length = REGION) },
	{ "target short", EINVAL, ITEM(COPY, FROM(SOURCE, 0), TO(TARGET, 1), .length = REGION) },
	{ "source ends", EINVAL, ITEM(COPY, FROM(SOURCE, REGION), TO(TARGET, 0), .length = 1) },
	{ "target ends", EINVAL, ITEM(FILL, TO(TARGET, REGION), .length = 1) },
	{ "target ends", EINVAL, ITEM(FILL, TO(TARGET, REGION + PAGE), .length = 1) },
	{ "length beyond", EINVAL, ITEM(CRC, FROM(SOURCE, 0), .length = REGION + 1) },
	{ "length beyond", EINVAL, ITEM(CRC, FROM(SOURCE, 0), .length = 1ULL << 32) },
	{ "length beyond", EINVAL, ITEM(CRC, FROM(SOURCE, 0), .length = ~0ULL) },
	{ "overflow", EINVAL, ITEM(CRC, FROM(SOURCE, ~0ULL), .length = 1) },
	{ "overflow", EINVAL, ITEM(CRC, FROM(SOURCE, ~0ULL - 99), .length = 101) },
	{ "overflow", EINVAL, ITEM(COPY, FROM(SOURCE, 0), TO(TARGET, -100ULL), .length = 100) },
	{ "overflow", EINVAL, ITEM(COMPARE, FROM(SOURCE, 1), TO(TARGET, 1), .length = ~0ULL) },
	{ "target only read", EACCES, ITEM(COPY, FROM(TARGET, 0), TO(SOURCE, 0), .length = 1) },
	{ "target only read", EACCES, ITEM(FILL, TO(SOURCE, 0), .length = 1) },
	{ "overlap", EINVAL, ITEM(COPY, FROM(TARGET, 0), TO(TARGET, 0), .length = 1) },
	{ "overlap", EINVAL, ITEM(COPY, FROM(TARGET, 0), TO(TARGET, 99), .length = 100) },
	{ "overlap", EINVAL, ITEM(COPY, FROM(TARGET, 99), TO(TARGET, 0), .length = 100) },
	{ "no length", EINVAL, ITEM(COPY, FROM(SOURCE, 0), TO(TARGET, 0)) },
	{ "no length", EINVAL, ITEM(FILL, TO(TARGET, 0)) },
	{ "no length", EINVAL, ITEM(COMPARE, FROM(SOURCE, 0), TO(TARGET, 0)) },
	{ "no length", EINVAL, ITEM(CRC, FROM(SOURCE, 0)) },
	{ "reserved", EINVAL, ITEM(NOOP, .reserved = 1) },
	{ "reserved", EINVAL, ITEM(COPY, COPY_100, .reserved = 1ULL << 63) },
	{ "noop: source", EINVAL, ITEM(NOOP, .source = 1) },
	{ "noop: target", EINVAL, ITEM(NOOP, .target = 1) },
	{ "noop: source offset", EINVAL, ITEM(NOOP, .source_offset = 1) },
	{ "noop: target offset", EINVAL, ITEM(NOOP, .target_offset = 1) },
	{ "noop: length", EINVAL, ITEM(NOOP, .length = 1) },
	{ "noop: value", EINVAL, ITEM(NOOP, .value = 1) },
	{ "copy: value", EINVAL, ITEM(COPY, COPY_100, .value = 1) },
	{ "compare: value", EINVAL, ITEM(COMPARE, COPY_100, .value = 1ULL << 63) },
	{ "fill: offset", EINVAL, ITEM(FILL, .source_offset = 1, TO(TARGET, 0), .length = 1) },
	{ "crc: offset", EINVAL, ITEM(CRC, FROM(SOURCE, 0), .target_offset = 1, .length = 1) },
	{ "crc: seed", EINVAL, ITEM(CRC, FROM(SOURCE, 0), .length = 1, .value = 1ULL << 32) },
	{ "unknown interrupt", ENOENT, { .op = IDXD_IMS_OP_NOOP, .interrupt = 0x13579bd } },
	{ "unknown interrupt", ENOENT, { .op = IDXD_IMS_OP_NOOP, .interrupt = INT_MAX } },
	{ "unknown interrupt", ENOENT, { .op = IDXD_IMS_OP_NOOP, .interrupt = -2 } },
	{ "unknown interrupt", ENOENT, { .op = IDXD_IMS_OP_NOOP, .interrupt = INT_MIN } },
};

/* None of them does anything, and the file still works. */
TEST_F_TIMEOUT(work, bad_items, 60)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item good = noop_item(6);

	for (size_t i = 0; i < ARRAY_SIZE(bad_items); i++) {
		struct idxd_ims_item item = as_item(&bad_items[i].item, &self->source,
						    &self->target);

		EXPECT_EQ(-bad_items[i].error, ims_work(self->file, &item, 1))
			TH_LOG("%zu: %s", i, bad_items[i].what);
	}
	EXPECT_NOTHING_LEFT(self->file);
	for (int i = 0; i < REGION; i++)
		ASSERT_EQ(UNTOUCHED, self->target.bytes[i]);
	ASSERT_EQ(0, ims_do(self->file, &good, &completion));
	EXPECT_COMPLETION(&completion, 6, 0, 0);
	EXPECT_ARRIVED_IN_ALL(&self->irq, 0);
}

/* The unused buffer of an operation that has one must be zero, which is a buffer's number, too. */
TEST_F(work, unused_buffers)
{
	struct region region;
	struct idxd_ims_item items[2];

	/* One that is not 0. */
	for (int i = 0; i < 2; i++)
		set_region(_metadata, self->file, &region, PAGE, IDXD_IMS_BUFFER_WRITE);
	ASSERT_NE(0, region.buffer);
	items[0] = (struct idxd_ims_item) {
		.op = IDXD_IMS_OP_FILL, .interrupt = IDXD_IMS_NO_INTERRUPT, .length = 1,
		.source = region.buffer, .target = self->target.buffer,
	};
	items[1] = (struct idxd_ims_item) {
		.op = IDXD_IMS_OP_CRC, .interrupt = IDXD_IMS_NO_INTERRUPT, .length = 1,
		.source = self->source.buffer, .target = region.buffer,
	};
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(-EINVAL, ims_work(self->file, &items[i], 1));
	EXPECT_NOTHING_LEFT(self->file);
}

/* An interrupt has to have an eventfd, and to be this file's, when an item names it. */
TEST_F(work, bad_interrupts)
{
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(1);
	struct ims_irq irq, foreign;
	int other = ims_open(0);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ims_alloc(self->file, -1, &irq));
	item.interrupt = irq.id;
	EXPECT_EQ(-EINVAL, ims_work(self->file, &item, 1));
	ASSERT_EQ(0, ims_bind(&irq, new_eventfd()));
	ASSERT_EQ(0, ims_do(self->file, &item, &completion));
	EXPECT_ARRIVED(&irq, 1);
	ASSERT_EQ(0, ims_bind(&irq, -1));
	EXPECT_EQ(-EINVAL, ims_work(self->file, &item, 1));
	ASSERT_EQ(0, ims_free(&irq));
	EXPECT_EQ(-ENOENT, ims_work(self->file, &item, 1));

	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, ims_alloc(other, new_eventfd(), &foreign));
	ASSERT_NE(self->irq.id, foreign.id);
	item.interrupt = foreign.id;
	EXPECT_EQ(-ENOENT, ims_work(self->file, &item, 1));
	EXPECT_NOTHING_LEFT(self->file);
	EXPECT_ARRIVED_IN_ALL(&foreign, 0);
}

/* Buffers are those of a file. */
TEST_F(work, foreign_buffers)
{
	struct idxd_ims_item item;
	struct region region;
	int other = ims_open(0);

	ASSERT_LE(0, other);
	for (int i = 0; i < 4; i++)
		set_region(_metadata, other, &region, PAGE, IDXD_IMS_BUFFER_WRITE);
	ASSERT_NE(self->source.buffer, region.buffer);
	ASSERT_NE(self->target.buffer, region.buffer);
	item = copy_item(self->source.buffer, 0, region.buffer, 0, 100, 1);
	EXPECT_EQ(-ENOENT, ims_work(self->file, &item, 1));
	EXPECT_EQ(-ENOENT, ims_unregister(self->file, region.buffer));
	EXPECT_EQ(UNTOUCHED, region.bytes[0]);
	EXPECT_EQ(0, ims_unregister(other, region.buffer));
	EXPECT_EQ(-ENOENT, ims_unregister(other, region.buffer));
}

/* Calls that are wrong as such change nothing, nor what they would tell. */
TEST_F(work, bad_calls)
{
	struct idxd_ims_item item = noop_item(1);
	const struct idxd_ims_work good = {
		.size = sizeof(good), .items = (unsigned long)&item, .count = 1,
		.accepted = NO_BUFFER,
	};
	static const __u64 addresses[] = {
		0, 1, 0xffff888000000000, 0xffffffff81000000, 0x8000000000000000,
		0x7ffffffffffffff8, -8ULL,
	};
	struct idxd_ims_work work;

	for (int bit = 0; bit < 32; bit++) {
		work = good;
		work.flags = 1U << bit;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_WORK, &work));
		EXPECT_EQ(NO_BUFFER, work.accepted);
	}
	for (int i = 0; i < 3; i++) {
		work = good;
		work.count = i == 0 ? 0 : i == 1 ? MOST_ITEMS + 1 : ~0U;
		EXPECT_EQ(-EINVAL, ims_call(self->file, IDXD_IMS_WORK, &work))
			TH_LOG("%u items", work.count);
		EXPECT_EQ(NO_BUFFER, work.accepted);
	}
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		work = good;
		work.items = addresses[i];
		EXPECT_EQ(-EFAULT, ims_call(self->file, IDXD_IMS_WORK, &work))
			TH_LOG("items at %#llx", (unsigned long long)work.items);
		EXPECT_EQ(NO_BUFFER, work.accepted);
	}
	EXPECT_NOTHING_LEFT(self->file);
	work = good;
	EXPECT_EQ(0, ims_call(self->file, IDXD_IMS_WORK, &work));
	EXPECT_EQ(1, work.accepted);
}

/* What comes before an item that is wrong is accepted, and the call that begins with it fails. */
TEST_F(work, bad_item_after_good_ones)
{
	struct idxd_ims_completion completions[5];
	unsigned char *end = end_of_page();
	struct idxd_ims_item items[5], *cut;

	for (int i = 0; i < 5; i++)
		items[i] = copy_item(self->source.buffer, 0, self->target.buffer, i * 100, 100, i);
	items[2].source_offset = REGION;
	ASSERT_EQ(2, ims_work(self->file, items, 5));
	EXPECT_EQ(-EINVAL, ims_work(self->file, items + 2, 3));
	EXPECT_EQ(2, ims_work(self->file, items + 3, 2));
	ASSERT_EQ(4, ims_collect(self->file, completions, 4));
	for (int i = 0; i < 4; i++) {
		EXPECT_NE(2, completions[i].cookie);
		if (completions[i].cookie > 2)
			completions[i].cookie--;
	}
	expect_each_once(_metadata, completions, 4, 0);
	EXPECT_EQ(0, memcmp(self->target.bytes + 100, self->source.bytes, 100));
	EXPECT_EQ(UNTOUCHED, self->target.bytes[200]);
	EXPECT_EQ(0, memcmp(self->target.bytes + 300, self->source.bytes, 100));

	/* The third cannot be read. */
	ASSERT_NE(NULL, end);
	cut = (struct idxd_ims_item *)(end - 2 * sizeof(*cut) - 8);
	for (int i = 0; i < 2; i++)
		cut[i] = noop_item(i);
	ASSERT_EQ(2, ims_work(self->file, cut, 5));
	EXPECT_EQ(-EFAULT, ims_work(self->file, cut + 2, 3));
	ASSERT_EQ(2, ims_collect(self->file, completions, 2));
	expect_each_once(_metadata, completions, 2, 0);
	EXPECT_NOTHING_LEFT(self->file);
}

/* As many in one call as a call can have. */
TEST_F_TIMEOUT(work, most_items, 120)
{
	struct idxd_ims_item *items = calloc(MOST_ITEMS, sizeof(*items));
	struct idxd_ims_completion *completions = calloc(MOST_ITEMS, sizeof(*completions));
	int accepted = 0, got = 0, err;

	ASSERT_NE(NULL, items);
	ASSERT_NE(NULL, completions);
	for (int i = 0; i < MOST_ITEMS; i++)
		items[i] = noop_item(i);
	while (accepted < MOST_ITEMS) {
		err = ims_work(self->file, items + accepted, MOST_ITEMS - accepted);
		ASSERT_LT(0, err);
		accepted += err;
		ASSERT_GE(self->query.file_items, accepted - got);
		ASSERT_EQ(accepted - got,
			  ims_collect(self->file, completions + got, accepted - got));
		got = accepted;
	}
	expect_each_once(_metadata, completions, MOST_ITEMS, 0);
	EXPECT_NOTHING_LEFT(self->file);
}

/* Each file of a work queue gets its own completions. */
TEST_F(work, two_files)
{
	struct idxd_ims_completion completions[BATCH];
	struct idxd_ims_item item;
	struct region target;
	int other = ims_open(0);

	ASSERT_LE(0, other);
	set_region(_metadata, other, &target, PAGE, IDXD_IMS_BUFFER_WRITE);
	for (int i = 0; i < BATCH; i++) {
		item = noop_item(i);
		ASSERT_EQ(1, ims_work(self->file, &item, 1));
		item = (struct idxd_ims_item) {
			.op = IDXD_IMS_OP_COPY, .interrupt = IDXD_IMS_NO_INTERRUPT, .length = 8,
			.source = target.buffer, .target = target.buffer, .target_offset = 8,
			.cookie = 1000 + i,
		};
		ASSERT_EQ(1, ims_work(other, &item, 1));
	}
	ASSERT_EQ(BATCH, ims_collect(other, completions, BATCH));
	expect_each_once(_metadata, completions, BATCH, 1000);
	ASSERT_EQ(BATCH, ims_collect(self->file, completions, BATCH));
	expect_each_once(_metadata, completions, BATCH, 0);
	EXPECT_NOTHING_LEFT(self->file);
	EXPECT_NOTHING_LEFT(other);
}

static int load(const int *number)
{
	return __atomic_load_n(number, __ATOMIC_RELAXED);
}

/* Processes that share a file: each completion is somebody's, and only once. */
TEST_F_TIMEOUT(work, shared_file, 60)
{
	struct shared {
		int read;
		int times[SHARERS * EACH];
		int wrong;
	} *shared = share(sizeof(*shared));
	pid_t children[SHARERS];

	ASSERT_NE(NULL, shared);
	ims_set_nonblock(self->file, true);
	for (int i = 0; i < SHARERS; i++) {
		children[i] = start();
		ASSERT_LE(0, children[i]);
		if (children[i])
			continue;
		for (int n = 0; load(&shared->read) < SHARERS * EACH;) {
			struct idxd_ims_completion completions[8];
			struct idxd_ims_item item = noop_item(i * EACH + n);
			int err = n < EACH ? ims_work(self->file, &item, 1) : 0;

			n += err > 0;
			if (err < 0 && err != -EAGAIN && err != -EBUSY)
				__atomic_store_n(&shared->wrong, err, __ATOMIC_RELAXED);
			ims_poll(self->file, POLLIN, 10);
			err = ims_read(self->file, completions, 8);
			for (int j = 0; j < err; j++)
				__atomic_add_fetch(&shared->times[completions[j].cookie %
								  (SHARERS * EACH)], 1,
						   __ATOMIC_RELAXED);
			if (err > 0)
				__atomic_add_fetch(&shared->read, err, __ATOMIC_RELAXED);
			else if (err != -EAGAIN)
				__atomic_store_n(&shared->wrong, err, __ATOMIC_RELAXED);
		}
		_exit(0);
	}
	for (int i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, finish(children[i], DEADLINE_MS * 4));
	EXPECT_EQ(0, shared->wrong);
	EXPECT_EQ(SHARERS * EACH, shared->read);
	for (int i = 0; i < SHARERS * EACH; i++) {
		EXPECT_EQ(1, shared->times[i])
			TH_LOG("item %d", i);
	}
	EXPECT_NOTHING_LEFT(self->file);
}

#define HOG_BYTES (64 << 10)

/* Keeps the work queue full with @batch copies, and counts those that are done. Never returns. */
static void hog(void *bytes, int batch, int *done)
{
	struct idxd_ims_item *items = calloc(batch, sizeof(*items));
	struct idxd_ims_completion *completions = calloc(batch, sizeof(*completions));
	int file = ims_open(0), in_flight = 0;
	__u32 buffer;

	if (file < 0 || !items || !completions ||
	    ims_register(file, bytes, REGION, IDXD_IMS_BUFFER_WRITE, &buffer))
		_exit(1);
	for (int i = 0; i < batch; i++)
		items[i] = copy_item(buffer, 0, buffer, MIB / 2, HOG_BYTES, i);
	ims_set_nonblock(file, true);
	for (;;) {
		int err = 0;

		if (in_flight < batch)
			err = ims_work(file, items, batch - in_flight);
		if (err < 0 && err != -EAGAIN)
			_exit(2);
		in_flight += err > 0 ? err : 0;
		ims_poll(file, POLLIN, 1000);
		err = ims_read(file, completions, batch);
		if (err < 0 && err != -EAGAIN)
			_exit(3);
		if (err > 0) {
			in_flight -= err;
			__atomic_add_fetch(done, err, __ATOMIC_RELAXED);
		}
	}
}

/*
 * A process that keeps the work queue full does not starve another one: of its items, few are
 * done for each of the other's.
 */
#define OTHERS 32

TEST_F_TIMEOUT(work, fairness, 90)
{
	const int batch = self->query.file_items < 256 ? self->query.file_items / 2 : 128;
	int *done = share(sizeof(*done)), before, after;
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(0);
	pid_t child;

	ASSERT_NE(NULL, done);
	child = start();
	ASSERT_LE(0, child);
	if (!child)
		hog(self->target.bytes, batch, done);
	ASSERT_TRUE(wait_for(load(done) > batch));
	before = load(done);
	for (int i = 0; i < OTHERS; i++) {
		item.cookie = i;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_EQ(i, completion.cookie);
	}
	after = load(done);
	TH_LOG("%d items of one that fills the queue, for %d of another", after - before, OTHERS);
	EXPECT_LT(before, after) TH_LOG("the queue was not full");
	/* What is in the queue already, and as much until a process that waits runs. */
	EXPECT_GT(OTHERS * (2 * self->query.entries + 256), after - before);
	EXPECT_TRUE(stop(child));
}

/* Files that only ask for an entry, again and again, do not stop one that uses it. */
TEST_F_TIMEOUT(work, unused_offers, 90)
{
	const int batch = self->query.file_items < 256 ? self->query.file_items / 2 : 128;
	const int count = 4 * self->query.entries;
	int *done = share(sizeof(*done)), *rounds = share(sizeof(*rounds)), before;
	struct idxd_ims_completion completion;
	struct idxd_ims_item item = noop_item(0);
	pid_t full, idle;

	ASSERT_NE(NULL, done);
	ASSERT_NE(NULL, rounds);
	full = start();
	ASSERT_LE(0, full);
	if (!full)
		hog(self->target.bytes, batch, done);
	ASSERT_TRUE(wait_for(load(done) > batch));
	idle = start();
	ASSERT_LE(0, idle);
	if (!idle) {
		int *files = calloc(count, sizeof(*files));

		for (int i = 0; files && i < count; i++) {
			files[i] = ims_open(0);
			if (files[i] < 0)
				_exit(1);
		}
		for (;; __atomic_add_fetch(rounds, 1, __ATOMIC_RELAXED)) {
			for (int i = 0; i < count; i++)
				ims_poll(files[i], POLLOUT, 0);
		}
	}
	ASSERT_TRUE(wait_for(load(rounds) > 2));
	EXPECT_TRUE(stop(full));
	before = load(rounds);
	for (int i = 0; i < OTHERS; i++) {
		item.cookie = i;
		ASSERT_EQ(0, ims_do(self->file, &item, &completion));
		EXPECT_EQ(i, completion.cookie);
	}
	EXPECT_TRUE(wait_for(load(rounds) > before));
	EXPECT_TRUE(stop(idle));
}

TEST_HARNESS_MAIN
