// SPDX-License-Identifier: GPL-2.0-only
/*
 * All regions of the machine by cookie, in the kernel's resizable hash table, which is searched under RCU; and the
 * regions of a context by number, in a tree under the context's lock.
 *
 * A node is the first member of a region, which Rust allocates with kmalloc and owns. It is reference-counted: a lookup
 * takes a reference unless the last one is already gone. Its memory is freed a grace period after that, so that a
 * concurrent lookup may still read the node. The task that drops the last reference releases everything else that the
 * region holds at once, in its own context.
 */
#include <linux/build_bug.h>
#include <linux/math64.h>
#include <linux/random.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>

#include "knem_shim.h"

struct knem_node {
	struct rhash_head hash;
	u64 cookie;
	refcount_t references;
	u64 ordinal;
	/* The tree holds a reference. */
	union {
		struct rb_node links;
		struct rcu_head rcu;
	};
};

/* Random and odd. */
static u64 knem_factor __read_mostly;

/*
 * Cookies are random, but a user knows its own, and could keep those that a known hash function puts into one bucket.
 * Multiplication by a secret factor spreads them: which cookies share a bucket depends on the factor, which no user
 * knows. The seed changes with each table, so that cookies that collide in one do not collide in the next.
 */
static u32 knem_hash(const void *data, u32 len, u32 seed)
{
	return mul_u64_u64_shr(*(const u64 *)data, knem_factor ^ ((u64)seed << 1), 64);
}

static int knem_differs(struct rhashtable_compare_arg *arg, const void *node)
{
	return ((const struct knem_node *)node)->cookie != *(const u64 *)arg->key;
}

static const struct rhashtable_params knem_params = {
	.key_len = sizeof(u64),
	.key_offset = offsetof(struct knem_node, cookie),
	.head_offset = offsetof(struct knem_node, hash),
	.hashfn = knem_hash,
	.obj_cmpfn = knem_differs,
	.automatic_shrinking = true,
};

static struct rhashtable knem_table;

int knem_table_init(void)
{
	/* Assumed by glue/ffi.rs. */
	BUILD_BUG_ON(sizeof(struct knem_node) > 56);
	BUILD_BUG_ON(sizeof(struct rb_root) != 8);
	BUILD_BUG_ON(__alignof__(struct knem_node) > 8);
	knem_factor = get_random_u64() | 1;
	return rhashtable_init(&knem_table, &knem_params);
}

/* No file is open any more, hence no region is left. */
void knem_table_destroy(void)
{
	rhashtable_destroy(&knem_table);
}

/*
 * Initialises the node with one reference and lists it. -EEXIST if the cookie is taken; -EBUSY or -ENOMEM if the table
 * cannot grow here: the kernel's work item grows it then.
 */
int knem_table_insert(struct knem_node *node, u64 cookie)
{
	node->cookie = cookie;
	refcount_set(&node->references, 1);
	RB_CLEAR_NODE(&node->links);
	return rhashtable_lookup_insert_fast(&knem_table, &node->hash, knem_params);
}

/* Unlists the node; returns whether this call did. */
bool knem_table_remove(struct knem_node *node)
{
	return rhashtable_remove_fast(&knem_table, &node->hash, knem_params) == 0;
}

/* Returns the node with the cookie and a reference to it, or NULL. */
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

/* Drops a reference; returns whether it was the last one. */
bool knem_node_put(struct knem_node *node)
{
	return refcount_dec_and_test(&node->references);
}

void knem_node_free(struct knem_node *node)
{
	kfree_rcu(node, rcu);
}

void knem_tree_insert(struct rb_root *tree, struct knem_node *node, u64 ordinal)
{
	struct rb_node **link = &tree->rb_node, *parent = NULL;

	node->ordinal = ordinal;
	while (*link) {
		parent = *link;
		link = ordinal < rb_entry(parent, struct knem_node, links)->ordinal ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&node->links, parent, link);
	rb_insert_color(&node->links, tree);
}

bool knem_tree_remove(struct rb_root *tree, struct knem_node *node)
{
	/* A context that is being closed moves its tree away, so that the node may be in that one. */
	if (!tree->rb_node || RB_EMPTY_NODE(&node->links))
		return false;
	rb_erase(&node->links, tree);
	RB_CLEAR_NODE(&node->links);
	return true;
}

struct knem_node *knem_tree_from(const struct rb_root *tree, u64 ordinal)
{
	struct rb_node *next = tree->rb_node;
	struct knem_node *found = NULL;

	while (next) {
		struct knem_node *node = rb_entry(next, struct knem_node, links);

		if (node->ordinal < ordinal) {
			next = next->rb_right;
		} else {
			found = node;
			next = next->rb_left;
		}
	}
	return found;
}
