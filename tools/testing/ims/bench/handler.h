/* SPDX-License-Identifier: GPL-2.0 */
/* The handler of all contestants in C. It counts. */
#ifndef IMS_BENCH_HANDLER_H
#define IMS_BENCH_HANDLER_H

#include <linux/interrupt.h>
#include <linux/slab.h>

struct handler {
	unsigned int virq;
	atomic64_t handled;
};

static irqreturn_t handle(int virq, void *data)
{
	struct handler *handler = data;

	atomic64_inc(&handler->handled);
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

#endif
