// SPDX-License-Identifier: GPL-2.0

#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>

__rust_helper bool rust_helper_ims_can_write512(void)
{
	return boot_cpu_has(X86_FEATURE_MOVDIR64B);
}

__rust_helper void rust_helper_ims_write512(void __iomem *dst, const u64 *src)
{
	/* Order writes to memory that the device reads for these 64 bytes. */
	wmb();
	iosubmit_cmds512(dst, src, 1);
}

/* Returns false in forced threaded handlers too. */
__rust_helper bool rust_helper_ims_may_sleep(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_COUNT))
		return preemptible();
	return in_task() && !in_softirq() && !irqs_disabled();
}
