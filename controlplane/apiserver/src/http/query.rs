//! The query string, read once.

use coracle_client::{DeleteOptions, Propagation};
use coracle_proto::ApiError;
use coracle_proto::api::ReadAt;
use coracle_proto::field::FieldError;
use coracle_proto::schema::decode::FieldValidation;
use coracle_proto::selector::{FieldSelector, LabelSelector};
use std::collections::BTreeMap;

/// Every parameter by name; of a repeated one all values in order.
#[derive(Clone, Debug, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            map.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        Self(map)
    }

    /// The first value, empty if there is none.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).and_then(|v| v.first()).map_or("", String::as_str)
    }

    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// As upstream reads booleans: present without a value is true.
    pub fn flag(&self, key: &str) -> bool {
        self.has(key) && !matches!(self.get(key), "false" | "0" | "False" | "f" | "F" | "FALSE")
    }

    pub fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        match self.get(key) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }

    pub fn labels(&self) -> Result<LabelSelector, ApiError> {
        LabelSelector::parse(self.get("labelSelector")).map_err(|e| ApiError::bad_request(e.to_string()))
    }

    pub fn fields(&self) -> Result<FieldSelector, ApiError> {
        FieldSelector::parse(self.get("fieldSelector")).map_err(|e| ApiError::bad_request(e.to_string()))
    }

    pub fn dry_run(&self) -> Result<bool, ApiError> {
        for value in self.all("dryRun") {
            if value != "All" && !value.is_empty() {
                let why = FieldError::not_supported("dryRun", vec![value.as_str()], &["All"]);
                return Err(ApiError::invalid("meta.k8s.io", "CreateOptions", "", &[why]));
            }
        }
        Ok(self.all("dryRun").iter().any(|v| v == "All"))
    }

    pub fn validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let why = FieldError::not_supported("fieldValidation", other, &["Ignore", "Strict", "Warn"]);
                Err(ApiError::invalid("meta.k8s.io", "CreateOptions", "", &[why]))
            }
        }
    }

    /// `resourceVersion`, as a number.
    pub fn revision(&self) -> Result<Option<u64>, ApiError> {
        match self.get("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                let why = FieldError::invalid("resourceVersion", text, "must be an unsigned integer");
                ApiError::invalid("meta.k8s.io", "ListOptions", "", &[why])
            }),
        }
    }

    /// How fresh a list must be.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
    pub fn read_at(&self) -> Result<ReadAt, ApiError> {
        let refused = |why: &str| {
            let error = FieldError::forbidden("resourceVersionMatch", why);
            Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]))
        };
        let revision = self.revision()?;
        if !self.get("continue").is_empty() && revision.is_some_and(|r| r != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        match (self.get("resourceVersionMatch"), revision) {
            ("", None) => Ok(ReadAt::Latest),
            ("", Some(0)) | ("NotOlderThan", Some(0)) => Ok(ReadAt::Any),
            // A page at a given revision is that revision, so that its continue token fits.
            ("", Some(n)) if self.has("limit") && !matches!(self.get("limit"), "" | "0") => Ok(ReadAt::Exact(n)),
            ("", Some(n)) | ("NotOlderThan", Some(n)) => Ok(ReadAt::NotOlderThan(n)),
            ("Exact", Some(0)) => refused("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
            ("Exact", Some(n)) => Ok(ReadAt::Exact(n)),
            ("NotOlderThan" | "Exact", None) => {
                refused("resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            (other, _) => {
                let error = FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""]);
                Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]))
            }
        }
    }

    /// For a GET of one object.
    pub fn get_at(&self) -> Result<ReadAt, ApiError> {
        Ok(match self.revision()? {
            None => ReadAt::Latest,
            Some(0) => ReadAt::Any,
            Some(n) => ReadAt::NotOlderThan(n),
        })
    }

    pub fn delete_options(&self) -> Result<DeleteOptions, ApiError> {
        Ok(DeleteOptions {
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            propagation: propagation(self.get("propagationPolicy"), self.orphan_dependents())?,
            dry_run: self.dry_run()?,
            ..DeleteOptions::default()
        })
    }

    fn orphan_dependents(&self) -> Option<bool> {
        self.has("orphanDependents").then(|| self.flag("orphanDependents"))
    }
}

/// The policy's name, or the deprecated flag for two of them.
pub fn propagation(policy: &str, orphan: Option<bool>) -> Result<Option<Propagation>, ApiError> {
    match (policy, orphan) {
        ("", Some(true)) | ("Orphan", None) => Ok(Some(Propagation::Orphan)),
        ("", Some(false)) | ("Background", None) => Ok(Some(Propagation::Background)),
        ("Foreground", None) => Ok(Some(Propagation::Foreground)),
        ("", None) => Ok(None),
        ("Orphan" | "Background" | "Foreground", Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", policy, why);
            Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
        }
        (other, _) => {
            let known = ["Background", "Foreground", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", other, &known);
            Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_follows_the_documented_table() {
        let table = [
            ("", Some(ReadAt::Latest)),
            ("resourceVersion=0", Some(ReadAt::Any)),
            ("resourceVersion=5", Some(ReadAt::NotOlderThan(5))),
            ("resourceVersion=5&limit=10", Some(ReadAt::Exact(5))),
            ("resourceVersion=5&resourceVersionMatch=NotOlderThan&limit=10", Some(ReadAt::NotOlderThan(5))),
            ("resourceVersion=5&resourceVersionMatch=Exact", Some(ReadAt::Exact(5))),
            ("resourceVersion=0&resourceVersionMatch=Exact", None),
            ("resourceVersionMatch=Exact", None),
            ("resourceVersion=x", None),
            ("resourceVersion=-1", None),
            ("resourceVersion=5&resourceVersionMatch=Newest", None),
        ];
        for (text, expected) in table {
            assert_eq!(Query::parse(text).read_at().ok(), expected, "{text}");
        }
    }

    #[test]
    fn flags_and_numbers() {
        let query = Query::parse("a&b=true&c=false&n=5&m=x");
        assert!(query.flag("a") && query.flag("b") && !query.flag("c") && !query.flag("d"));
        assert_eq!(query.number("n").ok(), Some(Some(5)));
        assert!(query.number("m").is_err());
    }
}
