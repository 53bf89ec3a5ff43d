/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Items of work, what the CPU makes of them, and the law that each completes once.
 */
#ifndef IMS_WORK_H
#define IMS_WORK_H

#include "expect.h"

#define PAGE 4096
#define MIB 0x100000
/* Room for ranges of 1 MiB at any offset in a page, with bytes around them. */
#define REGION (MIB + 4 * PAGE)

/* The content of memory before anything is written. */
#define UNTOUCHED 0xa5

/* Memory of the program, and the number of its buffer. */
struct region {
	unsigned char *bytes;
	size_t size;
	__u32 buffer;
};

/* xorshift64 */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Fills memory with bytes that depend on @seed, and differ from one place to the next. */
static inline void randomize(void *memory, size_t size, uint64_t seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15 | 1;
	unsigned char *bytes = memory;

	for (size_t i = 0; i < size; i++)
		bytes[i] = next_random(&state) >> 32;
}

/* The CRC-32C of memory that follows memory with the CRC @crc; bit by bit, as in RFC 3720. */
static inline __u32 crc32c(__u32 crc, const void *memory, size_t size)
{
	const unsigned char *bytes = memory;

	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static inline bool has_op(const struct idxd_ims_query *query, __u32 op)
{
	return query->ops >> op & 1;
}

/* Anonymous memory that is in use, and not written to yet. */
static inline unsigned char *untouched(size_t size)
{
	unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return NULL;
	return memset(bytes, UNTOUCHED, size);
}

/* An item that raises no interrupt. */
static inline struct idxd_ims_item noop_item(uint64_t cookie)
{
	return (struct idxd_ims_item) {
		.op = IDXD_IMS_OP_NOOP, .interrupt = IDXD_IMS_NO_INTERRUPT, .cookie = cookie,
	};
}

static inline struct idxd_ims_item copy_item(__u32 source, uint64_t from, __u32 target,
					     uint64_t to, uint64_t length, uint64_t cookie)
{
	return (struct idxd_ims_item) {
		.op = IDXD_IMS_OP_COPY, .interrupt = IDXD_IMS_NO_INTERRUPT,
		.source = source, .source_offset = from, .target = target, .target_offset = to,
		.length = length, .cookie = cookie,
	};
}

/* Submits one item and waits for its completion. Returns 0 or a negative errno. */
static inline int ims_do(int file, const struct idxd_ims_item *item,
			 struct idxd_ims_completion *completion)
{
	int err = ims_work(file, item, 1);

	if (err != 1)
		return err ?: -EAGAIN;
	err = ims_collect(file, completion, 1);
	return err == 1 ? 0 : err ?: -ETIMEDOUT;
}

/*
 * Submits items that wait for nothing to be read, and collects their completions. Returns
 * whether each came once, was completed and did @bytes. Can be used in other processes.
 */
static inline bool ims_does(int file, struct idxd_ims_item *items, int count, uint64_t bytes)
{
	struct idxd_ims_completion *completions = calloc(count, sizeof(*completions));
	bool *seen = calloc(count, sizeof(*seen));
	bool good = completions && seen;

	for (int i = 0; i < count; i++)
		items[i].cookie = i;
	good = good && ims_work(file, items, count) == count &&
	       ims_collect(file, completions, count) == count;
	for (int i = 0; good && i < count; i++) {
		const struct idxd_ims_completion *one = &completions[i];

		good = one->cookie < count && !seen[one->cookie] && one->bytes == bytes &&
		       one->status == IDXD_IMS_COMPLETED;
		if (good)
			seen[one->cookie] = true;
	}
	free(completions);
	free(seen);
	return good;
}

/* Has each cookie from @first on completed once? The law: accepted is completed. */
static inline void expect_each_once(struct __test_metadata *_metadata,
				    const struct idxd_ims_completion *completions, int count,
				    uint64_t first)
{
	int *times = calloc(count ?: 1, sizeof(*times));

	ASSERT_NE(NULL, times);
	for (int i = 0; i < count; i++) {
		ASSERT_GT(count, completions[i].cookie - first)
			TH_LOG("cookie %#llx", (unsigned long long)completions[i].cookie);
		times[completions[i].cookie - first]++;
		EXPECT_EQ(0, completions[i].reserved);
	}
	for (int i = 0; i < count; i++) {
		EXPECT_EQ(1, times[i])
			TH_LOG("item %d completed %d times", i, times[i]);
	}
	free(times);
}

/* Nothing is left to read. */
#define EXPECT_NOTHING_LEFT(file_) EXPECT_EQ(0, ims_poll(file_, POLLIN, SETTLE_MS))

#endif /* IMS_WORK_H */
