/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The message store of a DSA in C: what rust/kernel/{msi,ims}.rs and
 * drivers/dma/idxd_ims/chip.rs do, as directly as C has it.
 *
 * With LAYERED the irq chip is a shared one that knows no device: it calls the
 * driver's operations by way of platform data, and the driver keeps the slots
 * beside the domain, to be looked up by the interrupt's number in it.
 */
#ifndef IMS_BENCH_TWIN_H
#define IMS_BENCH_TWIN_H

#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/msi.h>
#include <linux/pci.h>

#include "handler.h"
#include "slots.h"
#include "unexported.h"

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
#define SLOT_PASID_EN	BIT(3)
#define SLOT_PASID	GENMASK(31, 12)

/*
 * What the descriptor keeps: in the lower half the control word of the slot
 * unmasked, and whether it was pending when the device was suspended.
 */
#define COOKIE_PENDING	BIT_ULL(32)

struct twin {
	struct slot __iomem *table;
	unsigned long size;
	unsigned long awake;	/* the same, or 0 while the device must not be accessed */
	struct device *dev;
	struct slots slots;
	atomic_t stale;
#ifdef LAYERED
	const struct layered_ops *ops;
	struct twin_irq **by_index;
#endif
};

struct twin_irq {
#ifdef LAYERED
	u32 control;
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

static inline void slot_mask(struct slot __iomem *slot, u32 control)
{
	writel(control | SLOT_MASK, &slot->control);
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

/* The shared chip. Its data is the platform data of the driver. */
struct layered_ops {
	void (*mask)(struct msi_desc *desc, void *priv);
	void (*unmask)(struct msi_desc *desc, void *priv);
	void (*write_msg)(struct msi_desc *desc, void *priv, struct msi_msg *msg);
	bool (*pending)(struct msi_desc *desc, void *priv);
};

static void twin_irq_mask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	twin->ops->mask(irq_data_get_msi_desc(data), twin);
}

static void twin_irq_unmask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);
	struct msi_desc *desc = irq_data_get_msi_desc(data);

	twin->ops->unmask(desc, twin);
	if (desc->data.icookie.value & COOKIE_PENDING) {
		desc->data.icookie.value &= ~COOKIE_PENDING;
		irq_chip_retrigger_hierarchy(data);
	}
}

static void twin_irq_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);
	struct msi_desc *desc = irq_data_get_msi_desc(data);

	desc->msg = *msg;
	twin->ops->write_msg(desc, twin, msg);
}

static bool twin_pending(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	return twin->ops->pending(irq_data_get_msi_desc(data), twin);
}

/* The driver. */
static void layered_mask(struct msi_desc *desc, void *priv)
{
	struct twin *twin = priv;
	struct twin_irq *irq = READ_ONCE(twin->by_index[desc->msi_index]);

	if (irq && twin_has(twin, irq->slot))
		slot_mask(&twin->table[irq->slot], irq->control);
}

static void layered_unmask(struct msi_desc *desc, void *priv)
{
	struct twin *twin = priv;
	struct twin_irq *irq = READ_ONCE(twin->by_index[desc->msi_index]);

	if (irq && twin_has(twin, irq->slot))
		writel(irq->control, &twin->table[irq->slot].control);
}

static void layered_write_msg(struct msi_desc *desc, void *priv, struct msi_msg *msg)
{
	struct twin *twin = priv;
	struct twin_irq *irq = READ_ONCE(twin->by_index[desc->msi_index]);

	if (irq && twin_has(twin, irq->slot))
		slot_write(&twin->table[irq->slot], msg);
}

static bool layered_pending(struct msi_desc *desc, void *priv)
{
	struct twin *twin = priv;
	struct twin_irq *irq = READ_ONCE(twin->by_index[desc->msi_index]);

	return irq && twin_has(twin, irq->slot) && slot_pending(&twin->table[irq->slot]);
}

static const struct layered_ops layered_ops = {
	.mask		= layered_mask,
	.unmask		= layered_unmask,
	.write_msg	= layered_write_msg,
	.pending	= layered_pending,
};

#else

static void twin_irq_mask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	if (twin_has(twin, data->hwirq))
		slot_mask(&twin->table[data->hwirq],
			  irq_data_get_msi_desc(data)->data.icookie.value);
}

static void twin_irq_unmask(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);
	struct msi_desc *desc = irq_data_get_msi_desc(data);
	u64 cookie = desc->data.icookie.value;

	if (!twin_has(twin, data->hwirq))
		return;
	writel(cookie, &twin->table[data->hwirq].control);
	if (cookie & COOKIE_PENDING) {
		desc->data.icookie.value = cookie & ~COOKIE_PENDING;
		irq_chip_retrigger_hierarchy(data);
	}
}

static void twin_irq_write_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	irq_data_get_msi_desc(data)->msg = *msg;
	if (twin_has(twin, data->hwirq))
		slot_write(&twin->table[data->hwirq], msg);
}

static bool twin_pending(struct irq_data *data)
{
	struct twin *twin = irq_data_get_irq_chip_data(data);

	return twin_has(twin, data->hwirq) && slot_pending(&twin->table[data->hwirq]);
}

#endif

static int twin_get_irqchip_state(struct irq_data *data, enum irqchip_irq_state which, bool *state)
{
	if (which != IRQCHIP_STATE_PENDING)
		return -EINVAL;
	*state = twin_pending(data);
	return 0;
}

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
		.irq_disable		= twin_irq_mask,
		.irq_enable		= twin_irq_unmask,
		.irq_write_msi_msg	= twin_irq_write_msi_msg,
		.irq_get_irqchip_state	= twin_get_irqchip_state,
		.flags			= IRQCHIP_ONESHOT_SAFE,
	},
	.ops = {
		.set_desc		= twin_set_desc,
	},
	.info = {
		.flags			= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
					  MSI_FLAG_FREE_MSI_DESCS | MSI_FLAG_DEV_SYSFS |
					  MSI_FLAG_MUST_REACTIVATE | MSI_FLAG_PCI_IMS,
		.bus_token		= DOMAIN_BUS_PCI_DEVICE_IMS,
	},
};

/* All slots masked and clean. */
static int twin_clean(struct twin *twin)
{
	struct msi_msg none = {};
	u32 i;

	for (i = 0; i < twin->size; i++) {
		writel(SLOT_MASK, &twin->table[i].control);
		slot_write(&twin->table[i], &none);
	}
	for (i = 0; i < twin->size; i++)
		if (readl(&twin->table[i].control) != SLOT_MASK)
			return -EIO;
	return 0;
}

static int twin_init(struct twin *twin, struct pci_dev *pdev, void __iomem *regs)
{
	struct irq_domain *domain = dev_get_msi_domain(&pdev->dev);
	const struct msi_parent_ops *parent = domain ? domain->msi_parent_ops : NULL;
	int error;

	twin->dev = &pdev->dev;
	twin->table = regs + FIELD_GET(OFFSET_IMS, readq(regs + REG_OFFSETS)) * TABLE_MULT;
	twin->size = FIELD_GET(MAX_IMS_MULT, readq(regs + REG_GENCAP)) * IMS_MULT;
	twin->awake = twin->size;

	if (!parent || !(parent->supported_flags & MSI_FLAG_PCI_IMS))
		return -EOPNOTSUPP;
	error = msi_setup_device_data(twin->dev);
	if (error)
		return error;
	error = slots_init(&twin->slots, twin->size);
	if (error)
		return error;
	/* Owner 0 may have all. */
	error = slots_add_owner(&twin->slots, 0, twin->size);
	if (error < 0)
		goto exit;
#ifdef LAYERED
	twin->ops = &layered_ops;
	twin->by_index = kvcalloc(twin->size, sizeof(*twin->by_index), GFP_KERNEL);
	error = -ENOMEM;
	if (!twin->by_index)
		goto exit;
#endif
	error = -ENOMEM;
	if (!msi_create_device_irq_domain(twin->dev, MSI_SECONDARY_DOMAIN, &twin_template,
					  twin->size, NULL, twin))
		goto exit;
	error = twin_clean(twin);
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
	msi_domain_free_irqs_all(twin->dev, MSI_SECONDARY_DOMAIN);
	msi_remove_device_irq_domain(twin->dev, MSI_SECONDARY_DOMAIN);
#ifdef LAYERED
	kvfree(twin->by_index);
#endif
	slots_exit(&twin->slots);
}

/*
 * Nobody is to get what was raised for the slot's last owner. The library tries
 * to drain such a slot before it gives up on it; none is met here.
 */
static inline bool twin_slot_clean(struct twin *twin, u16 index)
{
	return !twin_has(twin, index) || !slot_pending(&twin->table[index]);
}

static inline u64 twin_cookie(u16 owner, int pasid)
{
	u64 cookie = pasid < 0 ? 0 : SLOT_PASID_EN | FIELD_PREP(SLOT_PASID, pasid);

	return cookie | (u64)owner << 48;
}

static int twin_alloc(struct twin *twin, struct twin_irq *irq, u16 owner, int pasid)
{
	union msi_instance_cookie cookie = { .value = twin_cookie(owner, pasid) };
	struct msi_map map;
	int slot;

	for (;;) {
		slot = slots_reserve(&twin->slots, owner);
		if (slot < 0)
			return slot;
		if (twin_slot_clean(twin, slot))
			break;
		atomic_inc(&twin->stale);
		slots_retire(&twin->slots, owner);
	}

	irq->owner = owner;
	irq->slot = slot;
#ifdef LAYERED
	irq->control = cookie.value;
	map = msi_domain_alloc_irq_at(twin->dev, MSI_SECONDARY_DOMAIN, MSI_ANY_INDEX, NULL,
				      &cookie);
	if (map.index >= 0) {
		irq->index = map.index;
		WRITE_ONCE(twin->by_index[map.index], irq);
	}
#else
	map = msi_domain_alloc_irq_at(twin->dev, MSI_SECONDARY_DOMAIN, slot, NULL, &cookie);
#endif
	if (map.index < 0) {
		slots_release(&twin->slots, owner, slot);
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
	slots_release(&twin->slots, irq->owner, irq->slot);
}

static inline struct handler *twin_request(struct twin_irq *irq, const char *name)
{
	return handler_request(irq->virq, name);
}

static inline void twin_release(struct twin_irq *irq, struct handler *handler)
{
	handler_release_waiting(handler);
}

#endif
