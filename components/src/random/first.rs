//! The first 64 bits of many sub-streams: ChaCha8 (D. J. Bernstein, 2008) of several blocks side by side, where a generator
//! would make 256 bytes of each to give eight.

// An index runs over several arrays of lanes.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;

/// Blocks that are computed side by side.
const LANES: usize = 16;
/// A word of every block.
type Words = [u32; LANES];

/// "expand 32-byte k" in words.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Two rounds: the quarters of the columns, then those of the diagonals.
const DOUBLE_ROUND: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];
const DOUBLE_ROUNDS: usize = 4;

/// The first 64 bits of block 0 of each of `streams` under `seed`.
pub(super) fn bits(seed: [u8; 32], streams: &[u64]) -> Vec<u64> {
    let (words, _) = seed.as_chunks();
    let key: [u32; 8] = from_fn(|i| u32::from_le_bytes(words[i]));
    let mut all = Vec::with_capacity(streams.len());
    let (whole, rest) = streams.as_chunks();
    for streams in whole {
        all.extend_from_slice(&block(key, streams));
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        all.extend_from_slice(&block(key, &last)[..rest.len()]);
    }
    all
}

/// The first two words of block 0 of every stream.
fn block(key: [u32; 8], streams: &[u64; LANES]) -> [u64; LANES] {
    let mut x: [Words; 16] = from_fn(|word| match word {
        0..4 => [CONSTANTS[word]; LANES],
        4..12 => [key[word - 4]; LANES],
        12 | 13 => [0; LANES],
        14 => streams.map(|stream| stream as u32),
        _ => streams.map(|stream| (stream >> 32) as u32),
    });
    for _ in 0..DOUBLE_ROUNDS {
        for words in DOUBLE_ROUND {
            quarter(&mut x, words);
        }
    }
    from_fn(|lane| {
        let word = |at: usize| u64::from(x[at][lane].wrapping_add(CONSTANTS[at]));
        word(0) | word(1) << 32
    })
}

/// A quarter round. One loop over the lanes, which compilers turn into vectors.
fn quarter(x: &mut [Words; 16], words: [usize; 4]) {
    let [a, b, c, d] = x.get_disjoint_mut(words).expect("four different words");
    for l in 0..LANES {
        a[l] = a[l].wrapping_add(b[l]);
        d[l] = (d[l] ^ a[l]).rotate_left(16);
        c[l] = c[l].wrapping_add(d[l]);
        b[l] = (b[l] ^ c[l]).rotate_left(12);
        a[l] = a[l].wrapping_add(b[l]);
        d[l] = (d[l] ^ a[l]).rotate_left(8);
        c[l] = c[l].wrapping_add(d[l]);
        b[l] = (b[l] ^ c[l]).rotate_left(7);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;

    #[test]
    fn they_are_those_of_the_generator() {
        let stream = Stream::new(3, "first");
        let near = (0..1000).chain((0..64).map(|bit| 1 << bit));
        let counters: Vec<u64> = near.chain([u64::MAX, u64::MAX - 1]).collect();
        let expected: Vec<f64> = counters.iter().map(|&at| stream.at(at).uniform()).collect();
        for count in [0, 1, 15, 16, 17, counters.len()] {
            assert!(
                stream.uniforms_at(&counters[..count]) == expected[..count],
                "{count}"
            );
        }
    }
}
