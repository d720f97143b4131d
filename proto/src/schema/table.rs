//! The table of built-in types: `types.txt` and `defaults.txt`, indexed at first use, each type parsed when it is first asked for.
//!
//! `types.txt` has a line `type NAME [GROUP/VERSION/KIND] [atomic]` and under it one line per field, sorted:
//! ` NAME NUMBER SHAPE [required|pointer] [list=set|map:KEY…] [patch=STRATEGY[,STRATEGY][:KEY]] [atomic]`. `NUMBER` is a path
//! such as `2.1`, or `-`; `SHAPE` is a scalar's name or a type's, after `[]` for each list and `{}` for each map.

use super::types::{Condition, DefaultRule, Field, GroupVersionKind, ListKind, PatchStrategy, Shape, Type, TypeRef};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

const TYPES: &str = include_str!("types.txt");
const DEFAULTS: &str = include_str!("defaults.txt");
const WELL_FORMED: &str = "the table is written by schema-gen and read whole by a test";

struct Index {
    /// Sorted by name.
    entries: Vec<Entry>,
    /// Sorted by kind.
    kinds: Vec<(&'static str, &'static str, &'static str, u16)>,
    /// Lines of `defaults.txt` by type name without `io.k8s.api.`.
    defaults: HashMap<&'static str, Vec<&'static str>>,
}

const ATOMIC: &str = "atomic";

struct Entry {
    name: &'static str,
    flags: &'static str,
    fields: &'static str,
    parsed: OnceLock<Type>,
}

impl Entry {
    fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.flags.split_whitespace().filter(|flag| *flag != ATOMIC)
    }
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut entries: Vec<Entry> = Vec::with_capacity(750);
        for block in TYPES.strip_prefix("type ").expect(WELL_FORMED).split("\ntype ") {
            let (header, fields) = block.split_once('\n').unwrap_or((block, ""));
            let (name, flags) = header.split_once(' ').unwrap_or((header, ""));
            entries.push(Entry { name, flags, fields, parsed: OnceLock::new() });
        }
        let mut kinds = Vec::with_capacity(200);
        for (at, entry) in entries.iter().enumerate() {
            for listed in entry.kinds() {
                let (group, version, kind) = split_kind(listed);
                kinds.push((kind, group, version, at as u16));
            }
        }
        kinds.sort_unstable();
        let mut defaults: HashMap<_, Vec<_>> = HashMap::new();
        for line in DEFAULTS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (name, rule) = line.split_once(' ').expect(WELL_FORMED);
            defaults.entry(name).or_default().push(rule);
        }
        Index { entries, kinds, defaults }
    })
}

/// The type that is the schema of a kind. `group` is empty for core.
pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    let kinds = &index().kinds;
    let from = kinds.partition_point(|(k, ..)| *k < kind);
    let mut candidates = kinds[from..].iter().take_while(|(k, ..)| *k == kind);
    let fits = |known: &str, asked: &str| known == asked || known == "*";
    let (.., at) = candidates.find(|(_, g, v, _)| fits(g, group) && fits(v, version))?;
    Some(by_index(*at))
}

/// By the OpenAPI definition's name.
pub fn named(name: &str) -> Option<&'static Type> {
    position(name).map(by_index)
}

/// The names of all types, sorted.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    index().entries.iter().map(|e| e.name)
}

fn position(name: &str) -> Option<u16> {
    let at = index().entries.binary_search_by(|e| e.name.cmp(name)).ok()?;
    Some(at as u16)
}

pub(super) fn by_index(at: u16) -> &'static Type {
    let entry = &index().entries[usize::from(at)];
    entry.parsed.get_or_init(|| parse_type(entry))
}

fn split_kind(listed: &'static str) -> (&'static str, &'static str, &'static str) {
    let mut parts = listed.splitn(3, '/');
    let mut next = || parts.next().expect(WELL_FORMED);
    (next(), next(), next())
}

fn parse_type(entry: &Entry) -> Type {
    let kinds = entry.kinds().map(|listed| {
        let (group, version, kind) = split_kind(listed);
        GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
    });
    let short = entry.name.strip_prefix("io.k8s.api.").unwrap_or(entry.name);
    let defaults = index().defaults.get(short).into_iter().flatten();
    Type {
        name: Cow::Borrowed(entry.name),
        kinds: kinds.collect(),
        fields: entry.fields.lines().map(parse_field).collect(),
        defaults: defaults.map(|line| parse_default(line)).collect(),
        atomic: entry.flags.split_whitespace().any(|flag| flag == ATOMIC),
        preserve_unknown: false,
    }
}

fn parse_field(line: &'static str) -> Field {
    let mut words = line.trim_start().split(' ');
    let mut next = || words.next().expect(WELL_FORMED);
    let (name, number, shape) = (next(), next(), next());
    let number = match number {
        "-" => Box::default(),
        path => path.split('.').map(|n| n.parse().expect(WELL_FORMED)).collect(),
    };
    let mut field = Field {
        name: Cow::Borrowed(name),
        shape: parse_shape(shape),
        number,
        required: false,
        pointer: false,
        list: ListKind::Atomic,
        patch: PatchStrategy::default(),
        atomic: false,
    };
    for flag in words {
        match flag.split_once('=') {
            None if flag == "required" => field.required = true,
            None if flag == "pointer" => field.pointer = true,
            None if flag == ATOMIC => field.atomic = true,
            Some(("list", "set")) => field.list = ListKind::Set,
            Some(("list", keys)) => field.list = ListKind::Map(keys.split(':').skip(1).map(Cow::Borrowed).collect()),
            Some(("patch", strategy)) => field.patch = parse_strategy(strategy),
            _ => unreachable!("{WELL_FORMED}: {line}"),
        }
    }
    field
}

fn parse_strategy(text: &'static str) -> PatchStrategy {
    let (names, key) = match text.split_once(':') {
        Some((names, key)) => (names, Some(Cow::Borrowed(key))),
        None => (text, None),
    };
    let has = |name: &str| names.split(',').any(|n| n == name);
    PatchStrategy { merge: has("merge"), replace: has("replace"), retain_keys: has("retainKeys"), merge_key: key }
}

fn parse_shape(text: &str) -> Shape {
    if let Some(item) = text.strip_prefix("[]") {
        return Shape::List(Box::new(parse_shape(item)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Shape::Map(Box::new(parse_shape(item)));
    }
    match text {
        "string" => Shape::String,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "quantity" => Shape::Quantity,
        "intOrString" => Shape::IntOrString,
        "time" => Shape::Time,
        "microTime" => Shape::MicroTime,
        "any" => Shape::Any,
        name => Shape::Object(TypeRef::Builtin(position(name).expect(WELL_FORMED))),
    }
}

/// `FIELD JSON [when …|alone …]`; no JSON value in the table contains a space.
fn parse_default(line: &'static str) -> DefaultRule {
    let words: Vec<&str> = line.split(' ').collect();
    let condition = match words[2..] {
        [] => Condition::Always,
        ["alone", field] => Condition::Alone(field.into()),
        ["when", test] => {
            let (field, values) = test.split_once('=').expect(WELL_FORMED);
            Condition::FieldIs { field: field.into(), one_of: values.split('|').map(Cow::Borrowed).collect() }
        }
        _ => unreachable!("{WELL_FORMED}: {line}"),
    };
    DefaultRule {
        path: words[0].split('.').map(Cow::Borrowed).collect(),
        value: serde_json::from_str(words[1]).expect(WELL_FORMED),
        condition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every lazy `expect` of this file is run here.
    #[test]
    fn the_whole_table_parses_and_refers_only_to_itself() {
        let names: Vec<&str> = all_names().collect();
        assert!(names.len() > 690, "{}", names.len());
        assert!(names.is_sorted());
        for name in &names {
            let ty = named(name).expect(name);
            assert!(ty.fields.is_sorted_by(|a, b| a.name < b.name), "{name}");
            for rule in &ty.defaults {
                assert!(ty.field(&rule.path[0]).is_some(), "{name}: no field for the default {rule:?}");
            }
        }
        for name in index().defaults.keys() {
            assert!(named(&format!("io.k8s.api.{name}")).is_some(), "a default for the unknown type {name}");
        }
    }

    #[test]
    fn kinds_are_found_by_group_and_version() {
        let table = [
            ("", "v1", "Pod", Some("io.k8s.api.core.v1.Pod")),
            ("apps", "v1", "Deployment", Some("io.k8s.api.apps.v1.Deployment")),
            ("", "v1", "Event", Some("io.k8s.api.core.v1.Event")),
            ("events.k8s.io", "v1", "Event", Some("io.k8s.api.events.v1.Event")),
            ("apps", "v1", "DeleteOptions", Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")),
            ("policy", "v1", "Eviction", Some("io.k8s.api.policy.v1.Eviction")),
            ("autoscaling", "v1", "Scale", Some("io.k8s.api.autoscaling.v1.Scale")),
            ("authentication.k8s.io", "v1", "TokenRequest", Some("io.k8s.api.authentication.v1.TokenRequest")),
            ("apps", "v1beta1", "Deployment", None),
            ("", "v1", "Deployment", None),
            ("", "v1", "", None),
        ];
        for (group, version, kind, name) in table {
            assert_eq!(of_kind(group, version, kind).map(|t| t.name.as_ref()), name, "{group}/{version} {kind}");
        }
    }

    #[test]
    fn a_field_knows_its_facts() {
        let spec = named("io.k8s.api.core.v1.PodSpec").expect("built in");
        let containers = spec.field("containers").expect("built in");
        assert_eq!(*containers.number, [2]);
        assert!(containers.required);
        assert_eq!(containers.list, ListKind::Map(vec!["name".into()]));
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        let volume = named("io.k8s.api.core.v1.Volume").expect("built in");
        assert_eq!(*volume.field("emptyDir").expect("built in").number, [2, 2]);
        assert!(spec.field("nodeSelector").expect("built in").atomic);
        assert!(!spec.atomic);
        assert!(named("io.k8s.api.core.v1.LocalObjectReference").expect("built in").atomic);
        assert_eq!(spec.go_name(), "v1.PodSpec");
        assert_eq!(spec.short_name(), "PodSpec");
    }
}
