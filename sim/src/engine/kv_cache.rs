//! KV blocks of one replica: how many are free, and with prefix caching which content they hold.
//!
//! Without prefix caching blocks are anonymous and only counted. With it a block's entry lives in
//! the *node* of the sequence that computed it, beside its neighbours, so that releasing and
//! evicting walk memory in order. A look-up walks along a node, too: the map from content to block
//! is asked where a node begins, not for each block.
//! Blocks without content are only counted: they are always reused before cached ones, as in vLLM,
//! where they are put at the front of the free list. Cached blocks that nobody holds stand in a
//! queue of extents, least recently released first, the last block of a sequence before its first.
//!
//! Invariants: `free` + blocks held by at least one sequence = usable blocks; `free` = blank +
//! cached blocks that nobody holds; an entry of the map whose block has lost its hash is stale.
//!
//! Whoever holds a block holds its predecessors, and they are released in one go, last block first.
//! So content outlives what was built on it: as long as a block is cached, a block with the content
//! before it is. Blocks whose content nobody else had when they got it (a node's *sole* blocks) are
//! therefore found from their predecessor: only the first of a node is in the map. A sequence that
//! computes what is cached already (two equal prompts at once) enters its blocks one by one.
//!
//! Deliberately absent: block numbers (nothing depends on them) and token contents (only hashes
//! arrive here).

use super::block_map::{BlockMap, BlockRef};
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
    /// Number of the last release.
    stamp: u32,
    evictions: u64,
}

/// The blocks one sequence computed, in order.
///
/// As long as nobody else uses one of them they share one fate: all held, or all released at
/// once and evicted from the end. Only a node that somebody else hit keeps a record per block.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Hashes of its blocks' contents, from the first; 0: evicted (of a shared node).
    hashes: Vec<u64>,
    /// Leading blocks whose content no other cached block had when they got it.
    sole: u32,
    /// Blocks it has: held ones, or released ones that are still cached.
    len: u32,
    /// Whether its sequence holds them; of a shared node the blocks know.
    held: bool,
    /// Release at which they last became free.
    stamp: u32,
    /// One record per block once somebody else used one; otherwise empty.
    shared: Vec<Block>,
    /// Blocks of a shared node that are held or have content.
    alive: u32,
    /// Whether another sequence computed a sole block's content once more.
    doubled: bool,
    /// Sequences the node belonged to before, modulo 256: tells stale entries of the map.
    generation: u8,
}

/// A block of a shared node.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    refs: u32,
    /// Release at which it last became free.
    stamp: u32,
}

impl Node {
    fn is_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Hash of what block `index` holds, if it is there and has content.
    fn content(&self, index: u32) -> Option<u64> {
        let known = self.hashes.len().min(self.len as usize);
        self.hashes[..known].get(index as usize).copied().filter(|&hash| hash != 0)
    }

    fn is_free(&self, index: u32) -> bool {
        match self.shared.get(index as usize) {
            Some(block) => block.refs == 0,
            None => !self.held,
        }
    }

    /// Starts a record per block.
    fn share(&mut self) {
        if !self.is_shared() {
            // Those behind were evicted.
            self.hashes.truncate(self.len as usize);
            let block = Block { refs: u32::from(self.held), stamp: self.stamp };
            self.shared.resize(self.len as usize, block);
            self.alive = self.len;
        }
    }

    /// Blocks that are held or have content.
    fn alive(&self) -> u32 {
        if self.is_shared() { self.alive } else { self.len }
    }
}

/// Blocks `from..to` of a node, released together; the last is evicted first.
#[derive(Clone, Copy, Debug)]
struct Extent {
    node: u32,
    from: u32,
    to: u32,
    stamp: u32,
}

/// The blocks a running sequence holds; kept only with prefix caching.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Blocks of other sequences' nodes, from the start of the prompt.
    hits: Vec<BlockRef>,
    /// Its own node and how many blocks of it, following the hits.
    own: Option<(u32, u32)>,
}

impl Holding {
    /// Blocks held.
    pub(super) fn len(&self) -> u32 {
        self.hits.len() as u32 + self.own.map_or(0, |own| own.1)
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
    pub(super) fn take_hits(&mut self, hits: &[BlockRef], holding: &mut Holding) {
        let Some(prefix) = &mut self.prefix else { return };
        debug_assert_eq!(holding.len(), 0, "hits come first");
        for &hit in hits {
            let node = &mut prefix.nodes[hit.node() as usize];
            node.share();
            let block = &mut node.shared[hit.index() as usize];
            self.free -= u32::from(block.refs == 0);
            block.refs += 1;
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
        let mut cached_free = 0;
        for node in &prefix.nodes {
            let blocks = node.shared.len().max(node.len as usize) as u32;
            let alive = |&at: &u32| node.content(at).is_some() || !node.is_free(at);
            assert_eq!((0..blocks).filter(alive).count(), node.alive() as usize, "{node:?}");
            cached_free += (0..blocks)
                .filter(|&at| node.content(at).is_some() && node.is_free(at))
                .count() as u32;
        }
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
            stamp: 0,
            evictions: 0,
        }
    }

    /// Appends to `hits` the cached blocks for the first of `hashes`, up to the first that is not
    /// cached; of several with equal content the oldest.
    pub(super) fn find_all(&self, hashes: &[u64], hits: &mut Vec<BlockRef>) {
        let from = hits.len();
        while let Some(&hash) = hashes.get(hits.len() - from) {
            let Some(found) = self.find(hits.last().copied(), hash) else { return };
            hits.push(found);
            let node = &self.nodes[found.node() as usize];
            let behind = hashes[hits.len() - from..].iter();
            let same = (found.index() + 1..node.sole)
                .zip(behind)
                .take_while(|&(index, &hash)| node.content(index) == Some(hash))
                .map(|(index, _)| BlockRef::new(found.node(), index));
            hits.extend(same);
        }
    }

    /// The cached block with this content, if any; the oldest of several. `before` is what this
    /// found for the content before it, `None` for the first block of a prompt.
    fn find(&self, before: Option<BlockRef>, hash: u64) -> Option<BlockRef> {
        if let Some(next) = before.map(BlockRef::next) {
            let node = &self.nodes[next.node() as usize];
            if next.index() < node.sole && node.content(next.index()) == Some(hash) {
                return Some(next);
            }
        }
        self.map.find(hash, |at, generation| content(&self.nodes, at, generation))
    }

    pub(super) fn is_free(&self, at: BlockRef) -> bool {
        self.nodes[at.node() as usize].is_free(at.index())
    }

    /// Makes `holding` hold `count` blocks in all; the new ones were taken from the free ones.
    pub(super) fn settle(&mut self, holding: &mut Holding, count: u32) {
        let missing = count - holding.len();
        if missing == 0 {
            return;
        }
        let own = holding.own.get_or_insert_with(|| {
            let node = self.vacant.pop().unwrap_or_else(|| {
                self.nodes.push(Node::default());
                self.nodes.len() as u32 - 1
            });
            (node, 0)
        });
        let node = &mut self.nodes[own.0 as usize];
        own.1 += missing;
        node.held = true;
        node.len = own.1;
        if node.is_shared() {
            node.alive += missing;
            node.shared.resize(own.1 as usize, Block { refs: 1, stamp: 0 });
        }
    }

    /// Gives the held blocks from `index` on their content.
    pub(super) fn register(&mut self, holding: &Holding, index: usize, hashes: &[u64]) {
        let (Some((number, _)), Some(&first)) = (holding.own, hashes.first()) else { return };
        let index = (index - holding.hits.len()) as u32;
        let doubles = self.doubles(holding, number, index, first);
        let node = &mut self.nodes[number as usize];
        debug_assert_eq!(node.hashes.len(), index as usize, "blocks get their content in order");
        node.hashes.extend_from_slice(hashes);
        let mut entered = hashes.len();
        if !doubles {
            node.sole += hashes.len() as u32;
            entered = usize::from(index == 0);
        }
        let generation = node.generation;
        let content = |at, generation| content(&self.nodes, at, generation);
        for (at, &hash) in (index..).zip(&hashes[..entered]) {
            self.map.insert(hash, BlockRef::new(number, at), generation, content);
        }
    }

    /// Whether blocks of node `number` from `index` on, the first with content `first`, may have
    /// content that is cached already.
    fn doubles(&mut self, holding: &Holding, number: u32, index: u32, first: u64) -> bool {
        let node = &self.nodes[number as usize];
        if node.sole < index {
            return true;
        }
        // Nobody could build on the blocks before or compute them again without leaving a mark.
        if index > 0 && holding.hits.is_empty() && !node.is_shared() && !node.doubled {
            return false;
        }
        let before = match index.checked_sub(1) {
            Some(last) => Some(BlockRef::new(number, last)),
            None => holding.hits.last().copied(),
        };
        let Some(oldest) = self.find(before, first) else { return false };
        self.nodes[oldest.node() as usize].doubled = true;
        true
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
            let number = extent.node;
            let node = &mut self.nodes[number as usize];
            if node.is_shared() {
                left -= node.evict_one_by_one(extent, left);
            } else if !node.held && node.stamp == extent.stamp {
                let taken = left.min(extent.to - extent.from);
                extent.to -= taken;
                node.len = extent.to;
                left -= taken;
            } else {
                extent.to = extent.from; // Of a sequence that used the node before.
            }
            let empty = node.alive() == 0 && !node.hashes.is_empty();
            if extent.to == extent.from {
                self.released.pop_front();
            }
            if empty {
                self.vacate(number);
            }
        }
    }

    /// Nothing of a node is left: another sequence may use it.
    fn vacate(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        node.hashes.clear();
        node.shared.clear();
        (node.len, node.sole, node.alive) = (0, 0, 0);
        (node.held, node.doubled) = (false, false);
        node.generation = node.generation.wrapping_add(1);
        self.vacant.push(number);
    }

    /// Lets go of all blocks of a sequence, last first; returns how many became free.
    fn release(&mut self, holding: &mut Holding) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        let mut freed = 0;
        if let Some((node, count)) = holding.own.take() {
            if self.nodes[node as usize].is_shared() {
                self.nodes[node as usize].held = false;
                for index in (0..count).rev() {
                    freed += u32::from(self.let_go(BlockRef::new(node, index)));
                }
            } else {
                freed += self.let_go_together(node);
            }
            if self.nodes[node as usize].alive() == 0 {
                self.vacate(node);
            }
        }
        while let Some(hit) = holding.hits.pop() {
            freed += u32::from(self.let_go(hit));
        }
        freed
    }

    /// Lets go of all blocks of a node that nobody else uses.
    fn let_go_together(&mut self, number: u32) -> u32 {
        let stamp = self.stamp;
        let node = &mut self.nodes[number as usize];
        let (held, cached) = (node.len, node.hashes.len() as u32);
        (node.len, node.held, node.stamp) = (cached, false, stamp);
        self.blank += held - cached;
        if cached > 0 {
            self.released.push_back(Extent { node: number, from: 0, to: cached, stamp });
        }
        held
    }

    /// One holder of a shared node's block less; whether the block became free.
    fn let_go(&mut self, at: BlockRef) -> bool {
        let stamp = self.stamp;
        let (number, index) = (at.node(), at.index());
        let node = &mut self.nodes[number as usize];
        let block = &mut node.shared[index as usize];
        block.refs -= 1;
        if block.refs > 0 {
            return false;
        }
        block.stamp = stamp;
        if node.content(index).is_none() {
            node.alive -= 1;
            self.blank += 1;
            return true;
        }
        match self.released.back_mut() {
            Some(last) if last.node == number && last.stamp == stamp && last.from == index + 1 => {
                last.from = index;
            }
            _ => {
                let extent = Extent { node: number, from: index, to: index + 1, stamp };
                self.released.push_back(extent);
            }
        }
        true
    }
}

impl Node {
    /// Evicts up to `most` blocks of a shared node's extent that are still where it says; returns
    /// how many.
    fn evict_one_by_one(&mut self, extent: &mut Extent, most: u32) -> u32 {
        let mut evicted = 0;
        while evicted < most && extent.to > extent.from {
            extent.to -= 1;
            // A node that another sequence used since may be shorter.
            let Some(block) = self.shared.get(extent.to as usize) else { continue };
            let in_place = block.refs == 0 && block.stamp == extent.stamp;
            if in_place && self.content(extent.to).is_some() {
                self.hashes[extent.to as usize] = 0;
                self.alive -= 1;
                evicted += 1;
            }
        }
        evicted
    }
}

/// What an entry of the map points at, unless it is stale.
fn content(nodes: &[Node], at: BlockRef, generation: u8) -> Option<u64> {
    let node = &nodes[at.node() as usize];
    node.content(at.index()).filter(|_| node.generation == generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_blocks_are_reused_before_cached_ones_and_those_last_block_first() {
        let mut kv = KvCache::new(6, true);
        let mut holding = Holding::default();
        kv.take(3);
        let prefix = kv.prefix.as_mut().expect("prefix caching is on");
        prefix.settle(&mut holding, 3);
        prefix.register(&holding, 0, &[10, 11]);
        kv.release(&mut holding);
        kv.check();
        // Free now: two never used and one un-hashed block, then 11 (the tail), then 10.
        kv.take(4);
        assert_eq!(kv.evictions(), 1);
        let prefix = kv.prefix.as_ref().expect("prefix caching is on");
        let first = prefix.find(None, 10);
        assert!(first.is_some());
        assert!(prefix.find(first, 11).is_none());
        kv.check();
    }

    #[test]
    fn a_block_taken_again_is_not_evicted_at_its_old_place() {
        let mut kv = KvCache::new(5, true);
        let (mut first, mut second) = (Holding::default(), Holding::default());
        for (holding, hash) in [(&mut first, 10), (&mut second, 20)] {
            kv.take(2);
            let prefix = kv.prefix.as_mut().expect("prefix caching is on");
            prefix.settle(holding, 2);
            prefix.register(holding, 0, &[hash, hash + 1]);
        }
        kv.release(&mut first);
        kv.release(&mut second);
        let hit = kv.prefix.as_ref().and_then(|p| p.find(None, 10)).expect("it is cached");
        let mut again = Holding::default();
        kv.take_hits(&[hit], &mut again);
        kv.take(2);
        let found = |before, hash| kv.prefix.as_ref().and_then(|p| p.find(before, hash));
        // 11 and 21 go; 10 is held, 20 is the youngest of the free ones.
        let firsts = [10, 20].map(|hash| found(None, hash));
        assert!(firsts.iter().all(Option::is_some));
        let seconds = [(firsts[0], 11), (firsts[1], 21)].map(|(before, hash)| found(before, hash));
        assert_eq!(seconds, [None, None]);
        kv.release(&mut again);
        kv.check();
    }
}
