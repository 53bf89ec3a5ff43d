/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What all contestants in C have in common: a PCI driver whose debugfs files
 * measure when they are read. bench_rust.rs has the same loops in Rust.
 *
 * Included once, after the store: struct store, struct store_irq and store_*().
 */
#ifndef IMS_BENCH_CONTESTANT_H
#define IMS_BENCH_CONTESTANT_H

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#define TEST_PAGE	4	/* BAR */
#define MARKER		0xc4	/* takes any value: it sets counters to zero */

#define REPEATS		201
#define AROUND		511U	/* samples at most whose middle stands for each of them */
#define ALL_OF_MSIX	2046	/* beside the first and the one that stays: measured once */
#define CONTENDED	2000

struct contestant {
	struct pci_dev *pdev;
	void __iomem *regs;
	void __iomem *page;
	struct dentry *dir;
	struct store store;

	/* One that stays, for bench_paths. */
	struct store_irq irq;
	struct handler *handler;
};

#ifndef BARE

static int compare(const void *left, const void *right)
{
	s64 a = *(const s64 *)left, b = *(const s64 *)right;

	return a < b ? -1 : a > b;
}

static s64 median(s64 *samples, u32 count)
{
	sort(samples, count, sizeof(*samples), compare, NULL);
	return samples[count / 2];
}

static int virq_show(struct seq_file *file, void *unused)
{
	struct contestant *self = file->private;

	seq_printf(file, "%u\n", store_virq(&self->irq));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(virq);

enum {
	CLOCK, ALLOC, REQUEST, FREE_IRQ, FREE, ALLOC_FREE, WHOLE_LIFE, NR_LIFE,
};

static const char * const life_names[] = {
	"clock", "alloc", "request", "free_irq", "free", "alloc_free", "whole_life",
};

static int whole_life(struct contestant *self, s64 *sample)
{
	ktime_t start = ktime_get();
	struct store_irq irq;
	struct handler *handler;
	int error;

	error = store_alloc(&self->store, &irq);
	if (error)
		return error;
	handler = handler_request(store_virq(&irq), "bench");
	if (IS_ERR(handler)) {
		store_free(&self->store, &irq);
		return PTR_ERR(handler);
	}
	handler_release(handler);
	store_free(&self->store, &irq);
	*sample = ktime_get() - start;
	return 0;
}

static int life_once(struct contestant *self, s64 *samples[NR_LIFE], u32 i)
{
	struct store_irq irq;
	struct handler *handler;
	ktime_t t[5];
	int error;

	t[0] = ktime_get();
	t[1] = ktime_get();
	samples[CLOCK][i] = t[1] - t[0];

	t[0] = ktime_get();
	error = store_alloc(&self->store, &irq);
	t[1] = ktime_get();
	if (error)
		return error;
	handler = handler_request(store_virq(&irq), "bench");
	t[2] = ktime_get();
	if (IS_ERR(handler)) {
		store_free(&self->store, &irq);
		return PTR_ERR(handler);
	}
	handler_release(handler);
	t[3] = ktime_get();
	store_free(&self->store, &irq);
	t[4] = ktime_get();
	samples[ALLOC][i] = t[1] - t[0];
	samples[REQUEST][i] = t[2] - t[1];
	samples[FREE_IRQ][i] = t[3] - t[2];
	samples[FREE][i] = t[4] - t[3];

	t[0] = ktime_get();
	error = store_alloc(&self->store, &irq);
	if (error)
		return error;
	store_free(&self->store, &irq);
	t[1] = ktime_get();
	samples[ALLOC_FREE][i] = t[1] - t[0];

	return whole_life(self, &samples[WHOLE_LIFE][i]);
}

static int life_show(struct seq_file *file, void *unused)
{
	struct contestant *self = file->private;
	s64 *samples[NR_LIFE], *memory;
	int error = 0;
	u32 i;

	memory = kvmalloc_array(NR_LIFE * REPEATS, sizeof(*memory), GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	for (i = 0; i < NR_LIFE; i++)
		samples[i] = &memory[i * REPEATS];
	for (i = 0; i < REPEATS && !error; i++)
		error = life_once(self, samples, i);
	for (i = 0; i < NR_LIFE && !error; i++)
		seq_printf(file, "%s %lld\n", life_names[i], median(samples[i], REPEATS));
	kvfree(memory);
	return error;
}
DEFINE_SHOW_ATTRIBUTE(life);

/* After how many allocations the cost of one is shown. */
static const u32 stations[] = {
	16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 6144, 8192, 10240, 12288, 14336, 16128,
};

/* The mean of the middle half, as that is not what interrupts came into. Sorts them. */
static s64 middle(s64 *samples, u32 count)
{
	const u32 first = count / 4, last = count - first;
	s64 sum = 0;
	u32 i;

	sort(samples, count, sizeof(*samples), compare, NULL);
	for (i = first; i < last; i++)
		sum += samples[i];
	return div_s64(sum, last - first);
}

static s64 total(s64 *samples, u32 count)
{
	s64 sum = 0;
	u32 i, some;

	for (i = 0; i < count; i += some) {
		some = min(count - i, AROUND);
		sum += some * middle(&samples[i], some);
	}
	return sum;
}

static int up_down(struct contestant *self, struct store_irq *irqs, u32 count, s64 *ups, s64 *downs)
{
	u32 i, done;
	int error = 0;
	ktime_t t;

	for (done = 0; done < count; done++) {
		t = ktime_get();
		error = store_alloc(&self->store, &irqs[done]);
		ups[done] = ktime_get() - t;
		if (error)
			break;
	}
	for (i = 0; i < done; i++) {
		t = ktime_get();
		store_free(&self->store, &irqs[i]);
		downs[i] = ktime_get() - t;
	}
	return error;
}

/* What the last of so many took. */
static void show_growth(struct seq_file *file, s64 *ups, u32 count)
{
	u32 i, end, from = 0;

	for (i = 0; i < ARRAY_SIZE(stations); i++, from = end) {
		/* The one that stays was the first. */
		end = stations[i] - 1;
		if (end > count)
			break;
		from = max(from, end - min(end, AROUND));
		seq_printf(file, "grow %u %lld\n", stations[i], middle(&ups[from], end - from));
	}
}

/* So many allocated and freed, several times if they are few. */
static int bulk(struct contestant *self, struct seq_file *file, u32 count, bool grow)
{
	u32 i, repeats = ALL_OF_MSIX / count | 1;
	struct store_irq *irqs = kvmalloc_array(count, sizeof(*irqs), GFP_KERNEL);
	s64 *samples = kvmalloc_array(3 * count + 2 * repeats, sizeof(*samples), GFP_KERNEL);
	s64 *ups = samples, *downs = ups + count, *copy = downs + count;
	s64 *up = copy + count, *down = up + repeats;
	int error = irqs && samples ? 0 : -ENOMEM;

	/* What others freed before RCU would free while this is measured. */
	fsleep(USEC_PER_SEC);
	for (i = 0; i < repeats && !error; i++) {
		error = up_down(self, irqs, count, ups, downs);
		if (error)
			break;
		memcpy(copy, ups, count * sizeof(*ups));
		if (grow)
			show_growth(file, copy, count);
		up[i] = total(ups, count);
		down[i] = total(downs, count);
	}
	if (!error)
		seq_printf(file, "up %u %lld\ndown %u %lld\n", count, median(up, repeats),
			   count, median(down, repeats));
	kvfree(samples);
	kvfree(irqs);
	return error;
}

static int bulk_show(struct seq_file *file, void *unused)
{
	static const u32 counts[] = { 1, 64, 256, ALL_OF_MSIX };
	struct contestant *self = file->private;
	u32 i, room = store_room(&self->store);
	int error = 0;

	for (i = 0; i < ARRAY_SIZE(counts) && counts[i] < room && !error; i++)
		error = bulk(self, file, counts[i], false);
	return error ?: bulk(self, file, room, true);
}
DEFINE_SHOW_ATTRIBUTE(bulk);

/* Several at a time, one a CPU. */
static int contend_show(struct seq_file *file, void *unused)
{
	struct contestant *self = file->private;
	ktime_t t = ktime_get();
	struct store_irq irq;
	u32 i;

	for (i = 0; i < CONTENDED; i++) {
		int error = store_alloc(&self->store, &irq);

		if (error)
			return error;
		store_free(&self->store, &irq);
	}
	seq_printf(file, "contend %lld\n", ktime_get() - t);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(contend);

/* Each operation once, after a write that QEMU's trace has. */
static int trace_show(struct seq_file *file, void *unused)
{
	struct contestant *self = file->private;
	struct handler *handler;
	struct store_irq irq;
	int error;

	writel(1, self->page + MARKER);
	error = store_alloc(&self->store, &irq);
	writel(2, self->page + MARKER);
	if (error)
		return error;
	handler = handler_request(store_virq(&irq), "bench");
	writel(3, self->page + MARKER);
	if (IS_ERR(handler)) {
		store_free(&self->store, &irq);
		return PTR_ERR(handler);
	}
	handler_release(handler);
	writel(4, self->page + MARKER);
	store_free(&self->store, &irq);
	writel(0, self->page + MARKER);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(trace);

/* What the owner of an interrupt has of it, in bytes. */
static int size_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%zu\n", sizeof(struct store_irq));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(size);

static void add_files(struct contestant *self)
{
	self->dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("virq", 0400, self->dir, self, &virq_fops);
	debugfs_create_file("life", 0400, self->dir, self, &life_fops);
	debugfs_create_file("bulk", 0400, self->dir, self, &bulk_fops);
	debugfs_create_file("contend", 0400, self->dir, self, &contend_fops);
	debugfs_create_file("trace", 0400, self->dir, self, &trace_fops);
	debugfs_create_file("size", 0400, self->dir, self, &size_fops);
	store_files(&self->store, self->dir);
}

#else /* for its size */

static void add_files(struct contestant *self)
{
}

#endif

static int bench_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct contestant *self = devm_kzalloc(&pdev->dev, sizeof(*self), GFP_KERNEL);
	int error;

	if (!self)
		return -ENOMEM;
	error = pcim_enable_device(pdev);
	if (error)
		return error;
	pci_set_master(pdev);
	self->pdev = pdev;
	self->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(self->regs))
		return PTR_ERR(self->regs);
	self->page = pcim_iomap_region(pdev, TEST_PAGE, KBUILD_MODNAME);
	if (IS_ERR(self->page))
		return PTR_ERR(self->page);

	error = store_init(&self->store, pdev, self->regs);
	if (error)
		return error;
	error = store_alloc(&self->store, &self->irq);
	if (error)
		goto exit;
	self->handler = handler_request(store_virq(&self->irq), "bench");
	if (IS_ERR(self->handler)) {
		error = PTR_ERR(self->handler);
		goto free;
	}

	add_files(self);
	pci_set_drvdata(pdev, self);
	return 0;

free:
	store_free(&self->store, &self->irq);
exit:
	store_exit(&self->store);
	return error;
}

static void bench_remove(struct pci_dev *pdev)
{
	struct contestant *self = pci_get_drvdata(pdev);

	debugfs_remove(self->dir);
	handler_release(self->handler);
	store_free(&self->store, &self->irq);
	store_exit(&self->store);
}

static const struct pci_device_id bench_ids[] = {
	{ PCI_DEVICE_DATA(INTEL, DSA_SPR0, NULL) },
	{}
};
MODULE_DEVICE_TABLE(pci, bench_ids);

static struct pci_driver bench_driver = {
	.name		= KBUILD_MODNAME,
	.id_table	= bench_ids,
	.probe		= bench_probe,
	.remove		= bench_remove,
};
module_pci_driver(bench_driver);

MODULE_DESCRIPTION("Contestant of the message store benchmark");
MODULE_LICENSE("GPL");

#endif
