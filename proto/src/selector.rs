//! Label and field selectors: the query-string form, `metav1.LabelSelector`, and matching.

use crate::name;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Matches labels when every requirement does; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

/// `Gt` and `Lt` compare integers and are for node affinity only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

/// What is wrong with a selector, for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl Operator {
    /// As `matchExpressions[].operator` spells it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

impl Requirement {
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|v| self.values.iter().any(|w| w == v));
        let compare = |test: fn(i64, i64) -> bool| {
            let bound = self.values.first().and_then(|v| v.parse().ok());
            value.and_then(|v| v.parse().ok()).zip(bound).is_some_and(|(v, b)| test(v, b))
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(|v, b| v > b),
            Operator::Lt => compare(|v, b| v < b),
        }
    }
}

impl LabelSelector {
    /// All of these labels, exactly.
    pub fn exact(labels: &BTreeMap<String, String>) -> Self {
        let one = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        };
        Self(labels.iter().map(one).collect())
    }

    /// Reads a `metav1.LabelSelector`. `null` gives `None`: it matches nothing, unlike `{}`.
    pub fn from_tree(tree: &Value) -> Result<Option<Self>, SelectorError> {
        if tree.is_null() {
            return Ok(None);
        }
        let mut selector = Self::exact(&crate::meta::strings(&tree["matchLabels"]));
        for expression in tree["matchExpressions"].as_array().into_iter().flatten() {
            selector.0.push(Self::requirement(expression)?);
        }
        Ok(Some(selector))
    }

    /// One of `matchExpressions`.
    pub fn requirement(tree: &Value) -> Result<Requirement, SelectorError> {
        let operator = tree["operator"].as_str().unwrap_or_default();
        Ok(Requirement {
            key: tree["key"].as_str().unwrap_or_default().into(),
            operator: Operator::parse(operator)
                .ok_or_else(|| SelectorError(format!("{operator:?} is not a valid label selector operator")))?,
            values: tree["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(Into::into))
                .collect(),
        })
    }

    /// Reads the query-string form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            requirements.push(parse_requirement(part.trim())?);
        }
        Ok(Self(requirements))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// As [`Self::matches`] on `metadata.labels` of an object.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_by(|key| crate::meta::label(object, key))
    }

    fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| r.matches(value(&r.key)))
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|p| !p.trim().is_empty());
    parts
}

fn parse_requirement(text: &str) -> Result<Requirement, SelectorError> {
    let unparsable = |why: &str| SelectorError(format!("unable to parse requirement: {why}"));
    let (key, operator, values) = if let Some(key) = text.strip_prefix('!') {
        (key, Operator::DoesNotExist, vec![])
    } else if let Some((head, list)) = text.split_once('(') {
        let list = list.trim_end().strip_suffix(')').ok_or_else(|| unparsable("found '', expected: ',' or ')'"))?;
        let values = list.split(',').map(str::trim).collect();
        match head.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Operator::In, values),
            Some((key, "notin")) => (key, Operator::NotIn, values),
            _ => return Err(unparsable("found '(', expected: in, notin, =, ==, !=, gt, lt")),
        }
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Operator::NotIn, vec![value.trim()])
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Operator::In, vec![value.trim()])
    } else {
        (text, Operator::Exists, vec![])
    };
    let key = key.trim();
    if let Some(why) = name::qualified_name(key) {
        return Err(unparsable(&format!("<nil>: Invalid value: {key:?}: {why}")));
    }
    for value in &values {
        if let Some(why) = name::label_value(value) {
            return Err(unparsable(&format!("values[0][{key}]: Invalid value: {value:?}: {why}")));
        }
    }
    Ok(Requirement { key: key.into(), operator, values: values.into_iter().map(Into::into).collect() })
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, r) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let (key, list) = (&r.key, r.values.join(","));
            match (r.operator, r.values.len()) {
                (Operator::In, 1) => write!(f, "{key}={list}"),
                (Operator::NotIn, 1) => write!(f, "{key}!={list}"),
                (Operator::In, _) => write!(f, "{key} in ({list})"),
                (Operator::NotIn, _) => write!(f, "{key} notin ({list})"),
                (Operator::Exists, _) => write!(f, "{key}"),
                (Operator::DoesNotExist, _) => write!(f, "!{key}"),
                (Operator::Gt, _) => write!(f, "{key}>{list}"),
                (Operator::Lt, _) => write!(f, "{key}<{list}"),
            }?;
        }
        Ok(())
    }
}

/// `metadata.name=a,spec.nodeName!=b`. Which fields a resource supports is the API server's to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<FieldRequirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub path: String,
    pub equal: bool,
    pub value: String,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            requirements.push(FieldRequirement { path: path.trim().into(), equal, value: value.trim().into() });
        }
        Ok(Self(requirements))
    }

    pub fn one(path: &str, value: &str) -> Self {
        Self(vec![FieldRequirement { path: path.into(), equal: true, value: value.into() }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value `path` must equal, if the selector says so.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|r| r.equal && r.path == path).map(|r| r.value.as_str())
    }

    /// A missing field counts as the empty string, as upstream has it.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|r| {
            let found = r.path.split('.').fold(object, |tree, step| &tree[step]);
            let text = match found {
                Value::String(s) => s.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (text == r.value) == r.equal
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |r: &FieldRequirement| format!("{}{}{}", r.path, if r.equal { "=" } else { "!=" }, r.value);
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_parse_print_and_match() {
        let labels = BTreeMap::from([("a".into(), "b".into()), ("x.io/e".into(), "f".into())]);
        let table = [
            ("", "", true),
            ("a=b", "a=b", true),
            ("a==b", "a=b", true),
            ("a!=b", "a!=b", false),
            ("z!=b", "z!=b", true),
            ("a in (b, c),x.io/e", "a in (b,c),x.io/e", true),
            ("a notin (b,c)", "a notin (b,c)", false),
            ("!z,!a", "!z,!a", false),
        ];
        for (text, printed, matches) in table {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.to_string(), printed);
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
        for bad in ["a in b)", "a in (b", "-a", "a=b c", "a within (b)"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_selector_is_not_the_empty_one() {
        assert_eq!(LabelSelector::from_tree(&Value::Null), Ok(None));
        assert_eq!(LabelSelector::from_tree(&json!({})), Ok(Some(LabelSelector::default())));
    }

    #[test]
    fn field_selectors_match_by_path() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}});
        for (text, matches) in [
            ("metadata.name=p", true),
            ("metadata.name!=p", false),
            ("spec.nodeName==n,metadata.name=p", true),
            ("status.phase=", true),
        ] {
            assert_eq!(FieldSelector::parse(text).expect(text).matches(&pod), matches, "{text}");
        }
        assert!(FieldSelector::parse("metadata.name").is_err());
    }
}
