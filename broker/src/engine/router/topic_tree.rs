//! Topic tree: filters with wildcards, level by level.
//!
//! A node stands only while a filter ends at it or below it. A walk visits the prefixes of the
//! topic name that some filter has, and nothing else.

use super::Subscribers;
use ahash::RandomState;
use hashbrown::HashTable;
use protocol::topic::TopicName;
use slab::Slab;

const ROOT: usize = 0;

/// Filters with wildcards and who subscribes to them.
#[derive(Debug)]
pub(super) struct TopicTree {
    nodes: Slab<Node>,
    /// The edges with a text; those with `+` are in the nodes.
    edges: HashTable<usize>,
    hasher: RandomState,
    /// Where a walk still has to go: a node, and where in the topic name its rest begins.
    /// Empty between walks; here so that a publish allocates nothing.
    walk: Vec<(usize, usize)>,
}

#[derive(Debug, Default)]
struct Node {
    parent: usize,
    level: Box<[u8]>,
    children: u32,
    /// The child `+`. No child is the root, so that 0 can stand for none.
    plus: usize,
    /// Whose filter ends here.
    here: Option<Box<Subscribers>>,
    /// Whose filter ends here with `#`.
    below: Option<Box<Subscribers>>,
}

impl TopicTree {
    pub(super) fn new(hasher: RandomState) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Self {
            nodes,
            edges: HashTable::new(),
            hasher,
            walk: Vec::new(),
        }
    }

    /// Calls `visit` with the subscribers of every filter that matches `topic`.
    pub(super) fn for_each_match(
        &mut self,
        topic: &TopicName,
        mut visit: impl FnMut(&mut Subscribers),
    ) {
        let name = topic.as_str().as_bytes();
        let mut walk = std::mem::take(&mut self.walk);
        walk.push((ROOT, 0));
        while let Some((id, start)) = walk.pop() {
            // A wildcard in front does not match `$` [MQTT-4.7.2-1].
            let hidden = id == ROOT && topic.is_reserved();
            let Some(node) = self.nodes.get_mut(id) else {
                continue;
            };
            if let Some(below) = node.below.as_deref_mut().filter(|_| !hidden) {
                visit(below);
            }
            let Some(rest) = name.get(start..) else {
                if let Some(here) = node.here.as_deref_mut() {
                    visit(here);
                }
                continue;
            };
            let (plus, childless) = (node.plus, node.children == 0);
            let level_len = rest
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(rest.len());
            let next = start + level_len + 1;
            if plus != ROOT && !hidden {
                walk.push((plus, next));
            }
            let level = rest.get(..level_len).unwrap_or_default();
            if !childless && let Some(child) = self.child_of(id, level) {
                walk.push((child, next));
            }
        }
        self.walk = walk;
    }

    /// Who subscribes to exactly this filter.
    pub(super) fn find_mut(&mut self, pattern: &str) -> Option<&mut Subscribers> {
        let id = self.find_node(pattern)?;
        self.nodes.get_mut(id)?.end_mut(pattern).as_deref_mut()
    }

    /// Lets `add` put somebody into a filter, for which nodes are made if need be.
    pub(super) fn add(
        &mut self,
        pattern: &str,
        add: impl FnOnce(&mut Subscribers) -> bool,
    ) -> bool {
        let mut id = ROOT;
        for level in levels(pattern) {
            id = self
                .child(id, level)
                .unwrap_or_else(|| self.insert(id, level));
        }
        let node = self.nodes.get_mut(id);
        node.is_some_and(|node| add(node.end_mut(pattern).get_or_insert_default()))
    }

    /// Lets `remove` take somebody out of a filter, and drops what holds nothing any more.
    pub(super) fn remove(
        &mut self,
        pattern: &str,
        remove: impl FnOnce(&mut Subscribers) -> bool,
    ) -> bool {
        let Some(id) = self.find_node(pattern) else {
            return false;
        };
        let Some(node) = self.nodes.get_mut(id) else {
            return false;
        };
        let Some(subscribers) = node.end_mut(pattern) else {
            return false;
        };
        let removed = remove(subscribers);
        if subscribers.is_empty() {
            *node.end_mut(pattern) = None;
            self.prune(id);
        }
        removed
    }

    fn find_node(&self, pattern: &str) -> Option<usize> {
        levels(pattern).try_fold(ROOT, |id, level| self.child(id, level))
    }

    fn child(&self, parent: usize, level: &str) -> Option<usize> {
        if level == "+" {
            let node = self.nodes.get(parent);
            return node.map(|node| node.plus).filter(|plus| *plus != ROOT);
        }
        self.child_of(parent, level.as_bytes())
    }

    /// The child with this text, which is not `+`.
    fn child_of(&self, parent: usize, level: &[u8]) -> Option<usize> {
        let is_edge = |id: &usize| {
            let node = self.nodes.get(*id);
            node.is_some_and(|node| node.parent == parent && *node.level == *level)
        };
        self.edges
            .find(hash_edge(&self.hasher, parent, level), is_edge)
            .copied()
    }

    fn insert(&mut self, parent: usize, level: &str) -> usize {
        let id = self.nodes.insert(Node {
            parent,
            level: level.as_bytes().into(),
            ..Node::default()
        });
        let is_plus = level == "+";
        if let Some(above) = self.nodes.get_mut(parent) {
            if is_plus {
                above.plus = id;
            } else {
                above.children += 1;
            }
        }
        if is_plus {
            return id;
        }
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let rehash = |id: &usize| {
            nodes
                .get(*id)
                .map_or(0, |node| hash_edge(hasher, node.parent, &node.level))
        };
        self.edges
            .insert_unique(hash_edge(hasher, parent, level.as_bytes()), id, rehash);
        id
    }

    /// Removes this node and those above it that hold nothing.
    fn prune(&mut self, mut id: usize) {
        while id != ROOT && self.nodes.get(id).is_some_and(Node::is_empty) {
            let Some(node) = self.nodes.try_remove(id) else {
                return;
            };
            let Some(parent) = self.nodes.get_mut(node.parent) else {
                return;
            };
            if parent.plus == id {
                parent.plus = ROOT;
            } else {
                parent.children -= 1;
                let hash = hash_edge(&self.hasher, node.parent, &node.level);
                if let Ok(edge) = self.edges.find_entry(hash, |other| *other == id) {
                    edge.remove();
                }
            }
            id = node.parent;
        }
    }
}

impl Node {
    /// Where the subscribers of a filter are that leads here.
    fn end_mut(&mut self, pattern: &str) -> &mut Option<Box<Subscribers>> {
        if pattern.ends_with('#') {
            &mut self.below
        } else {
            &mut self.here
        }
    }

    fn is_empty(&self) -> bool {
        self.children == 0 && self.plus == ROOT && self.here.is_none() && self.below.is_none()
    }
}

fn hash_edge(hasher: &RandomState, parent: usize, level: &[u8]) -> u64 {
    hasher.hash_one((parent, level))
}

/// The levels that are nodes: `#` is none, it is a property of the node above.
fn levels(pattern: &str) -> impl Iterator<Item = &str> {
    let last_is_hash = pattern == "#" || pattern.ends_with("/#");
    let len = if last_is_hash {
        pattern.len().saturating_sub(2)
    } else {
        pattern.len()
    };
    let levels = pattern.get(..len).unwrap_or_default().split('/');
    levels.filter(move |_| pattern != "#")
}

#[cfg(test)]
impl TopicTree {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.edges.is_empty()
    }
}
