//! KV blocks of one replica: how many are free, and with prefix caching which content they hold.
//!
//! Without prefix caching blocks are anonymous and only counted. With it every block has an
//! entry: how many sequences hold it, the hash of its content, and its place in the list of
//! cached blocks that nobody holds (least recently released first). Blocks without content are
//! always reused before cached ones, as in vLLM, where they are put at the front of the free list.
//!
//! Invariants: `free` + blocks held by at least one sequence = usable blocks; a block is in the
//! free structures exactly when nobody holds it; a block is in the map exactly when it has a hash.
//! Block 0 is vLLM's null block: never handed out, here the anchor of the list.
//!
//! Deliberately absent: who holds which block (the sequences know) and token contents (only
//! hashes arrive here).

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
    blocks: Vec<Block>,
    /// Free blocks without content.
    blank: Vec<u32>,
    map: HashTable,
    /// Blocks that decoding sequences took and whose owner is settled when it leaves the batch.
    anonymous: Vec<u32>,
    evictions: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Hash of the content; 0: none.
    hash: u64,
    /// Neighbours in the list of free cached blocks.
    older: u32,
    newer: u32,
    refs: u32,
}

impl KvCache {
    pub(super) fn new(blocks: u32, prefix_caching: bool) -> KvCache {
        let usable = blocks - 1;
        KvCache { usable, free: usable, prefix: prefix_caching.then(|| PrefixCache::new(blocks)) }
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
        self.prefix.as_ref().map_or(0, |prefix| prefix.evictions)
    }

    /// Takes blocks for the decode batch; their owners are settled later.
    pub(super) fn take_anonymous(&mut self, count: u32) {
        self.free -= count;
        if let Some(prefix) = &mut self.prefix {
            for _ in 0..count {
                let block = prefix.take_free();
                prefix.anonymous.push(block);
            }
        }
    }

    /// Takes `count` blocks for one sequence, appended to `held`.
    pub(super) fn take(&mut self, count: u32, held: Option<&mut Vec<u32>>) {
        self.free -= count;
        if let (Some(prefix), Some(held)) = (&mut self.prefix, held) {
            held.extend((0..count).map(|_| prefix.take_free()));
        }
    }

    /// Takes cached blocks a sequence can use.
    pub(super) fn take_hits(&mut self, hits: &[u32]) {
        let Some(prefix) = &mut self.prefix else { return };
        for &hit in hits {
            self.free -= u32::from(prefix.take_hit(hit));
        }
    }

    /// Gives back `count` anonymous blocks (no prefix caching).
    pub(super) fn release_counted(&mut self, count: u32) {
        self.free += count;
        debug_assert!(self.free <= self.usable, "more blocks given back than taken");
    }

    /// Gives back a sequence's blocks, last first.
    pub(super) fn release(&mut self, held: &mut Vec<u32>) {
        let Some(prefix) = &mut self.prefix else { return };
        while let Some(block) = held.pop() {
            self.free += u32::from(prefix.release(block));
        }
    }

    /// Recounts everything from the block table: what must hold between iterations.
    pub(super) fn check(&self) {
        let Some(prefix) = &self.prefix else { return };
        let held = prefix.blocks[1..].iter().filter(|block| block.refs > 0).count();
        assert_eq!(held + self.free as usize, self.usable as usize, "blocks leak or double");
        let mut listed = 0;
        let mut at = prefix.blocks[0].newer;
        while at != 0 {
            assert_eq!(prefix.blocks[at as usize].refs, 0, "a held block is in the free list");
            listed += 1;
            at = prefix.blocks[at as usize].newer;
        }
        assert_eq!(listed + prefix.blank.len(), self.free as usize, "the free lists disagree");
        let hashed = prefix.blocks.iter().filter(|block| block.hash != 0).count();
        assert_eq!(hashed, prefix.map.len, "the map and the blocks disagree");
    }
}

impl PrefixCache {
    fn new(blocks: u32) -> PrefixCache {
        PrefixCache {
            blocks: vec![Block::default(); blocks as usize],
            blank: (1..blocks).rev().collect(),
            map: HashTable::new(blocks),
            anonymous: Vec::new(),
            evictions: 0,
        }
    }

    /// The cached block with this content, if any; the oldest of several.
    pub(super) fn lookup(&self, hash: u64) -> Option<u32> {
        self.map.find(hash, |block| self.blocks[block as usize].hash == hash)
    }

    pub(super) fn is_free(&self, block: u32) -> bool {
        self.blocks[block as usize].refs == 0
    }

    /// Gives a held block its content.
    pub(super) fn register(&mut self, block: u32, hash: u64) {
        self.blocks[block as usize].hash = hash;
        self.map.insert(hash, block);
    }

    /// A block that a decoding sequence took earlier.
    pub(super) fn settle(&mut self) -> u32 {
        self.anonymous.pop().expect("the batch took a block for every boundary crossed")
    }

    fn take_free(&mut self) -> u32 {
        if let Some(block) = self.blank.pop() {
            self.blocks[block as usize].refs = 1;
            return block;
        }
        let block = self.blocks[0].newer;
        debug_assert_ne!(block, 0, "the caller checked that a block is free");
        self.unlink(block);
        let entry = &mut self.blocks[block as usize];
        let hash = std::mem::take(&mut entry.hash);
        entry.refs = 1;
        self.map.remove(hash, block);
        self.evictions += 1;
        block
    }

    fn take_hit(&mut self, block: u32) -> bool {
        let was_free = self.is_free(block);
        if was_free {
            self.unlink(block);
        }
        self.blocks[block as usize].refs += 1;
        was_free
    }

    fn release(&mut self, block: u32) -> bool {
        let entry = &mut self.blocks[block as usize];
        entry.refs -= 1;
        if entry.refs > 0 {
            return false;
        }
        if entry.hash == 0 {
            self.blank.push(block);
            return true;
        }
        let newest = self.blocks[0].older;
        self.blocks[block as usize].older = newest;
        self.blocks[block as usize].newer = 0;
        self.blocks[newest as usize].newer = block;
        self.blocks[0].older = block;
        true
    }

    fn unlink(&mut self, block: u32) {
        let Block { older, newer, .. } = self.blocks[block as usize];
        self.blocks[older as usize].newer = newer;
        self.blocks[newer as usize].older = older;
    }
}

/// Open addressing with linear probing; removal shifts later entries back, so equal hashes keep
/// their order and no tombstones gather.
#[derive(Clone, Debug)]
struct HashTable {
    /// `(tag, block)`: the low half of the hash and the block; block 0 marks an empty slot.
    slots: Vec<(u32, u32)>,
    mask: u32,
    len: usize,
}

impl HashTable {
    fn new(blocks: u32) -> HashTable {
        // At most 50 % full.
        let size = (blocks.max(8) * 2).next_power_of_two();
        HashTable { slots: vec![(0, 0); size as usize], mask: size - 1, len: 0 }
    }

    fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = hash as u32;
        let mut at = tag & self.mask;
        loop {
            let (other, block) = self.slots[at as usize];
            if block == 0 {
                return None;
            }
            if other == tag && same(block) {
                return Some(block);
            }
            at = (at + 1) & self.mask;
        }
    }

    fn insert(&mut self, hash: u64, block: u32) {
        let tag = hash as u32;
        let mut at = tag & self.mask;
        while self.slots[at as usize].1 != 0 {
            at = (at + 1) & self.mask;
        }
        self.slots[at as usize] = (tag, block);
        self.len += 1;
    }

    fn remove(&mut self, hash: u64, block: u32) {
        let mut at = hash as u32 & self.mask;
        while self.slots[at as usize].1 != block {
            debug_assert_ne!(self.slots[at as usize].1, 0, "a hashed block is in the map");
            at = (at + 1) & self.mask;
        }
        self.len -= 1;
        let mut hole = at;
        loop {
            at = (at + 1) & self.mask;
            let (tag, block) = self.slots[at as usize];
            if block == 0 {
                break;
            }
            // The entry may move back unless its home lies cyclically in (hole, at].
            let from_home = at.wrapping_sub(tag & self.mask) & self.mask;
            if from_home >= at.wrapping_sub(hole) & self.mask {
                self.slots[hole as usize] = (tag, block);
                hole = at;
            }
        }
        self.slots[hole as usize] = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_keeps_the_order_of_equal_hashes_through_removals() {
        let mut table = HashTable::new(64);
        // One home slot for all: every probe runs through the others.
        let hashes: Vec<u64> = (0..20).map(|i| 5 + (i % 3) * u64::from(table.mask + 1)).collect();
        for (i, &hash) in hashes.iter().enumerate() {
            table.insert(hash, i as u32 + 1);
        }
        for i in 0..20 {
            let oldest = (i..20).find(|&j| hashes[j] == hashes[i]).map(|j| j as u32 + 1);
            assert_eq!(table.find(hashes[i], |b| hashes[b as usize - 1] == hashes[i]), oldest);
            table.remove(hashes[i], i as u32 + 1);
        }
        assert_eq!(table.len, 0);
        assert!(table.slots.iter().all(|slot| slot.1 == 0));
    }

    #[test]
    fn blank_blocks_are_reused_before_cached_ones_and_those_oldest_first() {
        let mut kv = KvCache::new(6, true);
        let mut held = Vec::new();
        kv.take(3, Some(&mut held));
        let order = held.clone();
        let prefix = kv.prefix.as_mut().expect("prefix caching is on");
        prefix.register(held[0], 10);
        prefix.register(held[1], 11);
        kv.release(&mut held);
        kv.check();
        // Free now: two never used and one un-hashed block, then 11 (the tail), then 10.
        kv.take(4, Some(&mut held));
        assert_eq!(kv.evictions(), 1);
        assert_eq!(held[3], order[1]);
        let prefix = kv.prefix.as_ref().expect("prefix caching is on");
        assert_eq!((prefix.lookup(10), prefix.lookup(11)), (Some(order[0]), None));
        kv.check();
    }
}
