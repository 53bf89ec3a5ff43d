/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests expect of an interrupt.
 */
#ifndef IMS_EXPECT_H
#define IMS_EXPECT_H

#include <sys/utsname.h>

#include "ims.h"

/*
 * On PREEMPT_RT and with threadirqs, handlers are threads: of messages that come until
 * one runs it sees one.
 */
static inline bool handlers_are_threads(void)
{
	struct utsname name;
	char line[4096];

	if (!uname(&name) && strstr(name.version, "PREEMPT_RT"))
		return true;
	return read_line(line, sizeof(line), "/proc/cmdline") && strstr(line, " threadirqs");
}

/* Is that how often the handler runs for so many messages, which need not wait for it? */
#define EXPECT_HANDLED(messages_, calls_)					\
do {										\
	const uint64_t sent_ = (messages_), ran_ = (calls_);			\
										\
	if (handlers_are_threads() && ran_) {					\
		EXPECT_GE(sent_, ran_);						\
	} else {								\
		EXPECT_EQ(sent_, ran_);						\
	}									\
} while (0)

/*
 * The same where an emulated device without handle commands may lose @late_ messages: a
 * read of the slot does not push them to the CPU, as it does on a bus, and no command
 * waits for them.
 */
#define EXPECT_HANDLED_BUT_LATE(messages_, calls_, late_)			\
do {										\
	const uint64_t of_ = (messages_), got_ = (calls_), lost_ = (late_);	\
										\
	if (lost_ && got_ < of_ && !handlers_are_threads()) {			\
		TH_LOG("%d of %d messages lost, %d late", (int)(of_ - got_), (int)of_,	\
		       (int)lost_);						\
		EXPECT_LE(of_ - got_, lost_);					\
	} else {								\
		EXPECT_HANDLED(of_, got_);					\
	}									\
} while (0)

/* What the device did for an interrupt's slot since it was allocated, if it tells. */
#define EXPECT_DEVICE(irq_, sent_, latched_, replayed_)				\
do {										\
	const struct ims_irq *of_ = (irq_);					\
	struct device_counts now_ = device_counts(of_->slot);			\
										\
	if (ims_page()) {							\
		EXPECT_EQ(sent_, now_.sent - of_->before.sent);			\
		EXPECT_EQ(latched_, now_.latched - of_->before.latched);	\
		EXPECT_EQ(replayed_, now_.replayed - of_->before.replayed);	\
	}									\
} while (0)

/* Is it masked and pending, as the driver and debugfs say? */
#define EXPECT_STATE(irq_, masked_, pending_)					\
do {										\
	const struct ims_irq *of_ = (irq_);					\
	const bool is_masked_ = (masked_), is_pending_ = (pending_);		\
	struct ims_slot slot_ = {};						\
										\
	/* A descriptor completes before its interrupt is raised. */		\
	if (is_pending_)							\
		wait_pending(of_);						\
	EXPECT_EQ((is_masked_ ? IDXD_IMS_STATE_MASKED : 0) |			\
		  (is_pending_ ? IDXD_IMS_STATE_PENDING : 0), ims_flags(of_));	\
	EXPECT_TRUE(ims_slot(of_->slot, &slot_));				\
	EXPECT_EQ(is_masked_, slot_.masked);					\
	EXPECT_EQ(is_pending_, slot_.pending);					\
} while (0)

static inline bool has_arrived(struct ims_irq *irq, uint64_t times)
{
	return ims_signals(irq) >= times && ims_count(irq) >= (int64_t)times;
}

/* Has it arrived that often since it was bound, as everybody counts? */
#define EXPECT_ARRIVED(irq_, times_)						\
do {										\
	struct ims_irq *arrived_ = (irq_);					\
	const uint64_t expected_ = (times_);					\
										\
	EXPECT_TRUE(wait_for(has_arrived(arrived_, expected_)));		\
	EXPECT_EQ(expected_, ims_signals(arrived_));				\
	EXPECT_EQ(expected_, ims_count(arrived_));				\
} while (0)

/* The same, of one that was bound to one eventfd only, and that nothing follows. */
#define EXPECT_ARRIVED_IN_ALL(irq_, times_)					\
do {										\
	struct ims_irq *all_ = (irq_);						\
	const uint64_t in_all_ = (times_);					\
										\
	wait_for(has_arrived(all_, in_all_));					\
	settle();								\
	EXPECT_ARRIVED(all_, in_all_);						\
	EXPECT_EQ(in_all_, kernel_count(all_->virq));				\
} while (0)

/* Raises an interrupt for the @nth time since it was bound, and waits until it arrived. */
static inline void raise_one(struct __test_metadata *_metadata, struct ims_irq *irq, int nth)
{
	ASSERT_EQ(0, ims_noop(irq));
	ASSERT_TRUE(wait_for(ims_signals(irq) >= nth)) TH_LOG("raise %d was lost", nth);
}

#endif /* IMS_EXPECT_H */
