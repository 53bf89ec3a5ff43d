/* SPDX-License-Identifier: GPL-2.0 */
/* The slot allocator alone: what taking and freeing a slot costs by how full it is. */
#ifndef IMS_BENCH_ALLOCATOR_H
#define IMS_BENCH_ALLOCATOR_H

#define FILLED		16128
#define CHURN		20000

static u64 draw(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void measure_slots(struct seq_file *file, struct slots *slots, u16 owner,
			  const char *name, s64 *samples)
{
	int slot;
	u32 i;

	for (i = 0; i < REPEATS; i++) {
		ktime_t t[3];

		t[0] = ktime_get();
		slot = slots_take(slots, owner);
		t[1] = ktime_get();
		if (slot >= 0)
			slots_free(slots, owner, slot);
		t[2] = ktime_get();
		samples[i] = t[1] - t[0];
		samples[REPEATS + i] = t[2] - t[1];
	}
	seq_printf(file, "reserve %s %lld\n", name, median(samples, REPEATS));
	seq_printf(file, "release %s %lld\n", name, median(samples + REPEATS, REPEATS));
}

static int slots_show(struct seq_file *file, void *unused)
{
	s64 *samples = kvmalloc_array(2 * REPEATS, sizeof(*samples), GFP_KERNEL);
	u16 *taken = kvmalloc_array(FILLED, sizeof(*taken), GFP_KERNEL);
	u64 random = 88172645463325252ULL;
	struct slots slots;
	int owner, error = -ENOMEM;
	u32 count = 0, i;

	if (!samples || !taken)
		goto free;
	error = slots_init(&slots, FILLED);
	if (error)
		goto free;
	owner = slots_add_owner(&slots, 0, FILLED);
	error = owner;
	if (owner < 0)
		goto exit;

	measure_slots(file, &slots, owner, "0", samples);
	while (count < FILLED / 2)
		taken[count++] = slots_take(&slots, owner);
	measure_slots(file, &slots, owner, "50", samples);
	for (i = 0; i < CHURN; i++) {
		u16 *one = &taken[draw(&random) % count];

		slots_free(&slots, owner, *one);
		*one = slots_take(&slots, owner);
	}
	measure_slots(file, &slots, owner, "churned", samples);
	while (count < FILLED * 99 / 100)
		taken[count++] = slots_take(&slots, owner);
	measure_slots(file, &slots, owner, "99", samples);
	while (count < FILLED)
		taken[count++] = slots_take(&slots, owner);
	measure_slots(file, &slots, owner, "100", samples);
	error = 0;
exit:
	slots_exit(&slots);
free:
	kvfree(taken);
	kvfree(samples);
	return error;
}
DEFINE_SHOW_ATTRIBUTE(slots);

/* The first time makes this many allocators and keeps them; the next frees them. */
#define KEPT		4096

static struct slots *kept;

static void drop_kept(void)
{
	u32 i;

	for (i = 0; kept && i < KEPT; i++)
		slots_exit(&kept[i]);
	kvfree(kept);
	kept = NULL;
}

static int keep_show(struct seq_file *file, void *unused)
{
	u32 i;

	if (kept) {
		drop_kept();
		return 0;
	}
	kept = kvcalloc(KEPT, sizeof(*kept), GFP_KERNEL);
	for (i = 0; kept && i < KEPT; i++)
		if (slots_init(&kept[i], FILLED))
			return -ENOMEM;
	seq_printf(file, "kept %u of %u slots\n", KEPT, FILLED);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(keep);

static void store_files(struct twin *twin, struct dentry *dir)
{
	debugfs_create_file("slots", 0400, dir, NULL, &slots_fops);
	debugfs_create_file("keep", 0400, dir, NULL, &keep_fops);
}

#endif
