/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All calls of the character devices, for tests that do the same with each.
 */
#ifndef IMS_CALLS_H
#define IMS_CALLS_H

#include "ims.h"

/* Indices of the table below. */
enum call_index {
	QUERY, ALLOC, FREE, BIND, MASK, UNMASK, STATE, SUBMIT, REGISTER, UNREGISTER, WORK, CALLS
};

static const struct {
	const char *name;
	unsigned long request;
	__u32 size;
	bool has_output;
} calls[CALLS] = {
	[QUERY] = { "QUERY", IDXD_IMS_QUERY, sizeof(struct idxd_ims_query), true },
	[ALLOC] = { "ALLOC", IDXD_IMS_ALLOC, sizeof(struct idxd_ims_alloc), true },
	[FREE] = { "FREE", IDXD_IMS_FREE, sizeof(struct idxd_ims_interrupt), false },
	[BIND] = { "BIND", IDXD_IMS_BIND, sizeof(struct idxd_ims_bind), false },
	[MASK] = { "MASK", IDXD_IMS_MASK, sizeof(struct idxd_ims_interrupt), false },
	[UNMASK] = { "UNMASK", IDXD_IMS_UNMASK, sizeof(struct idxd_ims_interrupt), false },
	[STATE] = { "STATE", IDXD_IMS_STATE, sizeof(struct idxd_ims_state), true },
	[SUBMIT] = { "SUBMIT", IDXD_IMS_SUBMIT, sizeof(struct idxd_ims_submit), false },
	[REGISTER] = { "REGISTER", IDXD_IMS_REGISTER, sizeof(struct idxd_ims_register), true },
	[UNREGISTER] = { "UNREGISTER", IDXD_IMS_UNREGISTER, sizeof(struct idxd_ims_unregister),
			 false },
	[WORK] = { "WORK", IDXD_IMS_WORK, sizeof(struct idxd_ims_work), true },
};

/* How many of them the device serves. Without lasting interrupt handles it does no work. */
static inline int device_calls(void)
{
	return has_handle_commands() ? REGISTER : CALLS;
}

/* What any of them takes. All begin with their size. */
union call_argument {
	__u32 size;
	struct idxd_ims_query query;
	struct idxd_ims_alloc alloc;
	struct idxd_ims_bind bind;
	struct idxd_ims_interrupt interrupt;
	struct idxd_ims_state state;
	struct idxd_ims_submit submit;
	struct idxd_ims_register registration;
	struct idxd_ims_unregister unregister;
	struct idxd_ims_work work;
	unsigned char bytes[64];
};

/* Memory that is registered, and an item that is submitted. */
static unsigned char call_memory[4096];
static const struct idxd_ims_item call_item = {
	.op = IDXD_IMS_OP_NOOP, .interrupt = IDXD_IMS_NO_INTERRUPT,
};

/*
 * What a call accepts on @irq, which has an eventfd. Of those that allocate, without
 * one; of those that submit, a no-operation. For UNREGISTER it registers a buffer.
 */
static inline union call_argument valid_argument(enum call_index call, const struct ims_irq *irq)
{
	union call_argument argument = {};

	argument.size = calls[call].size;
	switch (call) {
	case ALLOC:
		argument.alloc.eventfd = -1;
		break;
	case BIND:
		argument.bind.id = irq->id;
		argument.bind.eventfd = irq->eventfd;
		break;
	case FREE:
	case MASK:
	case UNMASK:
		argument.interrupt.id = irq->id;
		break;
	case STATE:
		argument.state.id = irq->id;
		break;
	case SUBMIT:
		argument.submit.id = irq->id;
		break;
	case REGISTER:
		argument.registration.address = (unsigned long)call_memory;
		argument.registration.length = sizeof(call_memory);
		break;
	case UNREGISTER:
		ims_register(irq->file, call_memory, sizeof(call_memory), 0,
			     &argument.unregister.buffer);
		break;
	case WORK:
		argument.work.items = (unsigned long)&call_item;
		argument.work.count = 1;
		break;
	default:
		break;
	}
	return argument;
}

static inline bool names_an_interrupt(enum call_index call)
{
	return call != QUERY && call != ALLOC && call < REGISTER;
}

/* Has a call name another interrupt. */
static inline void set_id(union call_argument *argument, enum call_index call, __u32 id)
{
	switch (call) {
	case BIND:
		argument->bind.id = id;
		break;
	case STATE:
		argument->state.id = id;
		break;
	case SUBMIT:
		argument->submit.id = id;
		break;
	default:
		argument->interrupt.id = id;
		break;
	}
}

/*
 * Two pages, the second of which cannot be accessed. Returns the end of the first, or
 * NULL.
 */
static inline unsigned char *end_of_page(void)
{
	long size = sysconf(_SC_PAGESIZE);
	unsigned char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages + size, size, PROT_NONE))
		return NULL;
	return pages + size;
}

#endif /* IMS_CALLS_H */
