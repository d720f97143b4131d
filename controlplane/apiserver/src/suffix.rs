//! The random end of generated names, as upstream's.

use rand::Rng;

pub const LENGTH: usize = 5;

/// No vowels, so no words; nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub fn random() -> String {
    let mut rng = rand::rng();
    (0..LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
