//! Kubeconfig files: the cluster's own, and a context merged into the user's.

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_controlplane::files;
use coracle_controlplane::pki::Credentials;
use serde_norway::{Mapping, Value};
use std::path::{Path, PathBuf};

/// The name of the context, cluster and user that we write.
pub const NAME: &str = "coracle";

/// What a client needs to reach the cluster as its administrator.
pub struct Access {
    /// e.g. `https://127.0.0.1:6443`.
    pub server: String,
    pub authority: String,
    pub credentials: Credentials,
}

/// `~/.kube/config`.
pub fn default_path() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set; say where to write with --kubeconfig PATH")?;
    Ok(Path::new(&home).join(".kube/config"))
}

/// A kubeconfig with nothing but this cluster in it.
pub fn write_alone(path: &Path, access: &Access) -> Result<()> {
    let mut config = Mapping::new();
    merge(&mut config, access)?;
    save(path, &config)
}

/// Adds the context to what stands in `path`, which may not exist yet. Everything else in it stays as it is;
/// `current-context` is set only where none is. Returns whether the context is the current one.
pub fn merge_into(path: &Path, access: &Access) -> Result<bool> {
    let mut config = match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| {
            format!("{} is not a kubeconfig; mend it, or write elsewhere with --kubeconfig PATH", path.display())
        })?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Mapping::new(),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    merge(&mut config, access)?;
    // Written through a link, so that the link stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    save(&target, &config)?;
    Ok(config.get("current-context").and_then(Value::as_str) == Some(NAME))
}

fn parse(text: &str) -> Result<Mapping> {
    match serde_norway::from_str(text)? {
        Value::Mapping(config) => Ok(config),
        Value::Null => Ok(Mapping::new()),
        _ => bail!("its top level is not a mapping"),
    }
}

fn merge(config: &mut Mapping, access: &Access) -> Result<()> {
    config.entry("apiVersion".into()).or_insert_with(|| "v1".into());
    config.entry("kind".into()).or_insert_with(|| "Config".into());
    let text = |pem: &str| Value::from(STANDARD.encode(pem));
    let entries = [
        (
            "clusters",
            "cluster",
            vec![("certificate-authority-data", text(&access.authority)), ("server", access.server.as_str().into())],
        ),
        ("contexts", "context", vec![("cluster", NAME.into()), ("user", NAME.into())]),
        (
            "users",
            "user",
            vec![
                ("client-certificate-data", text(&access.credentials.certificate)),
                ("client-key-data", text(&access.credentials.key)),
            ],
        ),
    ];
    for (list, field, values) in entries {
        let content: Mapping = values.into_iter().map(|(k, v)| (k.into(), v)).collect();
        let entry: Mapping = [("name".into(), NAME.into()), (field.into(), content.into())].into_iter().collect();
        upsert(config, list, entry)?;
    }
    let current = config.entry("current-context".into()).or_insert(Value::Null);
    if current.as_str().unwrap_or_default().is_empty() {
        *current = NAME.into();
    }
    Ok(())
}

/// Replaces the entry of our name in a list, or appends it.
fn upsert(config: &mut Mapping, list: &str, entry: Mapping) -> Result<()> {
    let slot = config.entry(list.into()).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Sequence(Vec::new());
    }
    let Value::Sequence(items) = slot else { bail!("{list}: not a list") };
    let entry = Value::Mapping(entry);
    match items.iter_mut().find(|item| item.get("name").and_then(Value::as_str) == Some(NAME)) {
        Some(ours) => *ours = entry,
        None => items.push(entry),
    }
    Ok(())
}

fn save(path: &Path, config: &Mapping) -> Result<()> {
    let text = serde_norway::to_string(config)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    files::replace(path, text.as_bytes(), 0o600).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(server: &str) -> Access {
        let credentials = Credentials { certificate: "CERT".into(), key: "KEY".into() };
        Access { server: server.into(), authority: "CA".into(), credentials }
    }

    #[test]
    fn merging_touches_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        let theirs = "apiVersion: v1\nkind: Config\ncurrent-context: work\nx: 1\nclusters:\n- name: work\n  cluster: {server: s}\n\
                      contexts: null\n";
        std::fs::write(&path, theirs).expect("written");
        assert!(!merge_into(&path, &access("https://a")).expect("merged"));
        assert!(!merge_into(&path, &access("https://b")).expect("merged again"));
        let after = parse(&std::fs::read_to_string(&path).expect("read")).expect("a kubeconfig");
        assert_eq!(after["current-context"], Value::from("work"));
        assert_eq!(after["x"], Value::from(1));
        let clusters = after["clusters"].as_sequence().expect("a list");
        assert_eq!(clusters.len(), 2);
        assert_eq!(clusters[0]["cluster"]["server"], Value::from("s"));
        assert_eq!(clusters[1]["cluster"]["server"], Value::from("https://b"));
    }

    #[test]
    fn a_new_file_makes_the_context_current() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/config");
        assert!(merge_into(&path, &access("https://a")).expect("merged"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        for text in ["- a\n", "clusters: 3\n", "{"] {
            std::fs::write(&path, text).expect("written");
            assert!(merge_into(&path, &access("https://a")).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
    }
}
