//! A provider's cache of prompt prefixes.
//!
//! A prefix is a chain of segments. A node stands for one segment behind the whole segments in
//! front of it, and says how many tokens of it are cached; so the longest cached prefix of a prompt
//! is found with one look-up for each segment, and prompts that begin alike share nodes. Nodes are
//! what the capacity counts.
//!
//! What an attempt writes can be read from its first token on, when the provider has computed it.
//! A use of a prefix is a use of everything in front of it: nodes stand in a list by last use, of
//! one prompt the front before the rest, so that the end of a prompt goes first.
//!
//! Invariants: prefixes are multiples of the granularity and not shorter than the least length; a
//! node's front is in the cache as long as the node is, and was used no earlier; memory follows
//! the nodes there were at once, at most the capacity.
//!
//! Deliberately absent: breakpoints set by the client, and caches of single machines between which
//! a provider balances.

use super::PromptCache;
use crate::dice::mix;
use crate::units::Time;
use crate::workload::{Segment, tokens_of};

/// No node.
const NONE: u32 = u32::MAX;
/// Entries of the table at first; a power of two.
const FIRST_TABLE: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Node {
    key: u64,
    /// Tokens of the segment that can be read.
    cached: u32,
    /// Tokens of it that can be read from `comes` on; 0: nothing more is coming.
    coming: u32,
    comes: Time,
    used: Time,
    /// Neighbours in the list by last use.
    newer: u32,
    older: u32,
}

impl Node {
    /// Takes over what has come, and forgets what has expired.
    fn settle(&mut self, now: Time, spec: &PromptCache) {
        if now.since(self.used) > spec.ttl {
            (self.cached, self.coming) = (0, 0);
        }
        if self.coming > 0 && self.comes <= now {
            (self.cached, self.coming) = (self.cached.max(self.coming), 0);
        }
    }

    /// Notes that so many tokens can be read from `at` on. Of two writers at work only the first
    /// to be ready is remembered, of two at once the longer.
    fn expect(&mut self, tokens: u32, at: Time) {
        let first = at < self.comes || at == self.comes && tokens > self.coming;
        if tokens > self.cached && (self.coming == 0 || first) {
            (self.coming, self.comes) = (tokens, at);
        }
    }
}

/// One segment of the prompt that was looked up last.
#[derive(Clone, Copy, Debug)]
struct Step {
    key: u64,
    node: u32,
    tokens: u32,
}

/// The prefixes that are cached now.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    spec: PromptCache,
    nodes: Vec<Node>,
    /// Open addressing with linear probing, at most half full: positions in `nodes`.
    table: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// The prompt that was looked up last, as far as it will be cached.
    path: Vec<Step>,
    /// Tokens of it that will be cached, and that were.
    whole: u32,
    found: u32,
}

impl Prefixes {
    pub(super) fn new(spec: PromptCache) -> Prefixes {
        let granularity = spec.granularity.max(1);
        // One number is reserved, and an entry must hold something.
        let capacity = spec.capacity.clamp(1, NONE - 1);
        Prefixes {
            spec: PromptCache { granularity, capacity, ..spec },
            nodes: Vec::new(),
            table: vec![NONE; FIRST_TABLE],
            newest: NONE,
            oldest: NONE,
            path: Vec::new(),
            whole: 0,
            found: 0,
        }
    }

    /// Tokens of the longest cached prefix of a prompt of `input` tokens. What stands behind the
    /// last segment has no identity and is never cached.
    pub(super) fn look_up(&mut self, now: Time, prompt: &[Segment], input: u32) -> u32 {
        self.path.clear();
        (self.whole, self.found) = (0, 0);
        let known = tokens_of(prompt).min(input);
        let whole = self.round(known);
        let (mut before, mut chain, mut matches, mut found) = (0, 0, true, 0);
        for segment in prompt {
            // A path longer than the cache would push out its own beginning.
            if before == whole || self.path.len() == self.spec.capacity as usize {
                break;
            }
            let tokens = segment.tokens.min(whole - before);
            if tokens == 0 {
                continue;
            }
            let key = mix(chain, segment.id);
            // What has no front in the cache is not there either.
            let front = self.path.last().is_none_or(|step: &Step| step.node != NONE);
            let node = if front { self.find(key) } else { NONE };
            if matches && node != NONE {
                let entry = &mut self.nodes[node as usize];
                entry.settle(now, &self.spec);
                found += entry.cached.min(tokens);
            }
            before += tokens;
            matches = found == before;
            self.path.push(Step { key, node, tokens });
            chain = mix(key, u64::from(tokens));
        }
        (self.whole, self.found) = (self.round(before), self.round(found));
        self.found
    }

    /// Stores the prompt that was looked up last, to be read from `ready` on. Returns the tokens
    /// that this writes.
    pub(super) fn store(&mut self, now: Time, ready: Time) -> u32 {
        let path = std::mem::take(&mut self.path);
        if self.whole > 0 {
            let mut front = NONE;
            for step in path.iter().rev().filter(|step| step.node != NONE) {
                let node = &mut self.nodes[step.node as usize];
                node.settle(now, &self.spec);
                node.expect(step.tokens, ready);
                node.used = now;
                self.unlink(step.node);
                self.link(step.node, NONE);
                front = if front == NONE { step.node } else { front };
            }
            for step in path.iter().filter(|step| step.node == NONE) {
                front = self.insert(step, front, (now, ready));
            }
        }
        self.path = path;
        self.whole - self.found
    }

    /// The longest prefix of so many tokens that may be cached.
    fn round(&self, tokens: u32) -> u32 {
        let whole = tokens - tokens % self.spec.granularity;
        if whole < self.spec.min_tokens { 0 } else { whole }
    }

    /// Adds a node, used just before `front` (if there is one) in the list.
    fn insert(&mut self, step: &Step, front: u32, (now, ready): (Time, Time)) -> u32 {
        let node = Node {
            key: step.key,
            cached: 0,
            coming: step.tokens,
            comes: ready,
            used: now,
            newer: NONE,
            older: NONE,
        };
        let number = if self.nodes.len() < self.spec.capacity as usize {
            self.nodes.push(node);
            self.grow();
            self.nodes.len() as u32 - 1
        } else {
            let number = self.oldest;
            self.forget(number);
            self.unlink(number);
            self.nodes[number as usize] = node;
            number
        };
        self.link(number, front);
        let slot = self.slot(step.key);
        self.table[slot] = number;
        number
    }

    /// The node with this key.
    fn find(&self, key: u64) -> u32 {
        self.table[self.slot(key)]
    }

    /// Where a key stands in the table, or would.
    fn slot(&self, key: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = key as usize & mask;
        while self.table[slot] != NONE && self.nodes[self.table[slot] as usize].key != key {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Keeps the table at most half full.
    fn grow(&mut self) {
        if 2 * self.nodes.len() <= self.table.len() {
            return;
        }
        self.table = vec![NONE; 2 * self.table.len()];
        // The last node is being added and enters the table afterwards.
        for number in 0..self.nodes.len() - 1 {
            let slot = self.slot(self.nodes[number].key);
            self.table[slot] = number as u32;
        }
    }

    /// Takes a node out of the table and closes the gap: no key may stand behind an empty slot
    /// on its way.
    fn forget(&mut self, number: u32) {
        let mask = self.table.len() - 1;
        let mut gap = self.slot(self.nodes[number as usize].key);
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let moved = self.table[at];
            if moved == NONE {
                break;
            }
            let home = self.nodes[moved as usize].key as usize & mask;
            // It may move up to the gap unless its home lies behind the gap.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.table[gap] = moved;
                gap = at;
            }
        }
        self.table[gap] = NONE;
    }

    fn unlink(&mut self, number: u32) {
        let Node { newer, older, .. } = self.nodes[number as usize];
        match newer {
            NONE => self.newest = older,
            _ => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.nodes[older as usize].newer = newer,
        }
    }

    /// Puts a node behind `newer` in the list, or first.
    fn link(&mut self, number: u32, newer: u32) {
        let older = match newer {
            NONE => std::mem::replace(&mut self.newest, number),
            _ => std::mem::replace(&mut self.nodes[newer as usize].older, number),
        };
        match older {
            NONE => self.oldest = number,
            _ => self.nodes[older as usize].newer = number,
        }
        let node = &mut self.nodes[number as usize];
        (node.newer, node.older) = (newer, older);
    }
}

#[cfg(test)]
mod tests;
