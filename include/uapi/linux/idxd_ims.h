/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Interrupts of the Intel Data Streaming Accelerator (DSA) for user space.
 *
 * Each work queue has a character device. An open file of it owns interrupts of
 * the device's message store, each with an eventfd that is signalled when the
 * interrupt arrives, and buffers in the memory of the program, on which the
 * device works. Closing the file frees them.
 *
 * Every structure begins with its size, so that it can grow at its end. It must
 * not be smaller than here (EINVAL). Bytes beyond the size that the kernel knows
 * must be zero (E2BIG), and so must reserved fields and unknown flags (EINVAL).
 *
 * Documentation/userspace-api/idxd_ims.rst lists the errors.
 */
#ifndef _UAPI_LINUX_IDXD_IMS_H
#define _UAPI_LINUX_IDXD_IMS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IDXD_IMS_TYPE	0xBB

/**
 * struct idxd_ims_query - Query what the work queue and the file use, and may use
 * @size: Size of this structure
 * @slots: Output: slots of the device's message store
 * @used: Output: slots that the work queue uses, through all files
 * @min: Output: slots that are reserved for the work queue
 * @max: Output: slots that the work queue can use
 * @file_used: Output: interrupts of this file
 * @file_max: Output: interrupts that this file can have
 * @reserved: Must be zero
 * @ops: Output: bit n: the work queue has operation n of IDXD_IMS_OP_*; zero if it
 *	does no IDXD_IMS_WORK
 * @entries: Output: items that the work queue works on at a time, for all files
 * @file_items: Output: items of one file that are not completed, or whose completion
 *	has not been read, at most
 */
struct idxd_ims_query {
	__u32 size;
	__u32 slots;
	__u32 used;
	__u32 min;
	__u32 max;
	__u32 file_used;
	__u32 file_max;
	__u32 reserved;
	__u64 ops;
	__u32 entries;
	__u32 file_items;
};

/* Deliver to the CPU idxd_ims_alloc.cpu if it is online, until the affinity changes. */
#define IDXD_IMS_ALLOC_CPU	0x1

/**
 * struct idxd_ims_alloc - Allocate an interrupt
 * @size: Size of this structure
 * @flags: IDXD_IMS_ALLOC_*
 * @eventfd: The eventfd to signal, or -1: see struct idxd_ims_bind
 * @cpu: Number of a CPU with IDXD_IMS_ALLOC_CPU, otherwise zero
 * @id: Output: number of the interrupt in this file
 * @virq: Output: its Linux interrupt number
 * @slot: Output: its slot in the message store
 * @reserved: Must be zero
 */
struct idxd_ims_alloc {
	__u32 size;
	__u32 flags;
	__s32 eventfd;
	__u32 cpu;
	__u32 id;
	__u32 virq;
	__u32 slot;
	__u32 reserved;
};

/**
 * struct idxd_ims_bind - Bind an interrupt to another eventfd, or to none
 * @size: Size of this structure
 * @id: The interrupt
 * @eventfd: The eventfd to signal from now on, or -1 for none
 * @reserved: Must be zero
 *
 * An interrupt without an eventfd has no vector. It keeps its slot, which is masked,
 * and becomes pending when it is raised.
 */
struct idxd_ims_bind {
	__u32 size;
	__u32 id;
	__s32 eventfd;
	__u32 reserved;
};

/**
 * struct idxd_ims_interrupt - Free, mask or unmask an interrupt
 * @size: Size of this structure
 * @id: The interrupt
 */
struct idxd_ims_interrupt {
	__u32 size;
	__u32 id;
};

/* The interrupt is masked: the device does not send its message. */
#define IDXD_IMS_STATE_MASKED	0x1
/* It was raised while masked, and is delivered once when it is unmasked. */
#define IDXD_IMS_STATE_PENDING	0x2

/**
 * struct idxd_ims_state - State of an interrupt
 * @size: Size of this structure
 * @id: The interrupt
 * @flags: Output: IDXD_IMS_STATE_*, read from the device
 * @reserved: Must be zero
 * @count: Output: number of signals of its eventfd since it was bound to that
 */
struct idxd_ims_state {
	__u32 size;
	__u32 id;
	__u32 flags;
	__u32 reserved;
	__u64 count;
};

/* No operation: completes, and raises the interrupt. */
#define IDXD_IMS_OP_NOOP	0
/* Copy idxd_ims_submit.length bytes between two buffers of the driver, and compare. */
#define IDXD_IMS_OP_COPY	1

/**
 * struct idxd_ims_submit - Submit a descriptor and wait until it has completed
 * @size: Size of this structure
 * @id: The interrupt that the descriptor raises; it must have an eventfd
 * @op: IDXD_IMS_OP_*
 * @length: Bytes to copy, 1 to 8192; zero for IDXD_IMS_OP_NOOP
 *
 * The interrupt arrives after the descriptor has completed, or before.
 */
struct idxd_ims_submit {
	__u32 size;
	__u32 id;
	__u32 op;
	__u32 length;
};

/* Fill a range with idxd_ims_item.value, eight bytes in the order of memory. */
#define IDXD_IMS_OP_FILL	2
/* Compare two ranges. idxd_ims_completion.result is 0 if they are equal, else 1. */
#define IDXD_IMS_OP_COMPARE	3
/* Compute the CRC-32C of a range, from the seed in idxd_ims_item.value on. */
#define IDXD_IMS_OP_CRC		4

/* The device may write to the buffer. */
#define IDXD_IMS_BUFFER_WRITE	0x1

/**
 * struct idxd_ims_register - Register memory of the program as a buffer
 * @size: Size of this structure
 * @flags: IDXD_IMS_BUFFER_*
 * @address: Where it begins
 * @length: Bytes
 * @buffer: Output: number of the buffer in this file
 * @reserved: Must be zero
 *
 * The pages stay pinned, and count as locked, until the buffer is unregistered.
 */
struct idxd_ims_register {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u64 length;
	__u32 buffer;
	__u32 reserved;
};

/**
 * struct idxd_ims_unregister - Unregister a buffer
 * @size: Size of this structure
 * @buffer: The buffer
 *
 * Waits for the items that use it, or fails with EBUSY if the file is O_NONBLOCK.
 */
struct idxd_ims_unregister {
	__u32 size;
	__u32 buffer;
};

/* No interrupt of the file. */
#define IDXD_IMS_NO_INTERRUPT	(-1)

/**
 * struct idxd_ims_item - An item of work
 * @op: IDXD_IMS_OP_*
 * @interrupt: The interrupt that the device raises when it has completed, or
 *	IDXD_IMS_NO_INTERRUPT; an interrupt must have an eventfd
 * @source: Buffer to read, for IDXD_IMS_OP_COPY, COMPARE and CRC, otherwise zero
 * @target: Buffer to write, for IDXD_IMS_OP_COPY and FILL, or to compare with, for
 *	COMPARE, otherwise zero
 * @source_offset: Where in it, in bytes
 * @target_offset: Where in it, in bytes
 * @length: Bytes, at least one, but zero for IDXD_IMS_OP_NOOP
 * @value: What to fill with, or the seed of the CRC, 32 bits; otherwise zero
 * @cookie: Returned with the completion
 * @reserved: Must be zero
 */
struct idxd_ims_item {
	__u32 op;
	__s32 interrupt;
	__u32 source;
	__u32 target;
	__u64 source_offset;
	__u64 target_offset;
	__u64 length;
	__u64 value;
	__u64 cookie;
	__u64 reserved;
};

/**
 * struct idxd_ims_work - Submit items
 * @size: Size of this structure
 * @flags: Must be zero
 * @items: Address of an array of struct idxd_ims_item
 * @count: Items in it, 1 to 65536
 * @accepted: Output: how many were accepted, from the first one on
 *
 * Does not wait for their completion. If there is no room for all, waits until there
 * is, or returns those that were accepted if the file is O_NONBLOCK or has its maximum
 * of items. An error is returned only if none was accepted: the call that begins with
 * an item returns what is wrong with it.
 */
struct idxd_ims_work {
	__u32 size;
	__u32 flags;
	__u64 items;
	__u32 count;
	__u32 accepted;
};

/* The item is done. */
#define IDXD_IMS_COMPLETED	0
/* The device was reset, halted or removed, or the file closed, before the item was done. */
#define IDXD_IMS_ABORTED	1
/* The device could not do it: idxd_ims_completion.result is its status. */
#define IDXD_IMS_FAILED		2

/**
 * struct idxd_ims_completion - What read() returns, one or more of them
 * @cookie: idxd_ims_item.cookie
 * @bytes: Bytes done; for IDXD_IMS_OP_COMPARE, bytes that are equal
 * @result: Result of the operation, or else zero
 * @status: IDXD_IMS_COMPLETED, ABORTED or FAILED
 * @reserved: Zero
 */
struct idxd_ims_completion {
	__u64 cookie;
	__u64 bytes;
	__u64 result;
	__u32 status;
	__u32 reserved;
};

/* The numbers do not contain the size, and so do not change when a structure grows. */
#define IDXD_IMS_QUERY	_IO(IDXD_IMS_TYPE, 0x00)
#define IDXD_IMS_ALLOC	_IO(IDXD_IMS_TYPE, 0x01)
#define IDXD_IMS_FREE	_IO(IDXD_IMS_TYPE, 0x02)
#define IDXD_IMS_BIND	_IO(IDXD_IMS_TYPE, 0x03)
#define IDXD_IMS_MASK	_IO(IDXD_IMS_TYPE, 0x04)
#define IDXD_IMS_UNMASK	_IO(IDXD_IMS_TYPE, 0x05)
#define IDXD_IMS_STATE	_IO(IDXD_IMS_TYPE, 0x06)
#define IDXD_IMS_SUBMIT	_IO(IDXD_IMS_TYPE, 0x07)
#define IDXD_IMS_REGISTER	_IO(IDXD_IMS_TYPE, 0x08)
#define IDXD_IMS_UNREGISTER	_IO(IDXD_IMS_TYPE, 0x09)
#define IDXD_IMS_WORK	_IO(IDXD_IMS_TYPE, 0x0a)

#endif /* _UAPI_LINUX_IDXD_IMS_H */
