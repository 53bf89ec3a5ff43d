/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The message store of a DSA in C, with exported functions only: what
 * rust/kernel/{msi,ims} and drivers/dma/idxd_ims/chip.rs do, as directly as
 * C has it. With LAYERED the irq chip is that of layered.h.
 */
#ifndef IMS_BENCH_TWIN_H
#define IMS_BENCH_TWIN_H

#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <linux/pci.h>

#include "handler.h"
#include "slots.h"

#define REG_GENCAP	0x10
#define REG_OFFSETS	0x60
#define MAX_IMS_MULT	GENMASK_ULL(30, 25)
#define IMS_MULT	256
#define OFFSET_IMS	GENMASK_ULL(63, 48)
#define TABLE_MULT	0x100

struct slot {
	u32 address_lo;
	u32 address_hi;
	u32 data;
	u32 control;
};

#define SLOT_MASK	BIT(0)
#define SLOT_PENDING	BIT(1)

struct twin {
	struct slot __iomem *table;
	unsigned long size;
	unsigned long awake;	/* the same, or 0 while the device must not be accessed */
	struct device *dev;
	struct slots slots;
	struct msi_map sink;	/* of the messages of former owners; it has no slot */
#ifdef LAYERED
	const struct layered_ops *ops;
	struct twin_irq **by_index;
#endif
};

struct twin_irq {
#ifdef LAYERED
	u32 index;
#endif
	unsigned int virq;
	u16 slot;
	u16 owner;
};

static inline bool twin_has(struct twin *twin, unsigned long index)
{
	return index < READ_ONCE(twin->awake);
}

static inline void slot_mask(struct slot __iomem *slot)
{
	writel(SLOT_MASK, &slot->control);
	/* The read returns when the mask is in effect, and pushes what was sent. */
	readl(&slot->control);
}

static inline void slot_write(struct slot __iomem *slot, struct msi_msg *msg)
{
	writel(msg->address_lo, &slot->address_lo);
	writel(msg->address_hi, &slot->address_hi);
	writel(msg->data, &slot->data);
}

static inline bool slot_pending(struct slot __iomem *slot)
{
	u32 control = readl(&slot->control);

	return control != U32_MAX && control & SLOT_PENDING;
}

#ifdef LAYERED
#include "layered.h"
#else

/* ---- irq chip ---- */

static void twin_irq_mask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	if (twin_has(twin, data->hwirq))
		slot_mask(&twin->table[data->hwirq]);
}

static void twin_irq_unmask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	if (twin_has(twin, data->hwirq))
		writel(0, &twin->table[data->hwirq].control);
}

static void twin_irq_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	if (twin_has(twin, data->hwirq))
		slot_write(&twin->table[data->hwirq], msg);
}

#endif

/* ---- domain ---- */

static void twin_set_desc(msi_alloc_info_t *arg, struct msi_desc *desc)
{
	arg->desc = desc;
	arg->hwirq = desc->msi_index;
}

static const struct msi_domain_template twin_template = {
	.chip = {
		.name			= "TWIN-IMS",
		.irq_mask		= twin_irq_mask,
		.irq_unmask		= twin_irq_unmask,
		/* Else disable_irq() masks at the next interrupt only. */
		.irq_disable		= twin_irq_mask,
		.irq_write_msi_msg	= twin_irq_write_msi_msg,
		.flags			= IRQCHIP_ONESHOT_SAFE,
	},
	.ops.set_desc		= twin_set_desc,
	.info = {
		.flags			= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
					  MSI_FLAG_FREE_MSI_DESCS | MSI_FLAG_DEV_SYSFS,
		.bus_token		= DOMAIN_BUS_PCI_DEVICE_IMS,
	},
};

/* The last index is that of the sink. */
static int twin_create_domain(struct twin *twin)
{
	if (!msi_device_has_message_store(twin->dev))
		return -EOPNOTSUPP;
	return msi_create_device_irq_domain(twin->dev, MSI_SECONDARY_DOMAIN, &twin_template,
					    twin->size + 1, NULL, twin) ? 0 : -ENOMEM;
}

/* ---- sink ---- */

static irqreturn_t twin_sink(int virq, void *unused)
{
	return IRQ_HANDLED;
}

static int twin_add_sink(struct twin *twin)
{
	int error;

	twin->sink = msi_domain_alloc_irq_at(twin->dev, MSI_SECONDARY_DOMAIN, twin->size, NULL,
					     NULL);
	if (twin->sink.index < 0)
		return twin->sink.index;
	error = request_irq(twin->sink.virq, twin_sink, 0, "sink", twin);
	if (error)
		msi_domain_free_irqs_all(twin->dev, MSI_SECONDARY_DOMAIN);
	return error;
}

/* What was raised for the last owner of a slot goes to the sink. */
static noinline __cold bool slot_drain(struct twin *twin, struct slot __iomem *slot)
{
	u32 control;
	int error;

	slot_write(slot, &irq_get_msi_desc(twin->sink.virq)->msg);
	writel(0, &slot->control);
	error = readl_poll_timeout(&slot->control, control, !(control & SLOT_PENDING), 10, 10000);
	slot_mask(slot);
	return !error;
}

static inline bool twin_slot_clean(struct twin *twin, u16 index)
{
	struct slot __iomem *slot = &twin->table[index];

	return !twin_has(twin, index) || !slot_pending(slot) || slot_drain(twin, slot);
}

/* ---- slots ---- */

/* All are masked before the domain is there. */
static int twin_mask_all(struct twin *twin)
{
	u32 i;

	for (i = 0; i < twin->size; i++)
		writel(SLOT_MASK, &twin->table[i].control);
	for (i = 0; i < twin->size; i++)
		if (!(readl(&twin->table[i].control) & SLOT_MASK))
			return -EIO;
	return 0;
}

static int twin_init(struct twin *twin, struct pci_dev *pdev, void __iomem *regs)
{
	int error;

	twin->dev = &pdev->dev;
	twin->table = regs + FIELD_GET(OFFSET_IMS, readq(regs + REG_OFFSETS)) * TABLE_MULT;
	twin->size = FIELD_GET(MAX_IMS_MULT, readq(regs + REG_GENCAP)) * IMS_MULT;
	twin->awake = twin->size;

	error = slots_init(&twin->slots, twin->size);
	if (error)
		return error;
	/* Owner 0 may have all. */
	error = slots_add_owner(&twin->slots, 0, twin->size);
	if (error < 0)
		goto exit;
#ifdef LAYERED
	error = layered_init(twin);
	if (error)
		goto exit;
#endif
	error = twin_mask_all(twin) ?: twin_create_domain(twin);
	if (error)
		goto exit;
	error = twin_add_sink(twin);
	if (!error)
		return 0;
	msi_remove_device_irq_domain(twin->dev, MSI_SECONDARY_DOMAIN);
exit:
#ifdef LAYERED
	kvfree(twin->by_index);
#endif
	slots_exit(&twin->slots);
	return error;
}

static void twin_exit(struct twin *twin)
{
	free_irq(twin->sink.virq, twin);
	msi_domain_free_irqs_all(twin->dev, MSI_SECONDARY_DOMAIN);
	msi_remove_device_irq_domain(twin->dev, MSI_SECONDARY_DOMAIN);
#ifdef LAYERED
	kvfree(twin->by_index);
#endif
	slots_exit(&twin->slots);
}

static int twin_alloc(struct twin *twin, struct twin_irq *irq, u16 owner)
{
	struct msi_map map;
	int slot;

	/* One that stays pending is lost, for short. */
	do {
		slot = slots_take(&twin->slots, owner);
		if (slot < 0)
			return slot;
	} while (!twin_slot_clean(twin, slot));

	irq->owner = owner;
	irq->slot = slot;
#ifdef LAYERED
	map = msi_domain_alloc_irq_at(twin->dev, MSI_SECONDARY_DOMAIN, MSI_ANY_INDEX, NULL, NULL);
	if (map.index >= 0) {
		irq->index = map.index;
		WRITE_ONCE(twin->by_index[map.index], irq);
	}
#else
	map = msi_domain_alloc_irq_at(twin->dev, MSI_SECONDARY_DOMAIN, slot, NULL, NULL);
#endif
	if (map.index < 0) {
		slots_free(&twin->slots, owner, slot);
		return map.index;
	}
	irq->virq = map.virq;
	return 0;
}

static void twin_free(struct twin *twin, struct twin_irq *irq)
{
#ifdef LAYERED
	u32 index = irq->index;
#else
	u32 index = irq->slot;
#endif

	msi_domain_free_irqs_range(twin->dev, MSI_SECONDARY_DOMAIN, index, index);
#ifdef LAYERED
	WRITE_ONCE(twin->by_index[index], NULL);
#endif
	slots_free(&twin->slots, irq->owner, irq->slot);
}

#endif
