// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to an interrupt while it is in use, measured on the one that the
 * parameter virq names, whoever made it: its handler is registered.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <asm/msr.h>

static unsigned int virq;
module_param(virq, uint, 0400);
MODULE_PARM_DESC(virq, "Interrupt to measure on");

static unsigned long page;
module_param(page, ulong, 0400);
MODULE_PARM_DESC(page, "Physical address of the device's test page");

#define MARKER		0xc4	/* takes any value: it sets counters to zero */

#define REPEATS		401
#define LOOP		1000

static struct dentry *dir;

static int compare(const void *left, const void *right)
{
	u64 a = *(const u64 *)left, b = *(const u64 *)right;

	return a < b ? -1 : a > b;
}

/* Has the interrupt sent by the vector domain's chip: to this CPU, as one of its own. */
static void raise(struct irq_data *data)
{
	while (!data->chip->irq_retrigger)
		data = data->parent_data;
	data->chip->irq_retrigger(data);
}

/* The message of the interrupt, as the core would write it. */
static void compose(struct irq_data *data, struct msi_msg *msg)
{
	while (!data->chip->irq_compose_msi_msg)
		data = data->parent_data;
	data->chip->irq_compose_msi_msg(data, msg);
}

struct paths {
	struct irq_desc *desc;
	struct irq_data *data;
	struct irq_chip *chip;
	struct msi_msg msg;
	u64 *samples;
	struct seq_file *file;
	unsigned long flags;
};

static void report(struct paths *paths, const char *name)
{
	sort(paths->samples, REPEATS, sizeof(u64), compare, NULL);
	seq_printf(paths->file, "%s %llu\n", name, paths->samples[REPEATS / 2]);
}

/* REPEATS times, for the function that has "paths": only what stands between before and after. */
#define MEASURE(name, before, what, after)					\
do {										\
	u32 i;									\
										\
	for (i = 0; i < REPEATS; i++) {						\
		u64 start;							\
										\
		before;								\
		start = rdtsc();						\
		what;								\
		paths->samples[i] = rdtsc() - start;				\
		after;								\
	}									\
	report(paths, name);							\
} while (0)

#define NOTHING			((void)0)

/* LOOP times two instructions, and one before. */
static void loop(void)
{
	unsigned long count;

	asm volatile("mov %1, %0\n1:\tdec %0\n\tjnz 1b" : "=r" (count) : "i" (LOOP));
}

static void lock(struct paths *paths)
{
	raw_spin_lock_irqsave(&paths->desc->lock, paths->flags);
}

static void unlock(struct paths *paths)
{
	raw_spin_unlock_irqrestore(&paths->desc->lock, paths->flags);
}

/* As the core calls a chip: with the descriptor locked and interrupts off. */
static void measure_callbacks(struct paths *paths)
{
	struct irqaction *action = paths->desc->action;
	struct irq_chip *chip = paths->chip;
	struct irq_data *data = paths->data;

	MEASURE("empty", lock(paths), NOTHING, unlock(paths));
	MEASURE("loop", lock(paths), loop(), unlock(paths));
	MEASURE("mask", lock(paths), chip->irq_mask(data), {
		chip->irq_unmask(data);
		unlock(paths);
	});
	MEASURE("unmask", {
		lock(paths);
		chip->irq_mask(data);
	}, chip->irq_unmask(data), unlock(paths));
	MEASURE("mask_unmask", lock(paths), {
		chip->irq_mask(data);
		chip->irq_unmask(data);
	}, unlock(paths));
	MEASURE("write_message", {
		lock(paths);
		chip->irq_mask(data);
	}, chip->irq_write_msi_msg(data, &paths->msg), {
		chip->irq_unmask(data);
		unlock(paths);
	});
	MEASURE("handler", lock(paths), action->handler(virq, action->dev_id), unlock(paths));
}

static void measure_flows(struct paths *paths)
{
	MEASURE("disable_enable", NOTHING, {
		disable_irq(virq);
		enable_irq(virq);
	}, NOTHING);
	MEASURE("set_affinity", NOTHING, irq_set_affinity(virq, cpumask_of(0)), NOTHING);
	MEASURE("delivery", NOTHING, raise(paths->data), NOTHING);
	MEASURE("redelivery", {
		disable_irq(virq);
		raise(paths->data);
	}, enable_irq(virq), NOTHING);
}

static int paths_show(struct seq_file *file, void *unused)
{
	struct irq_data *data = irq_get_irq_data(virq);
	struct paths paths = { .data = data, .file = file };
	unsigned int before;

	paths.desc = irq_data_to_desc(data);
	paths.chip = irq_data_get_irq_chip(data);
	compose(data, &paths.msg);
	paths.samples = kmalloc_array(REPEATS, sizeof(u64), GFP_KERNEL);
	if (!paths.samples)
		return -ENOMEM;
	/*
	 * Once a second an interrupt starts a timer that mixes random numbers, and until then they
	 * take a shorter path.
	 */
	msleep(1100);
	raise(data);
	msleep(20);
	before = irq_desc_kstat_cpu(paths.desc, 0);
	measure_callbacks(&paths);
	measure_flows(&paths);
	/* What was raised has come, or the figures are those of nothing. */
	seq_printf(file, "delivered %u of %u\n", irq_desc_kstat_cpu(paths.desc, 0) - before,
		   2 * REPEATS);
	kfree(paths.samples);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(paths);

/* Each operation once, after a write that QEMU's trace has. The interrupt moves, and back. */
static int trace_show(struct seq_file *file, void *unused)
{
	struct irq_data *data = irq_get_irq_data(virq);
	struct irq_desc *desc = irq_data_to_desc(data);
	struct irq_chip *chip = irq_data_get_irq_chip(data);
	void __iomem *test_page = ioremap(page, PAGE_SIZE);
	unsigned long flags;

	if (!test_page)
		return -ENOMEM;
	raw_spin_lock_irqsave(&desc->lock, flags);
	writel(5, test_page + MARKER);
	chip->irq_mask(data);
	writel(6, test_page + MARKER);
	chip->irq_unmask(data);
	writel(0, test_page + MARKER);
	raw_spin_unlock_irqrestore(&desc->lock, flags);

	writel(7, test_page + MARKER);
	irq_set_affinity(virq, cpumask_of(1));
	writel(0, test_page + MARKER);
	irq_set_affinity(virq, cpumask_of(0));

	writel(8, test_page + MARKER);
	disable_irq(virq);
	enable_irq(virq);
	writel(0, test_page + MARKER);
	iounmap(test_page);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(trace);

static int __init bench_paths_init(void)
{
	if (!irq_get_irq_data(virq) || !irq_has_action(virq))
		return -EINVAL;
	dir = debugfs_create_dir("bench_paths", NULL);
	debugfs_create_file("paths", 0400, dir, NULL, &paths_fops);
	debugfs_create_file("trace", 0400, dir, NULL, &trace_fops);
	return 0;
}
module_init(bench_paths_init);

static void __exit bench_paths_exit(void)
{
	debugfs_remove(dir);
}
module_exit(bench_paths_exit);

MODULE_DESCRIPTION("Paths of an interrupt, for the message store benchmark");
MODULE_LICENSE("GPL");
