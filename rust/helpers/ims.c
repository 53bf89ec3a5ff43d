// SPDX-License-Identifier: GPL-2.0

#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/pci.h>

/*
 * A 64-byte store, as devices take work descriptors. One transaction where
 * the CPU has an instruction for it; eight in ascending order elsewhere.
 */
__rust_helper void rust_helper_ims_write512(void __iomem *dst, const u64 *src)
{
	int i;

	/* What the descriptor points to must be visible before it. */
	wmb();
	if (boot_cpu_has(X86_FEATURE_MOVDIR64B)) {
		iosubmit_cmds512(dst, src, 1);
		return;
	}
	for (i = 0; i < 8; i++)
		writeq(src[i], dst + i * sizeof(*src));
}

__rust_helper bool rust_helper_ims_can_enqueue(void)
{
	return boot_cpu_has(X86_FEATURE_ENQCMD);
}

/* The device may decline: -EAGAIN. */
__rust_helper int rust_helper_ims_enqueue512(void __iomem *dst, const u64 *src)
{
	/* What the descriptor points to must be visible before it. */
	wmb();
	return enqcmds(dst, src);
}

__rust_helper bool rust_helper_ims_msi_allowed(struct pci_dev *pdev)
{
	struct pci_bus *bus;

	if (!pci_msi_enabled() || pdev->no_msi)
		return false;
	for (bus = pdev->bus; bus; bus = bus->parent)
		if (bus->bus_flags & PCI_BUS_FLAGS_NO_MSI)
			return false;
	return true;
}

__rust_helper unsigned long rust_helper_ims_lock_irq(struct irq_desc *desc)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&desc->lock, flags);
	return flags;
}

__rust_helper void rust_helper_ims_unlock_irq(struct irq_desc *desc,
					      unsigned long flags)
{
	raw_spin_unlock_irqrestore(&desc->lock, flags);
}

__rust_helper bool rust_helper_irqd_is_activated(struct irq_data *d)
{
	return irqd_is_activated(d);
}

__rust_helper bool rust_helper_irqd_irq_disabled(struct irq_data *d)
{
	return irqd_irq_disabled(d);
}
