//! Rules for names, labels and ports, with the messages of apimachinery's `util/validation`.
//!
//! Each rule returns `None` for a good value, else the message.

const DNS1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn too_long(max: usize) -> Option<String> {
    Some(format!("must be no more than {max} bytes"))
}

fn is_label(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty() && lower(b[0]) && lower(b[b.len() - 1]) && b.iter().all(|&c| lower(c) || c == b'-')
}

/// At most 63 bytes: namespaces, container names, pod hostnames.
pub fn dns1123_label(s: &str) -> Option<String> {
    if s.len() > 63 {
        return too_long(63);
    }
    (!is_label(s)).then(|| DNS1123_LABEL.into())
}

/// At most 253 bytes: most object names.
pub fn dns1123_subdomain(s: &str) -> Option<String> {
    if s.len() > 253 {
        return too_long(253);
    }
    (!s.split('.').all(is_label)).then(|| DNS1123_SUBDOMAIN.into())
}

/// At most 63 bytes, starting with a letter: Service names.
pub fn dns1035_label(s: &str) -> Option<String> {
    if s.len() > 63 {
        return too_long(63);
    }
    let starts_well = s.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    (!starts_well || !is_label(s)).then(|| DNS1035_LABEL.into())
}

fn is_name_part(s: &str) -> bool {
    let b = s.as_bytes();
    let inner = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
    !b.is_empty() && b[0].is_ascii_alphanumeric() && b[b.len() - 1].is_ascii_alphanumeric() && b.iter().all(inner)
}

/// A label key, annotation key, finalizer or resource name: `[prefix/]name`.
pub fn qualified_name(s: &str) -> Option<String> {
    let (prefix, name) = match s.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, s),
    };
    if name.contains('/') {
        return Some(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".into(),
        );
    }
    match prefix {
        Some("") => return Some("prefix part must be non-empty".into()),
        Some(prefix) => {
            if let Some(why) = dns1123_subdomain(prefix) {
                return Some(format!("prefix part {why}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!is_name_part(name)).then(|| QUALIFIED_NAME.into())
}

pub fn label_value(s: &str) -> Option<String> {
    if s.len() > 63 {
        return too_long(63);
    }
    (!s.is_empty() && !is_name_part(s)).then(|| LABEL_VALUE.into())
}

/// A key of a ConfigMap or Secret.
pub fn config_key(s: &str) -> Option<String> {
    if s.len() > 253 {
        return too_long(253);
    }
    if s == "." || s == ".." {
        return Some(format!("must not be '{s}'"));
    }
    if s.starts_with("..") {
        return Some("must not start with '..'".into());
    }
    let good = !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c));
    (!good).then(|| CONFIG_KEY.into())
}

pub fn env_name(s: &str) -> Option<String> {
    let good = !s.is_empty() && s.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=');
    (!good).then(|| ENV_NAME.into())
}

/// A port's name: at most 15 bytes, with a letter, no doubled or outer `-`.
pub fn port_name(s: &str) -> Option<String> {
    if s.len() > 15 {
        return Some("must be no more than 15 characters".into());
    }
    let bytes = s.as_bytes();
    if s.is_empty() || !bytes.iter().all(|&c| lower(c) || c == b'-') {
        return Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        return Some("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        return Some("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        return Some("must not begin or end with a hyphen".into());
    }
    None
}

pub fn port_number(n: i64) -> Option<String> {
    (!(1..=65535).contains(&n)).then(|| "must be between 1 and 65535, inclusive".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_and_refuse() {
        let long = "a".repeat(64);
        type Rule = fn(&str) -> Option<String>;
        let table: [(Rule, &[&str], &[&str]); 6] = [
            (dns1123_label, &["a", "0-9", "my-name"], &["", "-a", "a-", "A", "a.b", "a_b", &long]),
            (dns1123_subdomain, &["a", "a.b-c.d", &long], &["", ".", "a..b", "a.-b", "Ü"]),
            (dns1035_label, &["a1", "x"], &["1a", "", "a-", "a.b"]),
            (qualified_name, &["a", "A_b.c", "x.io/a"], &["", "/a", "x/", "X/a", "a/b/c", "-a"]),
            (label_value, &["", "a", "A_b.c"], &["-a", "a b", &long]),
            (port_name, &["http", "a-1"], &["", "8080", "a--b", "-a", "A", "abcdefghijklmnop"]),
        ];
        for (rule, good, bad) in table {
            for s in good {
                assert_eq!(rule(s), None, "{s}");
            }
            for s in bad {
                assert!(rule(s).is_some(), "{s}");
            }
        }
    }
}
