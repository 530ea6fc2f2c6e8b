//! A pseudo-random byte sequence that both sides of a test know. It reveals lost, repeated and
//! reordered bytes.

use std::io::{Read, Write};

/// The sequence of a seed, which must not be 0.
pub struct Pattern(u64);

const BLOCK: usize = 1 << 16;

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Pattern(seed)
    }

    pub fn send(mut self, mut to: impl Write, blocks: usize) {
        let mut block = vec![0; BLOCK];
        for _ in 0..blocks {
            self.fill(&mut block);
            to.write_all(&block).expect("the other end reads");
        }
    }

    /// Reads this many blocks and compares every byte.
    pub fn expect(mut self, mut from: impl Read, blocks: usize) {
        let (mut block, mut received) = (vec![0; BLOCK], vec![0; BLOCK]);
        for n in 0..blocks {
            self.fill(&mut block);
            from.read_exact(&mut received).expect("the other end sends");
            assert!(block == received, "block {n} is different");
        }
    }

    /// Marsaglia's xorshift.
    fn fill(&mut self, block: &mut [u8]) {
        for bytes in block.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
