/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A fixture for tests of work.
 */
#ifndef IMS_WORK_FIXTURE_H
#define IMS_WORK_FIXTURE_H

#include "work.h"

/*
 * A file of work queue 0 with an interrupt, and two buffers of REGION bytes: one that is
 * random and that the device only reads, and one that is untouched.
 */
FIXTURE(work) {
	FIXTURE_DATA(ims) ims;
	int file;
	struct idxd_ims_query query;
	struct ims_irq irq;
	struct region source;
	struct region target;
};

/* Maps and registers memory for a region. */
static inline void set_region(struct __test_metadata *_metadata, int file, struct region *region,
			      size_t size, __u32 flags)
{
	region->size = size;
	region->bytes = untouched(size);
	ASSERT_NE(NULL, region->bytes);
	ASSERT_EQ(0, ims_register(file, region->bytes, size, flags, &region->buffer));
}

FIXTURE_SETUP(work)
{
	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->file = ims_open(0);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ims_query(self->file, &self->query));
	if (has_handle_commands()) {
		EXPECT_EQ(0, self->query.ops);
		SKIP(return, "interrupt handles that can be revoked");
	}
	ASSERT_TRUE(has_op(&self->query, IDXD_IMS_OP_NOOP));
	ASSERT_TRUE(has_op(&self->query, IDXD_IMS_OP_COPY));
	ASSERT_EQ(0, ims_alloc(self->file, new_eventfd(), &self->irq));
	set_region(_metadata, self->file, &self->source, REGION, 0);
	set_region(_metadata, self->file, &self->target, REGION, IDXD_IMS_BUFFER_WRITE);
	randomize(self->source.bytes, REGION, 1);
}

FIXTURE_TEARDOWN(work)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

#endif /* IMS_WORK_FIXTURE_H */
