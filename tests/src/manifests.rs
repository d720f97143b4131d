//! The manifests under `tests/manifests`: as they stand, with an overlay, in part, or as fragments put into a frame.

use crate::{Kubectl, Output};
use serde_json::Value;
use std::path::PathBuf;

/// Documents in YAML, verbatim as long as nothing is set in them.
#[derive(Clone, Debug)]
pub struct Manifest(Vec<String>);

pub fn manifests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

impl Manifest {
    /// A file, such as `000/blue-green.yaml`.
    #[track_caller]
    pub fn of(file: &str) -> Self {
        let path = manifests_dir().join(file);
        Self::parse(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// What `kubectl kustomize` makes of an overlay, such as `000-blue-green`.
    #[track_caller]
    pub fn overlaid(kubectl: &Kubectl, overlay: &str) -> Self {
        let dir = manifests_dir().join("overlays").join(overlay);
        let dir = dir.to_str().expect("the path is text");
        Self::parse(&kubectl.ok(&["kustomize", "--load-restrictor", "LoadRestrictionsNone", dir]))
    }

    fn parse(text: &str) -> Self {
        Self(format!("\n{text}").split("\n---\n").map(str::to_owned).collect())
    }

    /// Leaves out documents of other kinds.
    pub fn only(self, kinds: &[&str]) -> Self {
        Self(self.0.into_iter().filter(|text| kinds.iter().any(|kind| value(text)["kind"] == *kind)).collect())
    }

    /// Puts the fields of a fragment into the object at `pointer` of the first document.
    #[track_caller]
    pub fn with_fragment(self, pointer: &str, fragment: &str) -> Self {
        let Value::Object(fields) = Self::of(fragment).first() else { panic!("{fragment} is no mapping") };
        fields.into_iter().fold(self, |manifest, (field, value)| manifest.with(&format!("{pointer}/{field}"), value))
    }

    /// Sets one field of the first document.
    #[track_caller]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut document = self.first();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent:?}"));
        parent[field] = value.into();
        // Not as JSON: older versions of `kubectl` take the form of all documents from the first.
        self.0[0] = serde_norway::to_string(&document).expect("a tree is written");
        self
    }

    pub fn text(&self) -> String {
        self.0.join("\n---\n")
    }

    pub fn documents(&self) -> Vec<Value> {
        self.0.iter().map(|text| value(text)).collect()
    }

    fn first(&self) -> Value {
        value(&self.0[0])
    }

    /// `kubectl apply -f -` with further arguments, whatever comes of it.
    pub fn try_apply(&self, kubectl: &Kubectl, args: &[&str]) -> Output {
        kubectl.run_with_input(&[&["apply", "-f", "-"], args].concat(), &self.text())
    }

    #[track_caller]
    pub fn apply(&self, kubectl: &Kubectl) {
        self.try_apply(kubectl, &[]).succeeded();
    }
}

fn value(text: &str) -> Value {
    serde_norway::from_str(text).unwrap_or_else(|e| panic!("{e} in:\n{text}"))
}
