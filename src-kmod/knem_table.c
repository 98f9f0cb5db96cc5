// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every region of the machine by its cookie: the kernel's resizable hash table, looked up under RCU.
 *
 * A node is the first member of a region, which Rust allocates with kmalloc and owns. It is counted: a reference is
 * taken by whoever finds it, unless the last one is already gone, and its memory is freed a grace period after that,
 * so that a concurrent look-up may still read the node. What else the region holds is released at once by whoever
 * put the last reference, in its own context.
 */
#include <linux/build_bug.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "knem_shim.h"

struct knem_node {
	struct rhash_head hash;
	u64 cookie;
	refcount_t references;
	struct rcu_head rcu;
};

static siphash_key_t knem_key __read_mostly;

/*
 * Cookies are random, but a user knows its own, and may keep those that a weaker hash puts in one bucket. The key is secret, and
 * the seed, which changes with each table, comes before it: what collides in one table does not in the next.
 */
static u32 knem_hash(const void *data, u32 len, u32 seed)
{
	return siphash_1u64(*(const u64 *)data ^ seed, &knem_key);
}

static const struct rhashtable_params knem_params = {
	.key_len = sizeof(u64),
	.key_offset = offsetof(struct knem_node, cookie),
	.head_offset = offsetof(struct knem_node, hash),
	.hashfn = knem_hash,
	.automatic_shrinking = true,
};

static struct rhashtable knem_table;

int knem_table_init(void)
{
	/* glue/ffi.rs reserves as much. */
	BUILD_BUG_ON(sizeof(struct knem_node) > 48);
	BUILD_BUG_ON(__alignof__(struct knem_node) > 8);
	get_random_bytes(&knem_key, sizeof(knem_key));
	return rhashtable_init(&knem_table, &knem_params);
}

/* No file is open any more, thus no region is left. */
void knem_table_destroy(void)
{
	rhashtable_destroy(&knem_table);
}

/*
 * Initialises the node with one reference and lists it. -EEXIST if the cookie is taken; -EBUSY or -ENOMEM while the table cannot grow
 * here: then a worker lets it grow.
 */
int knem_table_insert(struct knem_node *node, u64 cookie)
{
	node->cookie = cookie;
	refcount_set(&node->references, 1);
	return rhashtable_lookup_insert_fast(&knem_table, &node->hash, knem_params);
}

/* Whether this call is the one that took the node off the list. */
bool knem_table_remove(struct knem_node *node)
{
	return rhashtable_remove_fast(&knem_table, &node->hash, knem_params) == 0;
}

/* The node with the cookie and a reference to it, or NULL. */
struct knem_node *knem_table_get(u64 cookie)
{
	struct knem_node *node;

	rcu_read_lock();
	node = rhashtable_lookup(&knem_table, &cookie, knem_params);
	if (node && !refcount_inc_not_zero(&node->references))
		node = NULL;
	rcu_read_unlock();
	return node;
}

/* Whether this was the last reference. */
bool knem_node_put(struct knem_node *node)
{
	return refcount_dec_and_test(&node->references);
}

void knem_node_free(struct knem_node *node)
{
	kfree_rcu(node, rcu);
}
