// SPDX-License-Identifier: GPL-2.0-only
/* /proc/driver/knem: texts that Rust writes. */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "knem_shim.h"

static struct proc_dir_entry *knem_proc_directory;
static void (*knem_proc_show)(struct seq_file *seq, const struct file *file, unsigned int which);

static int knem_proc_info(struct seq_file *seq, void *unused)
{
	seq_puts(seq, "version " KNEM_VERSION "\nrust " KNEM_RUST "\n");
	return 0;
}

static int knem_proc_statistics(struct seq_file *seq, void *unused)
{
	knem_proc_show(seq, seq->file, 0);
	return 0;
}

static int knem_proc_contexts(struct seq_file *seq, void *unused)
{
	knem_proc_show(seq, seq->file, 1);
	return 0;
}

static int knem_proc_regions(struct seq_file *seq, void *unused)
{
	knem_proc_show(seq, seq->file, 2);
	return 0;
}

int knem_proc_create(void (*show)(struct seq_file *seq, const struct file *file, unsigned int which))
{
	knem_proc_show = show;
	knem_proc_directory = proc_mkdir("driver/knem", NULL);
	if (!knem_proc_directory)
		return -ENOMEM;
	/* Readable by all: rows of other users' files are left out by who writes them. */
	if (!proc_create_single("info", 0444, knem_proc_directory, knem_proc_info) ||
	    !proc_create_single("statistics", 0444, knem_proc_directory, knem_proc_statistics) ||
	    !proc_create_single("contexts", 0444, knem_proc_directory, knem_proc_contexts) ||
	    !proc_create_single("regions", 0444, knem_proc_directory, knem_proc_regions)) {
		proc_remove(knem_proc_directory);
		knem_proc_directory = NULL;
		return -ENOMEM;
	}
	return 0;
}

void knem_proc_remove(void)
{
	/* Waits for who is reading. Nothing happens where there is nothing. */
	proc_remove(knem_proc_directory);
	knem_proc_directory = NULL;
}

bool knem_proc_write(struct seq_file *seq, const void *text, unsigned long length)
{
	return seq_write(seq, text, length) == 0;
}
