// SPDX-License-Identifier: GPL-2.0
/* MSI-X with the kernel's own dynamic allocation, on the MSI-X table of the same device. */
#include <linux/pci.h>

#include "handler.h"

struct store {
	struct pci_dev *pdev;
	u32 size;
};

struct store_irq {
	struct msi_map map;
};

/* The first vector is allocated when MSI-X is enabled, which is not measured. */
static int store_init(struct store *store, struct pci_dev *pdev, void __iomem *regs)
{
	int count = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX);

	if (count < 0)
		return count;
	store->pdev = pdev;
	store->size = pci_msix_vec_count(pdev);
	return 0;
}

static void store_exit(struct store *store)
{
	pci_free_irq_vectors(store->pdev);
}

/* Beside the first, and the one that stays. */
static u32 store_room(struct store *store)
{
	return store->size - 2;
}

static int store_alloc(struct store *store, struct store_irq *irq)
{
	irq->map = pci_msix_alloc_irq_at(store->pdev, MSI_ANY_INDEX, NULL);
	return irq->map.index < 0 ? irq->map.index : 0;
}

static void store_free(struct store *store, struct store_irq *irq)
{
	pci_msix_free_irq(store->pdev, irq->map);
}

static inline unsigned int store_virq(struct store_irq *irq)
{
	return irq->map.virq;
}

static inline void store_files(struct store *store, struct dentry *dir)
{
}

#include "contestant.h"
