//! Where the last lines of a log begin, found from its end, over as many files as it takes.

use crate::shim::log_files::{file_name, number_of};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: u64 = 64 << 10;

/// The numbers of a log's files, oldest first.
pub fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// File and offset from which `lines` lines are left, or the beginning where there are fewer.
pub fn start(folder: &Path, lines: u64) -> io::Result<Option<(u64, u64)>> {
    let numbers = numbers(folder)?;
    let mut wanted = lines;
    for &number in numbers.iter().rev() {
        let file = match File::open(folder.join(file_name(number))) {
            Ok(file) => file,
            // Rotated away while we looked: what is left begins with the next one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        match back(&file, file.metadata()?.len(), wanted)? {
            Found::At(offset) => return Ok(Some((number, offset))),
            Found::Only(count) => wanted -= count,
        }
    }
    Ok(numbers.first().map(|first| (*first, 0)))
}

enum Found {
    At(u64),
    /// All of the file is wanted; it has so many lines.
    Only(u64),
}

fn back(file: &File, length: u64, wanted: u64) -> io::Result<Found> {
    let mut seen = 0;
    let mut end = length;
    let mut block = vec![0; BLOCK as usize];
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        let part = &mut block[..(end - from) as usize];
        file.read_exact_at(part, from)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline before the first wanted line.
            if seen == wanted {
                return Ok(Found::At(from + index as u64 + 1));
            }
            seen += 1;
        }
        end = from;
    }
    if seen == wanted && wanted > 0 { Ok(Found::At(0)) } else { Ok(Found::Only(seen)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_over_files() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(70_000);
        fs::write(folder.path().join(file_name(8)), "a\nb\n").unwrap();
        fs::write(folder.path().join(file_name(9)), format!("{long}\nd\n")).unwrap();
        let at = |lines| start(folder.path(), lines).unwrap().unwrap();
        assert_eq!(at(0), (9, 70_003));
        assert_eq!(at(1), (9, 70_001));
        assert_eq!(at(2), (9, 0));
        assert_eq!(at(3), (8, 2));
        assert_eq!(at(4), (8, 0));
        assert_eq!(at(u64::MAX), (8, 0));
        assert_eq!(start(tempfile::tempdir().unwrap().path(), 3).unwrap(), None);
    }
}
