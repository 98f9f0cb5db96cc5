// SPDX-License-Identifier: GPL-2.0-only
/* /proc/driver/knem: texts that Rust writes, and files whose rows Rust finds and writes one by one (seq_file). */
#include <linux/err.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "knem_shim.h"

/* Numbers of the files with rows, as Rust uses them. */
enum { KNEM_PROC_CONTEXTS, KNEM_PROC_REGIONS };

static struct proc_dir_entry *knem_proc_directory;
static void (*knem_proc_statistics_text)(struct seq_file *seq);
static int (*knem_proc_seek)(void *cursor, const struct file *file, unsigned int which, u64 position);
static void (*knem_proc_row)(struct seq_file *seq, const void *cursor, unsigned int which);

static int knem_proc_info(struct seq_file *seq, void *unused)
{
	seq_puts(seq, "version " KNEM_VERSION "\nrust " KNEM_RUST "\n");
	return 0;
}

static int knem_proc_statistics(struct seq_file *seq, void *unused)
{
	knem_proc_statistics_text(seq);
	return 0;
}

/* The cursor, at the row with this position; NULL after the last one. */
static void *knem_proc_at(struct seq_file *seq, unsigned int which, loff_t position)
{
	int found = knem_proc_seek(seq->private, seq->file, which, position);

	return found < 0 ? ERR_PTR(found) : found ? seq->private : NULL;
}

static void knem_proc_stop(struct seq_file *seq, void *cursor)
{
}

static void *knem_contexts_start(struct seq_file *seq, loff_t *position)
{
	return knem_proc_at(seq, KNEM_PROC_CONTEXTS, *position);
}

static void *knem_contexts_next(struct seq_file *seq, void *cursor, loff_t *position)
{
	return knem_proc_at(seq, KNEM_PROC_CONTEXTS, ++*position);
}

static int knem_contexts_show(struct seq_file *seq, void *cursor)
{
	knem_proc_row(seq, cursor, KNEM_PROC_CONTEXTS);
	return 0;
}

static const struct seq_operations knem_contexts = {
	.start = knem_contexts_start,
	.next = knem_contexts_next,
	.stop = knem_proc_stop,
	.show = knem_contexts_show,
};

static void *knem_regions_start(struct seq_file *seq, loff_t *position)
{
	return knem_proc_at(seq, KNEM_PROC_REGIONS, *position);
}

static void *knem_regions_next(struct seq_file *seq, void *cursor, loff_t *position)
{
	return knem_proc_at(seq, KNEM_PROC_REGIONS, ++*position);
}

static int knem_regions_show(struct seq_file *seq, void *cursor)
{
	knem_proc_row(seq, cursor, KNEM_PROC_REGIONS);
	return 0;
}

static const struct seq_operations knem_regions = {
	.start = knem_regions_start,
	.next = knem_regions_next,
	.stop = knem_proc_stop,
	.show = knem_regions_show,
};

int knem_proc_create(void (*statistics)(struct seq_file *seq),
		     int (*seek)(void *cursor, const struct file *file, unsigned int which, u64 position),
		     void (*write)(struct seq_file *seq, const void *cursor, unsigned int which), size_t cursor)
{
	struct proc_dir_entry *directory = proc_mkdir("driver/knem", NULL);

	if (!directory)
		return -ENOMEM;
	knem_proc_statistics_text = statistics;
	knem_proc_seek = seek;
	knem_proc_row = write;
	knem_proc_directory = directory;
	/* Readable by all: Rust omits the rows of other users. */
	if (!proc_create_single("info", 0444, directory, knem_proc_info) ||
	    !proc_create_single("statistics", 0444, directory, knem_proc_statistics) ||
	    !proc_create_seq_private("contexts", 0444, directory, &knem_contexts, cursor, NULL) ||
	    !proc_create_seq_private("regions", 0444, directory, &knem_regions, cursor, NULL)) {
		knem_proc_remove();
		return -ENOMEM;
	}
	return 0;
}

void knem_proc_remove(void)
{
	/* Waits for readers. Does nothing if the directory was not created. */
	proc_remove(knem_proc_directory);
	knem_proc_directory = NULL;
}

bool knem_proc_write(struct seq_file *seq, const void *text, unsigned long length)
{
	return seq_write(seq, text, length) == 0;
}
