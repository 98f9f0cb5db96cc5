// SPDX-License-Identifier: GPL-2.0-only
//! Maps from keys to values, in the kernel's red-black trees.
//!
//! Rust searches; the kernel's `rb_insert_color` and `rb_erase`, which every kernel exports, keep the tree balanced.

use crate::alloc::{Flags, KBox};
use crate::error::Error;
use crate::ffi;
use core::cmp::Ordering;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::null_mut;

/// `struct rb_node`, whose layout C asserts.
#[repr(C)]
pub(crate) struct Links {
    parent_and_color: usize,
    right: *mut Links,
    left: *mut Links,
}

/// `struct rb_root`.
#[repr(C)]
pub(crate) struct Root(*mut Links);

/// A key and its value. `links` comes first, so that a pointer to it is one to the node.
#[repr(C)]
struct Node<K, V> {
    links: Links,
    key: K,
    value: V,
}

/// Values by their keys, in the order of the keys.
///
/// # Invariants
/// Each link is null or points to a `Node<K, V>` from a [`KBox`] that the tree owns; keys are in order.
pub struct RBTree<K, V> {
    root: Root,
    _nodes: PhantomData<Node<K, V>>,
}

// SAFETY: A tree owns its keys and values, so that sending it sends them.
unsafe impl<K: Send, V: Send> Send for RBTree<K, V> {}
// SAFETY: A shared tree provides only shared references.
unsafe impl<K: Sync, V: Sync> Sync for RBTree<K, V> {}

/// A node that is in no tree.
pub struct RBTreeNode<K, V>(KBox<Node<K, V>>);

/// Memory for a node.
pub struct RBTreeNodeReservation<K, V>(KBox<MaybeUninit<Node<K, V>>>);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Allocates the memory.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(flags: Flags) -> Result<Self, Error> {
        Ok(Self(KBox::<Node<K, V>>::new_uninit(flags)?))
    }

    /// Initialises the node.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        let links = Links { parent_and_color: 0, right: null_mut(), left: null_mut() };
        RBTreeNode(KBox::write(self.0, Node { links, key, value }))
    }
}

/// The result of a search.
enum Position<K, V> {
    Occupied(*mut Node<K, V>),
    /// A null link, and the node that contains it, if any.
    Vacant {
        parent: *mut Links,
        link: *mut *mut Links,
    },
}

impl<K, V> RBTree<K, V> {
    /// Creates an empty tree.
    pub const fn new() -> Self {
        // INVARIANT: The only link is null.
        Self { root: Root(null_mut()), _nodes: PhantomData }
    }
}

impl<K: Ord, V> RBTree<K, V> {
    fn search(&mut self, key: &K) -> Position<K, V> {
        let (mut parent, mut link) = (null_mut(), &raw mut self.root.0);
        loop {
            // SAFETY: `link` points to the link of the root or of a node of this tree, which is borrowed exclusively.
            let node = unsafe { *link };
            if node.is_null() {
                return Position::Vacant { parent, link };
            }
            let whole = node.cast::<Node<K, V>>();
            // SAFETY: By the invariant a link that is not null points to a node of this tree.
            match key.cmp(unsafe { &(*whole).key }) {
                // SAFETY: As above, `node` is a node of this tree.
                Ordering::Less => link = unsafe { &raw mut (*node).left },
                // SAFETY: As above, `node` is a node of this tree.
                Ordering::Greater => link = unsafe { &raw mut (*node).right },
                Ordering::Equal => return Position::Occupied(whole),
            }
            parent = node;
        }
    }

    /// # Safety
    /// `parent` and `link` must be the vacant position of the node's key, and the tree must not have changed since the
    /// search.
    unsafe fn link(&mut self, node: RBTreeNode<K, V>, parent: *mut Links, link: *mut *mut Links) -> *mut Node<K, V> {
        let node = KBox::into_raw(node.0);
        // SAFETY: The node comes from a box, so that it is valid. INVARIANT: The tree owns it from here on.
        unsafe { (*node).links.parent_and_color = parent as usize };
        // SAFETY: The caller guarantees that the link is one of this tree.
        unsafe { *link = node.cast() };
        // SAFETY: The node is linked in the way that the kernel's `rb_link_node` links, as the function requires.
        unsafe { ffi::rb_insert_color(node.cast(), &raw mut self.root) };
        node
    }

    /// # Safety
    /// The node must be in this tree.
    unsafe fn unlink(&mut self, node: *mut Node<K, V>) -> RBTreeNode<K, V> {
        // SAFETY: The caller guarantees that the node is in this tree.
        unsafe { ffi::rb_erase(node.cast(), &raw mut self.root) };
        // SAFETY: Nodes come from boxes, and the tree does not own this one any more.
        RBTreeNode(unsafe { KBox::from_raw(node) })
    }

    /// Inserts a node. Returns the node with the same key that it replaces.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let replaced = self.remove_node(&node.0.key);
        if let Position::Vacant { parent, link } = self.search(&node.0.key) {
            // SAFETY: The search above found the position, and the tree has not changed since.
            unsafe { self.link(node, parent, link) };
        }
        replaced
    }

    /// Removes the node of a key.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        self.find_mut(key).map(OccupiedEntry::remove_node)
    }

    /// Returns the entry of a key, if there is one.
    pub fn find_mut(&mut self, key: &K) -> Option<OccupiedEntry<'_, K, V>> {
        match self.search(key) {
            // INVARIANT: The search found the node in this tree.
            Position::Occupied(node) => Some(OccupiedEntry { tree: self, node }),
            Position::Vacant { .. } => None,
        }
    }

    /// Returns the entry of a key, whether it is present or not.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        match self.search(&key) {
            // INVARIANT: The search found the node in this tree.
            Position::Occupied(node) => Entry::Occupied(OccupiedEntry { tree: self, node }),
            // INVARIANT: The search for this key ended at this position.
            Position::Vacant { parent, link } => Entry::Vacant(VacantEntry { tree: self, key, parent, link }),
        }
    }

    /// Returns a cursor at the first node whose key is not less than `key`.
    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        let (mut best, mut links) = (None, self.root.0);
        // SAFETY: By the invariant a link that is not null points to a node of this tree, which is borrowed as long as
        // the result.
        while let Some(node) = unsafe { links.cast::<Node<K, V>>().as_ref() } {
            if node.key < *key {
                links = node.links.right;
            } else {
                best = Some(Cursor(node));
                links = node.links.left;
            }
        }
        best
    }
}

/// Read access to a node of a tree.
pub struct Cursor<'a, K, V>(&'a Node<K, V>);

impl<'a, K, V> Cursor<'a, K, V> {
    /// Returns its key and value.
    pub fn current(&self) -> (&'a K, &'a V) {
        (&self.0.key, &self.0.value)
    }
}

/// The entry of a key in a tree.
pub enum Entry<'a, K, V> {
    /// The key is present.
    Occupied(OccupiedEntry<'a, K, V>),
    /// The key is not present.
    Vacant(VacantEntry<'a, K, V>),
}

/// Write access to a node of a tree.
///
/// # Invariants
/// The node is in the tree.
pub struct OccupiedEntry<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    node: *mut Node<K, V>,
}

/// The position of a key that is not in the tree.
///
/// # Invariants
/// `parent` and `link` are the position at which a search for the key ends in the tree.
pub struct VacantEntry<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    key: K,
    parent: *mut Links,
    link: *mut *mut Links,
}

impl<'a, K: Ord, V> OccupiedEntry<'a, K, V> {
    /// Returns the value, as long as the entry is borrowed.
    pub fn get_mut(&mut self) -> &mut V {
        // SAFETY: By the invariant the node is in the tree, which is borrowed exclusively.
        unsafe { &mut (*self.node).value }
    }

    /// Returns the value, as long as the tree is borrowed.
    pub fn into_mut(self) -> &'a mut V {
        // SAFETY: As in `get_mut`, the node is in the tree, which is borrowed exclusively.
        unsafe { &mut (*self.node).value }
    }

    /// Removes the node.
    pub fn remove_node(self) -> RBTreeNode<K, V> {
        // SAFETY: By the invariant the node is in the tree.
        unsafe { self.tree.unlink(self.node) }
    }
}

impl<'a, K: Ord, V> VacantEntry<'a, K, V> {
    /// Inserts a value in memory that was reserved.
    pub fn insert(self, value: V, memory: RBTreeNodeReservation<K, V>) -> &'a mut V {
        let node = memory.into_node(self.key, value);
        // SAFETY: By the invariant the position is that of the key, and the tree was borrowed exclusively since the
        // search.
        let node = unsafe { self.tree.link(node, self.parent, self.link) };
        // SAFETY: The node was inserted just now into the tree, which is borrowed exclusively.
        unsafe { &mut (*node).value }
    }
}

impl<K, V> Drop for RBTree<K, V> {
    fn drop(&mut self) {
        while !self.root.0.is_null() {
            let node = self.root.0;
            // SAFETY: The root is a node of this tree.
            unsafe { ffi::rb_erase(node, &raw mut self.root) };
            // SAFETY: Nodes come from boxes, and the tree does not own this one any more.
            drop(unsafe { KBox::from_raw(node.cast::<Node<K, V>>()) });
        }
    }
}
