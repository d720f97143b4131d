//! The map at one revision, for readers.

use super::Map;
use crate::{Entry, Revision, View};
use std::ops::Bound;

#[derive(Clone)]
pub struct MapView {
    revision: Revision,
    map: Map,
}

impl MapView {
    pub fn new(revision: Revision, map: Map) -> MapView {
        MapView { revision, map }
    }

    fn entries<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> impl Iterator<Item = &'a Entry> + Send + 'a {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.map.range::<_, str>((start, Bound::Unbounded));
        range.map(|(_, entry)| entry).take_while(move |entry| entry.key.starts_with(prefix))
    }
}

impl View for MapView {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get(&self, key: &str) -> Option<Entry> {
        self.map.get(key).cloned()
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Box<dyn Iterator<Item = Entry> + Send + 'a> {
        Box::new(self.entries(prefix, after).cloned())
    }

    fn count(&self, prefix: &str) -> usize {
        self.entries(prefix, None).count()
    }
}
