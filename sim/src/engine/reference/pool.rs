//! The block pool of the reference engine: one entry per block, one free list.
//!
//! Invariants: a block is in the free list exactly while nobody refers to it; a block with a hash
//! is in the map under it.
//!
//! Deliberately absent: speed, and any limit (the caller checks that a block is free).

use std::collections::{BTreeMap, VecDeque};

/// A block of the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) refs: u32,
    /// 0: no identity.
    pub(super) hash: u64,
}

/// The block pool: one free list, never-used, un-hashed and cached blocks together.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) blocks: Vec<Block>,
    pub(super) free: VecDeque<usize>,
    /// Blocks under each hash, oldest first.
    pub(super) by_hash: BTreeMap<u64, Vec<usize>>,
    pub(super) evictions: u64,
}

impl Pool {
    pub(super) fn new(blocks: u32) -> Pool {
        Pool {
            blocks: vec![Block::default(); blocks as usize],
            free: (1..blocks as usize).collect(),
            by_hash: BTreeMap::new(),
            evictions: 0,
        }
    }

    pub(super) fn take_free(&mut self) -> usize {
        let block = self.free.pop_front().expect("the caller checked that one is free");
        let hash = std::mem::take(&mut self.blocks[block].hash);
        if hash != 0 {
            let entry = self.by_hash.get_mut(&hash).expect("hashed blocks are in the map");
            entry.retain(|&other| other != block);
            if entry.is_empty() {
                self.by_hash.remove(&hash);
            }
            self.evictions += 1;
        }
        self.blocks[block].refs = 1;
        block
    }

    /// How many of the blocks nobody holds.
    pub(super) fn free_among(&self, blocks: &[usize]) -> u32 {
        blocks.iter().filter(|&&block| self.blocks[block].refs == 0).count() as u32
    }

    pub(super) fn take_hit(&mut self, block: usize) {
        if self.blocks[block].refs == 0 {
            self.free.retain(|&other| other != block);
        }
        self.blocks[block].refs += 1;
    }

    pub(super) fn register(&mut self, block: usize, hash: u64) {
        self.blocks[block].hash = hash;
        self.by_hash.entry(hash).or_default().push(block);
    }

    /// Gives back a request's blocks, last first: hashed ones to the tail, others to the front.
    pub(super) fn release(&mut self, blocks: &mut Vec<usize>) {
        while let Some(block) = blocks.pop() {
            self.blocks[block].refs -= 1;
            if self.blocks[block].refs > 0 {
                continue;
            }
            if self.blocks[block].hash == 0 {
                self.free.push_front(block);
            } else {
                self.free.push_back(block);
            }
        }
    }
}
