// SPDX-License-Identifier: GPL-2.0
/* Interrupts which are freed while CPU 1 has them pending. */
#define pr_fmt(fmt) "vectors: " fmt
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/workqueue.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>

#define MANY	4096	/* more than all vectors of a guest */

struct line {
	int virq;
	unsigned int count;
};

static struct line first, second, many[MANY];
static bool blocked, go;
static unsigned int vector;
static ktime_t until;

static void block(void *unused)
{
	WRITE_ONCE(blocked, true);
	while (!READ_ONCE(go) && ktime_before(ktime_get(), until))
		cpu_relax();
	WRITE_ONCE(blocked, false);
}

static call_single_data_t csd = CSD_INIT(block, NULL);

/* CPU 1 gets one for the vector, and then another one, before it could free the vector. */
static void block_and_send(struct work_struct *unused)
{
	local_bh_disable();
	preempt_disable();
	local_irq_disable();
	block(NULL);
	local_irq_enable();
	if (READ_ONCE(go))
		apic->send_IPI(1, vector);
	mdelay(1);
	preempt_enable();
	local_bh_enable();
}

static DECLARE_WORK(work, block_and_send);

/* CPU 1 handles no interrupts until let_go(), or for so long. */
static void hold(unsigned int ms, bool sends)
{
	go = false;
	until = ktime_add_ms(ktime_get(), ms);
	if (sends)
		schedule_work_on(1, &work);
	else
		smp_call_function_single_async(1, &csd);
	while (!READ_ONCE(blocked))
		cpu_relax();
}

static void let_go(void)
{
	WRITE_ONCE(go, true);
	while (READ_ONCE(blocked))
		cpu_relax();
	mdelay(1);	/* no jiffy: what is pending is handled, vectors are still held */
}

/* Whether @first arrives @wanted times: at last, as a virtual CPU can be stalled, and no more. */
static bool arrives(unsigned int wanted)
{
	int tries = 100;

	while (READ_ONCE(first.count) < wanted && tries--)
		msleep(50);
	msleep(50);
	return READ_ONCE(first.count) == wanted;
}

static irqreturn_t handle(int virq, void *line)
{
	((struct line *)line)->count++;
	return IRQ_HANDLED;
}

static int create(struct line *line)
{
	struct irq_alloc_info info = {};

	line->virq = irq_domain_alloc_irqs(x86_vector_domain, 1, NUMA_NO_NODE, &info);
	if (line->virq > 0)
		irq_set_handler(line->virq, handle_edge_irq);
	return min(line->virq, 0);
}

static int request(struct line *line, unsigned int cpu)
{
	irq_set_affinity(line->virq, cpumask_of(cpu));
	return request_irq(line->virq, handle, IRQF_NOBALANCING | IRQF_NO_THREAD, "vectors", line);
}

static bool is_on(struct line *line, unsigned int cpu)
{
	return cpumask_test_cpu(cpu, irq_get_effective_affinity_mask(line->virq));
}

static const struct test {
	const char *name;
	bool other, moved, dropped, twice, freed, destroyed, cpu;
} tests[] = {
	{ "next owner gets nothing", .other = true },
	{ "next owner gets nothing after a move", .other = true, .moved = true },
	{ "next owner gets nothing of a destroyed one", .other = true, .destroyed = true },
	{ "requested again", .cpu = 1 },
	{ "requested again for another CPU", },
	{ "requested again after it was dropped", .dropped = true, .cpu = 1 },
	{ "requested again after two were dropped", .dropped = true, .twice = true, .cpu = 1 },
	{ "requested again after two were dropped and the vector was freed",
	  .dropped = true, .twice = true, .freed = true, .cpu = 1 },
	{ "requested again after the vector was freed", .dropped = true, .freed = true, .cpu = 1 },
};

static bool run(const struct test *test)
{
	struct irq_data *data = irq_get_irq_data(first.virq);
	struct msi_msg msg = {};
	bool good;

	first.count = 0;
	second.count = 0;
	if (request(&first, 1))
		return false;
	data->chip->irq_compose_msi_msg(data, &msg);
	vector = msg.arch_data.vector;
	hold(10000, test->twice);
	data->chip->irq_retrigger(data);
	if (test->moved)
		irq_set_affinity(first.virq, cpumask_of(0));
	free_irq(first.virq, &first);
	if (test->destroyed)
		irq_domain_free_irqs(first.virq, 1);
	if (test->dropped)
		let_go();
	if (test->twice)
		flush_work(&work);
	if (test->freed)
		msleep(50);
	if (test->other && !request(&second, 1)) {
		let_go();
		free_irq(second.virq, &second);
	}
	if (test->destroyed && create(&first))
		return false;
	good = !request(&first, test->cpu) && is_on(&first, test->cpu);
	let_go();
	good &= arrives(!test->destroyed) && !second.count;
	free_irq(first.virq, &first);
	msleep(50);
	return good;
}

/* One that is requested again needs nothing of CPU 1, which has an interrupt for it. */
static bool again(void)
{
	struct irq_data *data = irq_get_irq_data(first.virq);
	bool requested = !request(&first, 1), good;
	int i;

	first.count = 0;
	hold(10000, false);
	data->chip->irq_retrigger(data);
	for (i = 0; i < 3 && requested; i++) {
		free_irq(first.virq, &first);
		requested = !request(&first, 1);
	}
	good = requested && is_on(&first, 1) && READ_ONCE(blocked) && !first.count;
	let_go();
	good &= arrives(1);
	if (requested)
		free_irq(first.virq, &first);
	msleep(50);
	return good;
}

/* Freeing one makes room for another one, even if it takes a moment. */
static bool full(void)
{
	struct line *line = many, *last = many;
	bool good = false;

	while (last < many + MANY && !create(last) && !request(last, (last - many) % 2))
		last++;
	while (line < last && !is_on(line, 1))
		line++;
	if (line < last && last < many + MANY) {
		hold(500, false);
		free_irq(line->virq, line);
		good = !request(last, 1);
		if (good)
			free_irq(last->virq, last);
		good &= !request(line, 1);
		let_go();
		irq_domain_free_irqs(last->virq, 1);
	}
	while (last-- > many) {
		free_irq(last->virq, last);
		irq_domain_free_irqs(last->virq, 1);
	}
	return good;
}

static bool offline(void)
{
	bool good = !request(&first, 1);

	free_irq(first.virq, &first);
	good &= !remove_cpu(1) && !request(&first, 1) && is_on(&first, 0);
	free_irq(first.virq, &first);
	return !add_cpu(1) && good && run(&tests[0]);
}

static int __init vectors_init(void)
{
	unsigned int i, n = ARRAY_SIZE(tests);

	set_cpus_allowed_ptr(current, cpumask_of(0));
	if (!cpu_online(1) || create(&first) || create(&second))
		return -ENODEV;
	for (i = 0; i < n; i++)
		pr_info("%sok %u %s\n", run(&tests[i]) ? "" : "not ", i + 1, tests[i].name);
	pr_info("%sok %u requested again and again\n", again() ? "" : "not ", n + 1);
	pr_info("%sok %u all vectors are taken\n", full() ? "" : "not ", n + 2);
	pr_info("%sok %u the CPU goes offline\n", offline() ? "" : "not ", n + 3);
	irq_domain_free_irqs(first.virq, 1);
	irq_domain_free_irqs(second.virq, 1);
	return -EAGAIN;	/* not to be loaded */
}
module_init(vectors_init);

MODULE_DESCRIPTION("Test of vectors which are freed with an interrupt pending");
MODULE_LICENSE("GPL");
