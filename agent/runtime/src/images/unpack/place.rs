//! A member's place in its layer: components that are plain names, nothing else.

use crate::images::fault::Fault;
use crate::images::limits;

/// Empty for the layer's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(Vec<Vec<u8>>);

impl Place {
    /// A leading `/` and `.` components mean nothing; `..` is refused, for no honest archive needs it.
    pub fn parse(path: &[u8]) -> Result<Self, Fault> {
        let mut components = Vec::new();
        for component in path.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(Fault::bad("a path with \"..\"")),
                name if name.len() > limits::NAME_BYTES => return Err(Fault::bad("a name longer than 255 bytes")),
                name if name.contains(&0) => return Err(Fault::bad("a name with a zero byte")),
                name => components.push(name.to_vec()),
            }
        }
        match components.len() {
            n if n > limits::PATH_DEPTH => Err(Fault::bad(format!("a path {n} folders deep"))),
            _ => Ok(Place(components)),
        }
    }

    pub fn name(&self) -> Option<&[u8]> {
        self.0.last().map(Vec::as_slice)
    }

    /// Folders above it, from the root down.
    pub fn parents(&self) -> &[Vec<u8>] {
        &self.0[..self.0.len().saturating_sub(1)]
    }

    pub fn sibling(&self, name: &[u8]) -> Place {
        let mut components = self.parents().to_vec();
        components.push(name.to_vec());
        Place(components)
    }

    pub fn is_below(&self, top: &[u8]) -> bool {
        self.0.len() > 1 && self.0[0] == top
    }
}

/// As the kernel takes it, relative to the root.
pub fn join(components: &[Vec<u8>]) -> Vec<u8> {
    match components.is_empty() {
        true => b".".to_vec(),
        false => components.join(&b'/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_one_form() {
        for path in ["a/b", "/a/b", "./a/b", "a/./b/", "//a//b"] {
            let place = Place::parse(path.as_bytes()).unwrap();
            assert_eq!(join(&place.0), b"a/b", "{path}");
            assert_eq!(place.name(), Some(&b"b"[..]));
        }
        assert_eq!(Place::parse(b"./").unwrap(), Place::default());
    }

    #[test]
    fn paths_that_leave_are_refused() {
        let deep = "a/".repeat(300);
        let long = "a".repeat(256);
        for path in ["..", "a/../b", "/../etc", "a/..", deep.as_str(), long.as_str(), "a\0b"] {
            assert!(Place::parse(path.as_bytes()).is_err(), "{path:?}");
        }
    }
}
