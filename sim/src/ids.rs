//! Typed indices and the arena that hands them out.
//!
//! Invariants: an id of one kind cannot index a table of another; a slot of an [`Arena`] is
//! reused only after its value was removed, and a [`Handle`] kept from before the reuse no longer
//! finds anything (its generation differs).
//!
//! Deliberately absent: hashing and maps; ids are dense and index vectors.

/// Declares a `u32` index type.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as the position in a vector.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// Position in `Scenario::tasks`.
    TaskId
);
id!(
    /// Position in `Scenario::sources`.
    SourceId
);
id!(
    /// Position in `Scenario::models`.
    ModelId
);
id!(
    /// Position in `Scenario::pools`.
    PoolId
);
id!(
    /// Position of a replica among all replicas of all pools.
    ReplicaId
);
id!(
    /// A sequence inside one replica.
    SeqId
);
id!(
    /// Position in `Scenario::remotes`.
    RemoteId
);
id!(
    /// Position in `Scenario::tools`.
    ToolId
);
id!(
    /// Position in `Scenario::intents`: what a model call is for.
    IntentId
);
id!(
    /// Position in `Scenario::attributes`: something a task declares about itself.
    AttributeId
);
id!(
    /// Position in `Scenario::symbols`: a word that conditions compare.
    SymbolId
);
id!(
    /// Position in `Scenario::plans`: what a tenant pays.
    PlanId
);

/// A place where a model call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// Our own GPUs.
    Pool(PoolId),
    /// Somebody else's, or the user's own device.
    Remote(RemoteId),
}

/// A slot of an [`Arena`] and the generation of the value that was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Slot number; below the arena's peak population.
    pub slot: u32,
    /// How often the slot had been filled before.
    pub generation: u32,
}

/// Values in reusable slots: memory follows the largest number alive at once, not the number
/// ever created.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Stores `value` and returns where.
    pub fn insert(&mut self, value: T) -> Handle {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.1 = Some(value);
            return Handle { slot, generation: entry.0 };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 values alive at once");
        self.slots.push((0, Some(value)));
        Handle { slot, generation: 0 }
    }

    /// Takes the value out; `None` when it was already removed.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let entry = self.slots.get_mut(handle.slot as usize)?;
        if entry.0 != handle.generation {
            return None;
        }
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(handle.slot);
        Some(value)
    }

    /// Drops the value where it is; nothing when it was already removed.
    pub fn discard(&mut self, handle: Handle) {
        let Some(entry) = self.slots.get_mut(handle.slot as usize) else { return };
        if entry.0 == handle.generation && entry.1.is_some() {
            entry.1 = None;
            entry.0 = entry.0.wrapping_add(1);
            self.free.push(handle.slot);
        }
    }

    /// Takes the value out of a slot whatever its generation; `None` when the slot is free.
    pub fn remove_slot(&mut self, slot: u32) -> Option<T> {
        let generation = self.slots.get(slot as usize)?.0;
        self.remove(Handle { slot, generation })
    }

    /// The value in a slot, whatever its generation; `None` when the slot is free.
    #[must_use]
    pub fn in_slot(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.1.as_ref()
    }

    /// The value, unless it was removed.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let entry = self.slots.get(handle.slot as usize)?;
        if entry.0 == handle.generation { entry.1.as_ref() } else { None }
    }

    /// The value to change, unless it was removed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let entry = self.slots.get_mut(handle.slot as usize)?;
        if entry.0 == handle.generation { entry.1.as_mut() } else { None }
    }

    /// The values alive now, by slot.
    pub fn values(&self) -> impl Iterator<Item = &T> + '_ {
        self.slots.iter().filter_map(|(_, value)| value.as_ref())
    }

    /// Values alive now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_finds_nothing_after_reuse() {
        let mut arena = Arena::default();
        let first = arena.insert("a");
        assert_eq!(arena.remove(first), Some("a"));
        let second = arena.insert("b");
        assert_eq!(second.slot, first.slot);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        arena.discard(first);
        assert_eq!(arena.get(second), Some(&"b"));
        assert_eq!(arena.len(), 1);
        arena.discard(second);
        arena.discard(second);
        assert_eq!((arena.get(second), arena.len()), (None, 0));
        assert_ne!(arena.insert("c"), second);
        assert_ne!(arena.insert("d").slot, second.slot);
    }
}
