// SPDX-License-Identifier: GPL-2.0
/* A message store in memory, by a driver in C: what the core refuses and restores. */
#define pr_fmt(fmt) "store: " fmt
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/pci.h>

/* An address each. It is masked if bit 0 is set. */
static u32 slots[2] = { 1, 1 };

static void store_mask(struct irq_data *data)
{
	slots[data->hwirq] |= 1;
}

static void store_unmask(struct irq_data *data)
{
	slots[data->hwirq] &= ~1;
}

static void store_write(struct irq_data *data, struct msi_msg *msg)
{
	slots[data->hwirq] = msg->address_lo | (slots[data->hwirq] & 1);
}

static void store_set_desc(msi_alloc_info_t *arg, struct msi_desc *desc)
{
	arg->desc = desc;
	arg->hwirq = desc->msi_index;
}

#define STORE(chip_mask, chip_unmask, chip_write, chip_affinity) {				\
	.chip.name		= "STORE",							\
	.chip.irq_mask		= chip_mask,							\
	.chip.irq_unmask	= chip_unmask,							\
	.chip.irq_write_msi_msg	= chip_write,							\
	.chip.irq_set_affinity	= chip_affinity,						\
	.ops.set_desc		= store_set_desc,						\
	.info.flags		= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |	\
				  MSI_FLAG_FREE_MSI_DESCS,					\
	.info.bus_token		= DOMAIN_BUS_PCI_DEVICE_IMS,					\
}

/* All but the last one are to be refused. */
static const struct msi_domain_template templates[] = {
	STORE(NULL, store_unmask, store_write, NULL),
	STORE(store_mask, NULL, store_write, NULL),
	STORE(store_mask, store_unmask, NULL, NULL),
	STORE(store_mask, store_unmask, store_write, irq_chip_set_affinity_parent),
	STORE(store_mask, store_unmask, store_write, NULL),
};

static int __init store_init(void)
{
	struct device *dev = &pci_get_device(PCI_VENDOR_ID_INTEL, 0x0b25, NULL)->dev;
	int i, virq[2], error = 0, good = 0, id = MSI_SECONDARY_DOMAIN;

	while (good < 5 && !msi_create_device_irq_domain(dev, id, &templates[good], 2, NULL, NULL))
		good++;
	pr_info("%sok 1 only a chip with all callbacks is accepted\n", good == 4 ? "" : "not ");
	for (i = 0; i < 2; i++) {
		virq[i] = msi_domain_alloc_irq_at(dev, id, i, NULL, NULL).virq;
		error |= request_irq(virq[i], no_action, i ? IRQF_NO_AUTOEN : 0, "store", dev);
		/* The device loses its state. */
		slots[i] = 1;
	}
	msi_domain_restore_irqs(dev, id, false);
	good = slots[0] > 1 && slots[1] > 1 && slots[0] & slots[1] & 1;
	msi_domain_restore_irqs(dev, id, true);
	good = good && !(slots[0] & 1) && slots[1] & 1;
	pr_info("%sok 2 messages are restored, then masks\n", good ? "" : "not ");
	while (i--)
		free_irq(virq[i], dev);
	msi_domain_free_irqs_all(dev, id);
	msi_remove_device_irq_domain(dev, id);
	return error ?: -EAGAIN;	/* not to be loaded */
}
module_init(store_init);

MODULE_DESCRIPTION("Test of message stores of drivers in C");
MODULE_LICENSE("GPL");
