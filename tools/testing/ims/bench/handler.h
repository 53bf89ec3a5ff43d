/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The handler of all contestants in C. It counts, and an interrupt that comes
 * too often is masked, as rust/kernel/msi/contain.rs has it.
 */
#ifndef IMS_BENCH_HANDLER_H
#define IMS_BENCH_HANDLER_H

#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "unexported.h"

#define STORM_LIMIT	100000

struct handler {
	unsigned int virq;
	u32 limit;		/* times in a second; 0 for any */
	unsigned long second;	/* when it began */
	u32 count;		/* since then */
	bool masked;
	bool reported;
	atomic64_t handled;
};

static noinline __cold void contain(struct handler *handler)
{
	if (xchg(&handler->masked, true))
		return;
	disable_irq_nosync(handler->virq);
	if (!xchg(&handler->reported, true))
		pr_warn("interrupt %u came more than %u times in a second: masked\n",
			handler->virq, handler->limit);
}

static irqreturn_t handle(int virq, void *data)
{
	struct handler *handler = data;

	atomic64_inc(&handler->handled);
	if (handler->limit) {
		unsigned long now = jiffies;

		if (now - handler->second >= HZ) {
			handler->second = now;
			handler->count = 0;
		}
		if (++handler->count > handler->limit) {
			handler->count = 0;
			contain(handler);
		}
	}
	return IRQ_HANDLED;
}

/* The name is the driver's, and stays. */
static struct handler *handler_request(unsigned int virq, const char *name)
{
	struct handler *handler = kzalloc(sizeof(*handler), GFP_KERNEL);
	int error;

	if (!handler)
		return ERR_PTR(-ENOMEM);
	handler->virq = virq;
	handler->limit = STORM_LIMIT;
	error = request_irq(virq, handle, 0, name, handler);
	if (!error)
		return handler;
	kfree(handler);
	return ERR_PTR(error);
}

static inline void handler_release(struct handler *handler)
{
	free_irq(handler->virq, handler);
	kfree(handler);
}

static void nothing(struct work_struct *work)
{
}

static inline void handler_release_waiting(struct handler *handler)
{
	disable_irq(handler->virq);
	/*
	 * What a CPU has not taken yet it would take for that of whoever gets
	 * the vector next. And one may be on its way to the handler.
	 */
	while (schedule_on_each_cpu(nothing))
		fsleep(USEC_PER_MSEC);
	handler_release(handler);
}

#endif
