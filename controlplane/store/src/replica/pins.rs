//! Earlier revisions that somebody pages through, so that each page does not rewind the map again.

use crate::limits::PINNED_VIEWS;
use crate::state::MapView;
use crate::{Revision, View};
use std::collections::VecDeque;
use std::sync::Arc;

/// The last [`PINNED_VIEWS`], each only as long as the history reaches back to it.
#[derive(Default)]
pub struct Pins {
    views: VecDeque<Arc<MapView>>,
}

impl Pins {
    pub fn find(&self, revision: Revision) -> Option<Arc<MapView>> {
        self.views.iter().find(|view| view.revision() == revision).cloned()
    }

    pub fn pin(&mut self, view: Arc<MapView>) {
        if self.find(view.revision()).is_some() {
            return;
        }
        if self.views.len() == PINNED_VIEWS {
            self.views.pop_front();
        }
        self.views.push_back(view);
    }

    pub fn drop_below(&mut self, oldest: Revision) {
        self.views.retain(|view| view.revision() >= oldest);
    }
}
