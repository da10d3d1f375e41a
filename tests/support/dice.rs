//! Throws that decide what a generator makes: from a seed, the same everywhere; or from bytes, so
//! that a fuzzer which changes a byte changes one decision.

use std::collections::VecDeque;

/// Where the throws come from.
pub enum Dice {
    /// SplitMix64.
    Seed(u64),
    /// Each throw takes a byte, or eight where one is too few; zeros once there are none left.
    Bytes(VecDeque<u8>),
}

/// Bytes that no compression makes fewer, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..length).map(|_| dice.byte()).collect()
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice::Seed(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub fn of_bytes(bytes: &[u8]) -> Dice {
        Dice::Bytes(bytes.iter().copied().collect())
    }

    pub fn next(&mut self) -> u64 {
        match self {
            Dice::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ (mixed >> 31)
            }
            Dice::Bytes(bytes) => {
                let eight = std::array::from_fn(|_| bytes.pop_front().unwrap_or(0));
                u64::from_le_bytes(eight)
            }
        }
    }

    pub fn byte(&mut self) -> u8 {
        match self {
            Dice::Seed(_) => self.next() as u8,
            Dice::Bytes(bytes) => bytes.pop_front().unwrap_or(0),
        }
    }

    pub fn below(&mut self, end: u64) -> u64 {
        match self {
            Dice::Bytes(_) if end <= 256 => u64::from(self.byte()) % end,
            _ => self.next() % end,
        }
    }

    /// A throw of 0 is a no: where the bytes end, nothing special happens any more.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) >= 100 - chance
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
