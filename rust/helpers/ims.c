// SPDX-License-Identifier: GPL-2.0

#include <linux/irqflags.h>
#include <linux/preempt.h>

/* Returns false in forced threaded handlers too. */
__rust_helper bool rust_helper_ims_may_sleep(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_COUNT))
		return preemptible();
	return in_task() && !in_softirq() && !irqs_disabled();
}
