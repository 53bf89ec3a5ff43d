/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Work and interrupts of the Intel Data Streaming Accelerator (DSA) for user space.
 *
 * Each work queue has a character device. An open file owns interrupts of the
 * device's message store and buffers in the memory of the program. An interrupt
 * signals an eventfd. The device works on the buffers. Closing the file frees
 * both.
 *
 * Every structure begins with its size, so that it can grow at its end. It must
 * not be smaller than here (EINVAL). Bytes beyond the kernel's structure must be
 * zero (E2BIG), and so must reserved fields and unknown flags (EINVAL).
 *
 * Documentation/userspace-api/idxd_ims.rst lists the errors.
 */
#ifndef _UAPI_LINUX_IDXD_IMS_H
#define _UAPI_LINUX_IDXD_IMS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IDXD_IMS_TYPE	0xBB

/**
 * struct idxd_ims_query - Query limits and usage of the work queue and the file
 * @size: Size of this structure
 * @slots: Output: slots of the device's message store
 * @used: Output: slots in use by all files of the work queue
 * @min: Output: slots that are reserved for the work queue
 * @max: Output: maximum slots of the work queue
 * @file_used: Output: interrupts of this file
 * @file_max: Output: maximum interrupts of this file
 * @reserved: Must be zero
 * @ops: Output: bit n is set if the work queue supports IDXD_IMS_OP_* number n; zero
 *	if it does not support IDXD_IMS_WORK
 * @entries: Output: maximum items of the work queue in flight, for all files
 * @file_items: Output: maximum items of one file that have not completed, or whose
 *	completion has not been read
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
 * @id: Output: id of the interrupt in this file
 * @virq: Output: Linux interrupt number
 * @slot: Output: slot in the message store
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
/* The interrupt was raised while masked, and is delivered once when unmasked. */
#define IDXD_IMS_STATE_PENDING	0x2

/**
 * struct idxd_ims_state - State of an interrupt
 * @size: Size of this structure
 * @id: The interrupt
 * @flags: Output: IDXD_IMS_STATE_*, read from the device
 * @reserved: Must be zero
 * @count: Output: number of signals of its eventfd since it was bound to the eventfd
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
/* Copy a range. In IDXD_IMS_SUBMIT, between two buffers of the driver, and compare. */
#define IDXD_IMS_OP_COPY	1

/**
 * struct idxd_ims_submit - Submit a descriptor and wait for its completion
 * @size: Size of this structure
 * @id: The interrupt that the descriptor raises; it must have an eventfd
 * @op: IDXD_IMS_OP_*
 * @length: Bytes to copy, 1 to 8192; zero for IDXD_IMS_OP_NOOP
 *
 * The interrupt can arrive before or after the call returns.
 */
struct idxd_ims_submit {
	__u32 size;
	__u32 id;
	__u32 op;
	__u32 length;
};

/* Fill a range with idxd_ims_item.value, eight bytes in memory order. */
#define IDXD_IMS_OP_FILL	2
/* Compare two ranges. idxd_ims_completion.result is 0 if they are equal, else 1. */
#define IDXD_IMS_OP_COMPARE	3
/* Compute the CRC-32C of a range, with the seed idxd_ims_item.value. */
#define IDXD_IMS_OP_CRC		4

/* The device may write to the buffer. */
#define IDXD_IMS_BUFFER_WRITE	0x1

/**
 * struct idxd_ims_register - Register memory of the program as a buffer
 * @size: Size of this structure
 * @flags: IDXD_IMS_BUFFER_*
 * @address: Start of the memory
 * @length: Length in bytes
 * @buffer: Output: number of the buffer in this file
 * @reserved: Must be zero
 *
 * The pages stay pinned, and count as locked memory, until the buffer is
 * unregistered.
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
 * Waits for the items that use the buffer, or fails with EBUSY if the file is
 * O_NONBLOCK.
 */
struct idxd_ims_unregister {
	__u32 size;
	__u32 buffer;
};

/* The item raises no interrupt of the file. */
#define IDXD_IMS_NO_INTERRUPT	(-1)

/**
 * struct idxd_ims_item - An item of work
 * @op: IDXD_IMS_OP_*
 * @interrupt: The interrupt that the device raises on completion, or
 *	IDXD_IMS_NO_INTERRUPT; an interrupt must have an eventfd
 * @source: Buffer to read, for IDXD_IMS_OP_COPY, COMPARE and CRC, otherwise zero
 * @target: Buffer to write, for IDXD_IMS_OP_COPY and FILL, or to compare with, for
 *	COMPARE, otherwise zero
 * @source_offset: Offset in the source, in bytes
 * @target_offset: Offset in the target, in bytes
 * @length: Length in bytes, at least one; zero for IDXD_IMS_OP_NOOP
 * @value: Pattern of IDXD_IMS_OP_FILL, or 32-bit seed of the CRC; otherwise zero
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
 * @count: Number of items, 1 to 65536
 * @accepted: Output: number of accepted items, from the first one on
 *
 * Does not wait for completion. If there is no room for all items, waits for room, or
 * returns the number of accepted items if the file is O_NONBLOCK or has its maximum of
 * items. Fails only if no item was accepted: the error of an item is returned by a call
 * that begins with it.
 */
struct idxd_ims_work {
	__u32 size;
	__u32 flags;
	__u64 items;
	__u32 count;
	__u32 accepted;
};

/* The item has completed. */
#define IDXD_IMS_COMPLETED	0
/* The device was reset, halted or removed, or the file closed, before completion. */
#define IDXD_IMS_ABORTED	1
/* The device failed to execute the item: idxd_ims_completion.result is its status. */
#define IDXD_IMS_FAILED		2

/**
 * struct idxd_ims_completion - Completion of an item, returned by read()
 * @cookie: idxd_ims_item.cookie
 * @bytes: Completed bytes; for IDXD_IMS_OP_COMPARE, equal bytes
 * @result: Result of the operation, otherwise zero
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

/* The numbers do not encode the size, and so do not change when a structure grows. */
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
