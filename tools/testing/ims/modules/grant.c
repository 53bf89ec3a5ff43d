// SPDX-License-Identifier: GPL-2.0
/*
 * Grants message stores below remapping units which do not.
 *
 * QEMU's AMD-Vi always has NpCache set, and its VT-d has to be in caching mode
 * to translate the DMA of a device model. Both tell the kernel that the unit is
 * emulated. With this module such a guest is like a machine with a real unit.
 */
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/pci.h>

static int __init grant_init(void)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		struct irq_domain *parent = dev_get_msi_domain(&pdev->dev);

		if (parent && parent->flags & IRQ_DOMAIN_FLAG_ISOLATED_MSI)
			parent->flags |= IRQ_DOMAIN_FLAG_MSI_STORE;
	}
	return 0;
}
module_init(grant_init);

static void __exit grant_exit(void)
{
}
module_exit(grant_exit);

MODULE_DESCRIPTION("Grant of message stores below emulated remapping units");
MODULE_LICENSE("GPL");
