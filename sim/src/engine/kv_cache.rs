//! KV blocks of one replica: how many are free, and with prefix caching which content they hold.
//!
//! Without prefix caching blocks are anonymous and only counted. With it a block's entry lives in
//! the *node* of the sequence that computed it, beside its neighbours, and blocks of one fate are
//! handled as one: what is done for a sequence takes as many steps as its content has runs and its
//! neighbours have parted from it, not as it has blocks. A look-up goes from stretch to stretch:
//! the map from content to block is asked where a node begins, not for each block.
//! Blocks without content are only counted: they are always reused before cached ones, as in vLLM,
//! where they are put at the front of the free list. Cached blocks that nobody holds stand in a
//! queue of extents, least recently released first, the last block of a sequence before its first.
//!
//! Invariants: `free` + blocks held by at least one sequence = usable blocks; `free` = blank +
//! cached blocks that nobody holds; an entry of the map whose block was evicted is stale.
//!
//! Whoever holds a block holds its predecessors, and they are released in one go, last block first.
//! So content outlives what was built on it: as long as a block is cached, a block with the content
//! before it is. Blocks whose content nobody else had when they got it (a node's *sole* blocks) are
//! therefore found from their predecessor: only the first of a node is in the map. A sequence that
//! computes what is cached already (two equal prompts at once) enters its blocks one by one.
//!
//! Deliberately absent: block numbers (nothing depends on them) and token contents (only their
//! outline arrives here).

use super::block_map::{BlockMap, BlockRef};
use super::content::{Run, runs_from};
use super::node::{Blocks, Node};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Free, held and cached blocks.
#[derive(Clone, Debug)]
pub(super) struct KvCache {
    usable: u32,
    free: u32,
    pub(super) prefix: Option<PrefixCache>,
}

/// Blocks with content.
#[derive(Clone, Debug)]
pub(super) struct PrefixCache {
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    /// Free blocks without content.
    blank: u32,
    map: BlockMap,
    /// Cached blocks nobody holds, oldest first; entries go stale when a block is taken again.
    released: VecDeque<Extent>,
    /// Length of `released` from which the stale entries are thrown out.
    sweep_at: usize,
    /// Number of the last release.
    stamp: u32,
    evictions: u64,
}

/// Releases that are always remembered, stale or not.
const LEAST_SWEPT: usize = 1024;

/// Blocks released together; the last is evicted first.
#[derive(Clone, Copy, Debug)]
struct Extent {
    blocks: Blocks,
    stamp: u32,
}

/// The blocks a running sequence holds; kept only with prefix caching.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Blocks of other sequences' nodes, from the start of the prompt.
    hits: SmallVec<[Blocks; 2]>,
    /// How many those are.
    hit_blocks: u32,
    /// Its own node and how many blocks of it, following the hits.
    own: Option<(u32, u32)>,
}

impl Holding {
    /// Blocks held.
    pub(super) fn len(&self) -> u32 {
        self.hit_blocks + self.own.map_or(0, |own| own.1)
    }
}

impl KvCache {
    pub(super) fn new(blocks: u32, prefix_caching: bool) -> KvCache {
        let usable = blocks - 1;
        KvCache { usable, free: usable, prefix: prefix_caching.then(|| PrefixCache::new(usable)) }
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn used(&self) -> u32 {
        self.usable - self.free
    }

    pub(super) fn usable(&self) -> u32 {
        self.usable
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions_after(0)
    }

    /// Evictions once `count` more blocks have been taken.
    pub(super) fn evictions_after(&self, count: u32) -> u64 {
        let after =
            |prefix: &PrefixCache| prefix.evictions + u64::from(count.saturating_sub(prefix.blank));
        self.prefix.as_ref().map_or(0, after)
    }

    /// Takes blocks out of the free ones, evicting cached content where no blank one is left.
    pub(super) fn take(&mut self, count: u32) {
        self.free -= count;
        if let Some(prefix) = &mut self.prefix {
            let blank = count.min(prefix.blank);
            prefix.blank -= blank;
            prefix.evict(count - blank);
        }
    }

    /// Takes cached blocks a sequence can use.
    pub(super) fn take_hits(&mut self, hits: &[Blocks], holding: &mut Holding) {
        let Some(prefix) = &mut self.prefix else { return };
        debug_assert_eq!(holding.len(), 0, "hits come first");
        for &hit in hits {
            self.free -= prefix.nodes[hit.node as usize].hold(hit);
            holding.hit_blocks += hit.len();
        }
        holding.hits.extend_from_slice(hits);
    }

    /// Gives back `count` blocks that were only counted (no prefix caching).
    pub(super) fn release_counted(&mut self, count: u32) {
        self.free += count;
        debug_assert!(self.free <= self.usable, "more blocks given back than taken");
    }

    /// Gives back a sequence's blocks, last first.
    pub(super) fn release(&mut self, holding: &mut Holding) {
        if let Some(prefix) = &mut self.prefix {
            self.free += prefix.release(holding);
        }
    }

    /// Recounts everything from the nodes: what must hold between iterations.
    pub(super) fn check(&self) {
        let Some(prefix) = &self.prefix else { return };
        let cached_free: u32 = prefix.nodes.iter().map(Node::check).sum();
        assert_eq!(prefix.blank + cached_free, self.free, "free blocks leak or double");
    }
}

impl PrefixCache {
    fn new(usable: u32) -> PrefixCache {
        PrefixCache {
            nodes: Vec::new(),
            vacant: Vec::new(),
            blank: usable,
            map: BlockMap::default(),
            released: VecDeque::new(),
            sweep_at: LEAST_SWEPT,
            stamp: 0,
            evictions: 0,
        }
    }

    /// Appends to `hits` where the first `most` blocks of a sequence are cached, up to the first
    /// that is not; of several with equal content the oldest. Returns how many those are.
    pub(super) fn find_all(&self, runs: &[Run], most: u32, hits: &mut Vec<Blocks>) -> u32 {
        let mut place = 0;
        while place < most {
            let Some(found) = self.find(runs, place) else { break };
            let (node, from) = (found.node(), found.index());
            let same = self.nodes[node as usize].same_until(from, runs, most);
            // A block that others have, too, stands for itself alone.
            let hit = Blocks { node, from, to: same.max(from + 1) };
            hits.push(hit);
            place += hit.len();
        }
        place
    }

    /// The block in the map that holds what a sequence of these `runs` holds at `place`, if any;
    /// the oldest of several.
    fn find(&self, runs: &[Run], place: u32) -> Option<BlockRef> {
        let hash = runs_from(runs, place)[0].hash(place);
        self.map.find(hash, |at, generation| content(&self.nodes, at, generation))
    }

    /// How many of the blocks nobody holds.
    pub(super) fn free_among(&self, hits: &[Blocks]) -> u32 {
        hits.iter().map(|&hit| self.nodes[hit.node as usize].free_among(hit)).sum()
    }

    /// Makes the `holding` of a sequence of these `runs` hold `count` blocks in all; the new ones
    /// were taken from the free ones.
    pub(super) fn settle(&mut self, holding: &mut Holding, runs: &[Run], count: u32) {
        if count == holding.len() {
            return;
        }
        let start = holding.hit_blocks;
        let own = holding.own.get_or_insert_with(|| {
            let node = self.vacant.pop().unwrap_or_else(|| {
                self.nodes.push(Node::default());
                self.nodes.len() as u32 - 1
            });
            self.nodes[node as usize].begin(runs, start);
            (node, 0)
        });
        own.1 = count - start;
        self.nodes[own.0 as usize].grow(own.1);
    }

    /// Gives the held blocks up to the sequence's block `to` their content.
    pub(super) fn register(&mut self, holding: &Holding, runs: &[Run], to: u32) {
        let Some((number, _)) = holding.own else { return };
        let index = self.nodes[number as usize].known();
        let doubles = self.doubles(holding, number, index);
        if doubles {
            self.mark_doubled(runs, to);
        }
        let to = to - holding.hit_blocks;
        let node = &mut self.nodes[number as usize];
        node.learn(to);
        let mut entered = to;
        if !doubles {
            node.sole = to;
            entered = if index == 0 { 1 } else { index };
        }
        let generation = node.generation;
        for at in index..entered {
            let hash = self.nodes[number as usize].hash(at);
            let content = |at, generation| content(&self.nodes, at, generation);
            self.map.insert(hash, BlockRef::new(number, at), generation, content);
        }
    }

    /// Whether blocks of node `number` from `index` on may have content that is cached already.
    fn doubles(&self, holding: &Holding, number: u32, index: u32) -> bool {
        let node = &self.nodes[number as usize];
        if index > 0 {
            // Nobody could build on the blocks before or compute them again without leaving a mark.
            let marked = node.shared || node.doubled;
            return node.sole < index || marked && self.is_cached(node.hash(index));
        }
        let hash = node.hash(0);
        let behind_hits = holding.hits.last().is_some_and(|hit| {
            let before = &self.nodes[hit.node as usize];
            hit.to < before.sole && before.content(hit.to) == Some(hash)
        });
        behind_hits || self.is_cached(hash)
    }

    /// Whether the map leads to a block with this content.
    fn is_cached(&self, hash: u64) -> bool {
        self.map.find(hash, |at, generation| content(&self.nodes, at, generation)).is_some()
    }

    /// A sequence of these `runs` has computed blocks up to `to` that may be cached already: all
    /// who have any of them need to know that they are no longer alone.
    fn mark_doubled(&mut self, runs: &[Run], to: u32) {
        let mut known = Vec::new();
        self.find_all(runs, to, &mut known);
        for blocks in known {
            self.nodes[blocks.node as usize].doubled = true;
        }
    }

    /// Evicts the `count` cached blocks that were released longest ago.
    fn evict(&mut self, count: u32) {
        self.evictions += u64::from(count);
        let mut left = count;
        while left > 0 {
            let Some(extent) = self.released.front_mut() else {
                debug_assert!(false, "the caller checked that enough blocks are free");
                return;
            };
            let number = extent.blocks.node;
            let node = &mut self.nodes[number as usize];
            left -= node.evict(&mut extent.blocks, extent.stamp, left);
            if extent.blocks.len() == 0 {
                self.released.pop_front();
            }
            if node.is_spent() {
                self.vacate(number);
            }
        }
    }

    /// Nothing of a node is left: another sequence may use it.
    fn vacate(&mut self, number: u32) {
        self.nodes[number as usize].vacate();
        self.vacant.push(number);
    }

    /// Lets go of all blocks of a sequence, last first; returns how many became free.
    fn release(&mut self, holding: &mut Holding) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        let mut freed = 0;
        if let Some((number, _)) = holding.own.take() {
            let node = &mut self.nodes[number as usize];
            let blank = node.drop_unknown();
            self.blank += blank;
            freed += blank;
            let to = node.known();
            if to > 0 {
                freed += self.let_go(Blocks { node: number, from: 0, to });
            } else {
                self.vacate(number);
            }
        }
        while let Some(hit) = holding.hits.pop() {
            freed += self.let_go(hit);
        }
        holding.hit_blocks = 0;
        if self.released.len() >= self.sweep_at {
            self.sweep();
        }
        freed
    }

    /// Throws out what is stale, so that memory follows the blocks and not the releases: where
    /// little is ever evicted, nobody else would.
    fn sweep(&mut self) {
        let nodes = &self.nodes;
        self.released.retain(|extent| {
            nodes[extent.blocks.node as usize].is_let_go(extent.blocks, extent.stamp)
        });
        self.sweep_at = LEAST_SWEPT.max(2 * self.released.len());
    }

    /// One holder of cached blocks less; returns how many became free.
    fn let_go(&mut self, blocks: Blocks) -> u32 {
        let mut count = 0;
        let stamp = self.stamp;
        let node = blocks.node;
        self.nodes[node as usize].let_go(blocks, stamp, |from, to| {
            count += to - from;
            self.released.push_back(Extent { blocks: Blocks { node, from, to }, stamp });
        });
        count
    }
}

/// What an entry of the map points at, unless it is stale.
fn content(nodes: &[Node], at: BlockRef, generation: u8) -> Option<u64> {
    let node = &nodes[at.node() as usize];
    node.content(at.index()).filter(|_| node.generation == generation)
}

#[cfg(test)]
mod tests {
    use super::super::content::Outline;
    use super::*;

    fn outline(id: u64) -> Outline {
        let mut outline = Outline::default();
        outline.set(&[], id, 16);
        outline
    }

    /// Computes `blocks` blocks of an answer named `id`, `full` of them to the end.
    fn compute(kv: &mut KvCache, holding: &mut Holding, id: u64, blocks: u32, full: u32) {
        kv.take(blocks);
        let prefix = kv.prefix.as_mut().expect("prefix caching is on");
        prefix.settle(holding, outline(id).runs(), blocks);
        prefix.register(holding, outline(id).runs(), full);
    }

    /// How many of the first two blocks of `id` are cached.
    fn cached(kv: &KvCache, id: u64) -> u32 {
        let prefix = kv.prefix.as_ref().expect("prefix caching is on");
        prefix.find_all(outline(id).runs(), 2, &mut Vec::new())
    }

    #[test]
    fn blank_blocks_are_reused_before_cached_ones_and_those_last_block_first() {
        let mut kv = KvCache::new(6, true);
        let mut holding = Holding::default();
        compute(&mut kv, &mut holding, 10, 3, 2);
        kv.release(&mut holding);
        kv.check();
        // Free now: two never used and one block that is not full, then the tail of 10, then its head.
        kv.take(4);
        assert_eq!(kv.evictions(), 1);
        assert_eq!(cached(&kv, 10), 1);
        kv.check();
    }

    #[test]
    fn a_block_taken_again_is_not_evicted_at_its_old_place() {
        let mut kv = KvCache::new(5, true);
        let (mut first, mut second) = (Holding::default(), Holding::default());
        compute(&mut kv, &mut first, 10, 2, 2);
        compute(&mut kv, &mut second, 20, 2, 2);
        kv.release(&mut first);
        kv.release(&mut second);
        let mut hits = Vec::new();
        let prefix = kv.prefix.as_ref().expect("prefix caching is on");
        assert_eq!(prefix.find_all(outline(10).runs(), 1, &mut hits), 1);
        let mut again = Holding::default();
        kv.take_hits(&hits, &mut again);
        kv.take(2);
        // The tails go; the head of 10 is held, that of 20 is the youngest of the free ones.
        assert_eq!([cached(&kv, 10), cached(&kv, 20)], [1, 1]);
        kv.release(&mut again);
        kv.check();
    }

    #[test]
    fn releases_that_nothing_evicts_are_forgotten_and_the_order_stays() {
        let mut kv = KvCache::new(6, true);
        let (mut first, mut second) = (Holding::default(), Holding::default());
        compute(&mut kv, &mut first, 10, 2, 2);
        compute(&mut kv, &mut second, 20, 2, 2);
        kv.release(&mut second);
        kv.release(&mut first);
        for _ in 0..4 * LEAST_SWEPT {
            let mut hits = Vec::new();
            let prefix = kv.prefix.as_ref().expect("prefix caching is on");
            assert_eq!(prefix.find_all(outline(20).runs(), 2, &mut hits), 2);
            let mut again = Holding::default();
            kv.take_hits(&hits, &mut again);
            kv.release(&mut again);
        }
        let prefix = kv.prefix.as_ref().expect("prefix caching is on");
        assert!(prefix.released.len() <= LEAST_SWEPT, "{} releases", prefix.released.len());
        // 10 was used last long ago, so its blocks go first, last block first.
        kv.take(2);
        assert_eq!([cached(&kv, 10), cached(&kv, 20)], [1, 2]);
        kv.check();
    }
}
