//! Where a pod's things lie on the node, and what of them one container sees.

use super::etc::EtcFiles;
use super::subpath;
use crate::pods::expand;
use coracle_runtime::{Mount, Propagation};
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A pod's folder on the node.
#[derive(Clone, Debug)]
pub struct PodFolder(pub PathBuf);

/// Kubelet's message for `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MountFailure(pub String);

impl PodFolder {
    pub fn of(pods: &Path, uid: &str) -> Self {
        Self(pods.join(uid))
    }

    /// A volume's name is a DNS label, so safe in a path.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes").join(name)
    }

    pub fn etc(&self) -> PathBuf {
        self.0.join("etc")
    }

    pub fn termination_log(&self, container: &str, attempt: u32) -> PathBuf {
        self.0.join("containers").join(container).join(format!("{attempt}.termination-log"))
    }

    fn subpath(&self, container: &str, at: usize) -> PathBuf {
        self.0.join("volume-subpaths").join(container).join(at.to_string())
    }
}

/// Blocking: subpaths are bound here. `lookup` gives the container's environment for `subPathExpr`.
pub fn container_mounts(
    folder: &PodFolder,
    pod: &Pod,
    container: &Container,
    etc: &EtcFiles,
    attempt: u32,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, MountFailure> {
    let mut mounts = Vec::new();
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(one(folder, pod, container, mount, at, lookup)?);
    }
    let taken = |target: &str, mounts: &[Mount]| mounts.iter().any(|m| m.target.trim_end_matches('/') == target);
    for (target, source) in
        [("/etc/hosts", &etc.hosts), ("/etc/hostname", &etc.hostname), ("/etc/resolv.conf", &etc.resolv)]
    {
        if !taken(target, &mounts) {
            mounts.push(plain(source.clone(), target));
        }
    }
    let target = container.termination_message_path.as_deref().filter(|p| p.starts_with('/'));
    let target = target.unwrap_or("/dev/termination-log");
    if !taken(target, &mounts) {
        let log = folder.termination_log(&container.name, attempt);
        make_log(&log).map_err(|e| MountFailure(format!("making the termination message file: {e}")))?;
        mounts.push(plain(log, target));
    }
    Ok(mounts)
}

fn plain(source: PathBuf, target: &str) -> Mount {
    Mount { source, target: target.to_owned(), read_only: false, propagation: Propagation::Private }
}

/// Writable by whatever user the container runs as.
fn make_log(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = fs::File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))
}

fn one(
    folder: &PodFolder,
    pod: &Pod,
    container: &Container,
    mount: &VolumeMount,
    at: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Mount, MountFailure> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let volume = volumes.into_iter().find(|v| v.name == mount.name);
    let volume = volume.ok_or_else(|| MountFailure(format!("volume {:?} is not in the pod", mount.name)))?;
    let root = root_of(folder, volume);
    let read_only = mount.read_only.unwrap_or(false);
    let source = match subpath_of(mount, container, lookup)? {
        None => root,
        Some(sub) => {
            let target = folder.subpath(&container.name, at);
            subpath::bind(&root, &sub, &target, read_only).map_err(|error| {
                tracing::debug!(%error, sub, "a subPath could not be bound");
                let (volume, container) = (&mount.name, &container.name);
                MountFailure(format!("failed to prepare subPath for volumeMount {volume:?} of container {container:?}"))
            })?;
            target
        }
    };
    let content = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some();
    Ok(Mount {
        source,
        target: absolute(container, &mount.mount_path),
        read_only: read_only || content,
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::Private,
        },
    })
}

fn root_of(folder: &PodFolder, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(source) => PathBuf::from(&source.path),
        None => folder.volume(&volume.name),
    }
}

fn absolute(container: &Container, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let base = container.working_dir.as_deref().unwrap_or_default().trim_end_matches('/');
    format!("{base}/{path}")
}

fn subpath_of(
    mount: &VolumeMount,
    container: &Container,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, MountFailure> {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) else {
        return Ok(mount.sub_path.clone().filter(|s| !s.is_empty()));
    };
    if let Some(name) = expand::missing(expression, |name| lookup(name).is_some()) {
        let container = &container.name;
        return Err(MountFailure(format!("missing value for {name:?} in subPathExpr of container {container:?}")));
    }
    Ok(Some(expand::expand(expression, lookup)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mounts_of_one_container() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = PodFolder::of(data.path(), "u");
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "h", "hostPath": {"path": "/srv"}}, {"name": "c", "configMap": {"name": "m"}}],
            "containers": [{"name": "x", "workingDir": "/w/", "volumeMounts": [
                {"name": "h", "mountPath": "rel", "mountPropagation": "HostToContainer"},
                {"name": "c", "mountPath": "/etc/hosts"},
            ]}],
        }}))
        .expect("a pod");
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let etc = EtcFiles { hosts: "/e/hosts".into(), hostname: "/e/hostname".into(), resolv: "/e/resolv".into() };
        let mounts = container_mounts(&folder, &pod, container, &etc, 3, &|_| None).expect("mounts");
        let seen: Vec<(&str, bool)> = mounts.iter().map(|m| (m.target.as_str(), m.read_only)).collect();
        let expected = [
            ("/w/rel", false),
            ("/etc/hosts", true),
            ("/etc/hostname", false),
            ("/etc/resolv.conf", false),
            ("/dev/termination-log", false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(mounts[0].propagation, Propagation::HostToContainer);
        assert!(folder.termination_log("x", 3).exists());
    }

    #[test]
    fn an_expression_must_be_known() {
        let container: Container = serde_json::from_value(json!({"name": "x"})).expect("a container");
        let mount = |expr: &str| VolumeMount { sub_path_expr: Some(expr.into()), ..VolumeMount::default() };
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(subpath_of(&mount("x/$(A)"), &container, &lookup), Ok(Some("x/1".into())));
        assert!(subpath_of(&mount("$(B)"), &container, &lookup).is_err());
        let plain = VolumeMount { sub_path: Some("s".into()), ..VolumeMount::default() };
        assert_eq!(subpath_of(&plain, &container, &lookup), Ok(Some("s".into())));
    }
}
