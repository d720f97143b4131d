//! Where the decoder is in the document, and what it has to say about it.

use super::super::{Shape, Type};
use super::{FieldValidation, MAX_DEPTH, MAX_STRICT_ERRORS};
use std::fmt::Write;

pub(super) struct Report<'t> {
    pub validation: FieldValidation,
    /// Unknown and doubled fields; empty with `Ignore`.
    pub strict: Vec<String>,
    /// The first wrong value: upstream reports only that one.
    pub type_error: Option<String>,
    path: Vec<Step<'t>>,
    /// How many more values and bytes of text the document may hold.
    budget: usize,
}

pub(super) enum Step<'t> {
    /// A field of a struct.
    Field(&'t Type, &'t str),
    Key(String),
    Index(usize),
}

impl<'t> Report<'t> {
    pub fn new(validation: FieldValidation, budget: usize) -> Self {
        Self { validation, strict: Vec::new(), type_error: None, path: Vec::new(), budget: budget.saturating_add(1) }
    }

    pub fn enter(&mut self, step: Step<'t>) {
        self.path.push(step);
    }

    pub fn set_index(&mut self, index: usize) {
        if let Some(Step::Index(at)) = self.path.last_mut() {
            *at = index;
        }
    }

    pub fn leave(&mut self) {
        self.path.pop();
    }

    /// Counts what was read against the document's bounds.
    pub fn spend(&mut self, amount: usize) -> Result<(), &'static str> {
        if self.path.len() > MAX_DEPTH {
            return Err("exceeded max depth");
        }
        self.budget = self.budget.checked_sub(amount).ok_or("document contains excessive aliasing")?;
        Ok(())
    }

    pub fn unknown_field(&mut self, name: &str) {
        self.strict_error("unknown", name);
    }

    pub fn duplicate_field(&mut self, name: &str) {
        self.strict_error("duplicate", name);
    }

    fn strict_error(&mut self, what: &str, name: &str) {
        if self.validation == FieldValidation::Ignore || self.strict.len() >= MAX_STRICT_ERRORS {
            return;
        }
        let mut path = self.path_with_indices();
        if !path.is_empty() {
            path.push('.');
        }
        let message = format!("{what} field \"{path}{name}\"");
        if !self.strict.contains(&message) {
            self.strict.push(message);
        }
    }

    /// A value that its shape cannot hold; `found` in JSON's words, with the digits for a number out of range.
    pub fn wrong_type(&mut self, found: &str, wanted: &Shape) {
        if self.type_error.is_none() {
            self.wrong_go_type(found, &wanted.go_name());
        }
    }

    pub fn wrong_go_type(&mut self, found: &str, wanted: &str) {
        let at = match self.place() {
            Some((owner, fields)) => format!("Go struct field {}.{fields}", owner.short_name()),
            None => "Go value".into(),
        };
        self.wrong_value(format!("json: cannot unmarshal {found} into {at} of type {wanted}"));
    }

    /// A text that is no quantity, time or base64. Upstream names no field here; we do.
    pub fn malformed(&mut self, message: &str) {
        if self.type_error.is_none() {
            self.wrong_value(format!("{}: {message}", self.path_with_indices()));
        }
    }

    fn wrong_value(&mut self, message: String) {
        self.type_error.get_or_insert(message);
    }

    /// The innermost struct, and the names of all fields on the way, as Go's decoder has them.
    fn place(&self) -> Option<(&'t Type, String)> {
        let fields = self.path.iter().filter_map(|s| match s {
            Step::Field(owner, name) => Some((*owner, *name)),
            _ => None,
        });
        let (owner, _) = fields.clone().next_back()?;
        Some((owner, fields.map(|(_, name)| name).collect::<Vec<_>>().join(".")))
    }

    fn path_with_indices(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Index(at) => write!(text, "[{at}]").expect("writing to a string never fails"),
                Step::Field(_, name) => push_name(&mut text, name),
                Step::Key(name) => push_name(&mut text, name),
            }
        }
        text
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
