//! Image names as people and Kubernetes write them, and their full form.
//! Rule: <https://kubernetes.io/docs/concepts/containers/images/#image-names>.

use super::digest::Digest;
use crate::RuntimeError;
use std::fmt;

/// A name with its registry, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

/// What a pod's `image` may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// An image's own id.
    Id(Digest),
    Name(ImageName),
}

const HUB: &str = "docker.io";
const REPOSITORY_BYTES: usize = 255;
const TAG_BYTES: usize = 128;

impl ImageName {
    /// `busybox` is `docker.io/library/busybox:latest`.
    pub fn parse(text: &str) -> Result<Self, RuntimeError> {
        Self::parse_parts(text).map_err(|why| RuntimeError::BadReference { name: text.to_owned(), why: why.to_owned() })
    }

    fn parse_parts(text: &str) -> Result<Self, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).map_err(|_| "the digest is not sha256:<64 hex digits>")?))
            }
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (path, tag) = match rest.rfind(':').filter(|colon| !rest[*colon..].contains('/')) {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("the tag may have letters, digits, '_', '.' and '-', at most 128");
        }
        let (registry, repository) = split_registry(path)?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(ImageName { registry, repository, tag, digest })
    }

    /// Without tag and digest.
    pub fn place(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `place:tag`, if it has a tag.
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.place()))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl Sought {
    pub fn parse(text: &str) -> Result<Self, RuntimeError> {
        if let Some(id) = Digest::from_hex(text) {
            return Ok(Sought::Id(id));
        }
        if let Ok(id) = Digest::parse(text) {
            return Ok(Sought::Id(id));
        }
        ImageName::parse(text).map(Sought::Name)
    }
}

fn split_registry(path: &str) -> Result<(String, String), &'static str> {
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => (first, rest),
        _ => (HUB, path),
    };
    let registry = if registry == "index.docker.io" { HUB } else { registry };
    if !is_registry(registry) {
        return Err("the registry is not a host with an optional port");
    }
    let repository = match registry == HUB && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository.to_owned(),
    };
    if repository.len() > REPOSITORY_BYTES {
        return Err("the repository is longer than 255 characters");
    }
    if has_upper(&repository) {
        return Err("the repository must be lower case");
    }
    if !repository.split('/').all(is_component) {
        return Err("invalid reference format");
    }
    Ok((registry.to_owned(), repository))
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.len() <= TAG_BYTES
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, port),
        None => (registry, "0"),
    };
    port.parse::<u16>().is_ok()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Lower-case letters and digits, between them one of `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    word(first)
        && word(last)
        && component
            .split(|c: char| word(c as u8) && c.is_ascii())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_full_form() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let table = [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".to_owned()),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("coracle/demo:v1", "docker.io/coracle/demo:v1".to_owned()),
            ("docker.io/coracle/demo:v1", "docker.io/coracle/demo:v1".to_owned()),
            ("localhost/a:b", "localhost/a:b".to_owned()),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest".to_owned()),
            ("quay.io/x/y-z__w.v:A_1", "quay.io/x/y-z__w.v:A_1".to_owned()),
            (&format!("a@{digest}"), format!("docker.io/library/a@{digest}")),
            (&format!("a:1@{digest}"), format!("docker.io/library/a:1@{digest}")),
        ];
        for (short, full) in table {
            assert_eq!(ImageName::parse(short).unwrap().to_string(), full, "{short}");
            assert_eq!(ImageName::parse(&full).unwrap().to_string(), full, "{full}");
        }
    }

    #[test]
    fn names_that_are_none() {
        let long = "a".repeat(300);
        let table = [
            "",
            ":",
            "a:",
            "A",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "a:b:c",
            "a@sha256:12",
            "a b",
            "a..b",
            "-a",
            "a-",
            "a___b",
            "é",
            "x.y:99999/a",
            "../a",
            &long,
        ];
        for name in table {
            assert!(matches!(ImageName::parse(name), Err(RuntimeError::BadReference { .. })), "{name:?}");
        }
    }

    #[test]
    fn an_id_is_told_from_a_name() {
        let hex = "0f".repeat(32);
        assert!(matches!(Sought::parse(&hex).unwrap(), Sought::Id(_)));
        assert!(matches!(Sought::parse(&format!("sha256:{hex}")).unwrap(), Sought::Id(_)));
        assert!(matches!(Sought::parse("sha256").unwrap(), Sought::Name(_)));
    }
}
