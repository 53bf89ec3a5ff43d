/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A fixture for tests of one interrupt.
 */
#ifndef IMS_INTERRUPT_H
#define IMS_INTERRUPT_H

#include "expect.h"

/* An interrupt of work queue 0 with an eventfd. */
FIXTURE(interrupt) {
	FIXTURE_DATA(ims) ims;
	int file;
	struct ims_irq irq;
};

FIXTURE_SETUP(interrupt)
{
	int eventfd;

	ims_setup(_metadata, &self->ims, NULL);
	if (_metadata->exit_code)
		return;
	self->file = ims_open(0);
	ASSERT_LE(0, self->file);
	eventfd = new_eventfd();
	ASSERT_LE(0, eventfd);
	ASSERT_EQ(0, ims_alloc(self->file, eventfd, &self->irq));
}

FIXTURE_TEARDOWN(interrupt)
{
	ims_teardown(_metadata, &self->ims, NULL);
}

#endif /* IMS_INTERRUPT_H */
