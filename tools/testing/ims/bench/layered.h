/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A shared irq chip that knows no device: it calls the driver's operations by
 * way of platform data, and the driver keeps the slots beside the domain, to be
 * looked up by the interrupt's number in it.
 */
#ifndef IMS_BENCH_LAYERED_H
#define IMS_BENCH_LAYERED_H

struct layered_ops {
	void (*mask)(struct msi_desc *desc, void *priv);
	void (*unmask)(struct msi_desc *desc, void *priv);
	void (*write_msg)(struct msi_desc *desc, void *priv, struct msi_msg *msg);
};

static void twin_irq_mask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	twin->ops->mask(irq_data_get_msi_desc(data), twin);
}

static void twin_irq_unmask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	twin->ops->unmask(irq_data_get_msi_desc(data), twin);
}

static void twin_irq_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);
	struct msi_desc *desc = irq_data_get_msi_desc(data);

	desc->msg = *msg;
	twin->ops->write_msg(desc, twin, msg);
}

/* The driver. The sink has no slot. */
static struct slot __iomem *layered_slot(struct msi_desc *desc, struct twin *twin)
{
	struct twin_irq *irq = READ_ONCE(twin->by_index[desc->msi_index]);

	return irq && twin_has(twin, irq->slot) ? &twin->table[irq->slot] : NULL;
}

static void layered_mask(struct msi_desc *desc, void *priv)
{
	struct slot __iomem *slot = layered_slot(desc, priv);

	if (slot)
		slot_mask(slot);
}

static void layered_unmask(struct msi_desc *desc, void *priv)
{
	struct slot __iomem *slot = layered_slot(desc, priv);

	if (slot)
		writel(0, &slot->control);
}

static void layered_write_msg(struct msi_desc *desc, void *priv, struct msi_msg *msg)
{
	struct slot __iomem *slot = layered_slot(desc, priv);

	if (slot)
		slot_write(slot, msg);
}

static const struct layered_ops layered_ops = {
	.mask		= layered_mask,
	.unmask		= layered_unmask,
	.write_msg	= layered_write_msg,
};

static int layered_init(struct twin *twin)
{
	twin->ops = &layered_ops;
	twin->by_index = kvcalloc(twin->size + 1, sizeof(*twin->by_index), GFP_KERNEL);
	return twin->by_index ? 0 : -ENOMEM;
}

#endif
