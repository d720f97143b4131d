//! Makes a pod's volumes be there, and brings those made of content up to date. May be repeated at any time.

use super::mounts::PodFolder;
use super::render::{Content, files};
use super::{atomic, host_path, ownership, subpath};
use coracle_proto::quantity::Quantity;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A volume that could not be set up; the message is what kubelet's event says after the colon.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
pub struct VolumeFailure {
    pub volume: String,
    pub why: String,
}

pub type VolumeInputs<'a> = Content<'a>;

/// Blocking. Sets all up, or names the first that fails.
pub fn set_up(folder: &PodFolder, inputs: &VolumeInputs<'_>) -> Result<(), VolumeFailure> {
    let volumes = inputs.pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    for volume in volumes {
        one(folder, inputs, volume).map_err(|why| VolumeFailure { volume: volume.name.clone(), why })?;
    }
    Ok(())
}

/// Whether some volume must follow what changes in the API.
pub fn follows_content(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let mut content = volumes
        .map(|v| v.config_map.is_some() || v.secret.is_some() || v.downward_api.is_some() || v.projected.is_some());
    content.any(|c| c)
}

fn one(folder: &PodFolder, inputs: &VolumeInputs<'_>, volume: &Volume) -> Result<(), String> {
    let root = folder.volume(&volume.name);
    let group = group_of(inputs.pod)?;
    if let Some(files) = files(inputs, volume) {
        let files = files?;
        let in_memory = volume.secret.is_some() || volume.projected.is_some();
        let written = ensure_root(&root, in_memory.then_some(""), 0o755)
            .and_then(|()| if let Some(group) = group { own_root(&root, group) } else { Ok(()) })
            .and_then(|()| atomic::write(&root, &files, group));
        return written.map(drop).map_err(|e| e.to_string());
    }
    if let Some(source) = &volume.empty_dir {
        return empty_dir(&root, source, group, inputs.pod);
    }
    if let Some(source) = &volume.host_path {
        return host_path::prepare(source);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Err(format!("persistent volume claims are not supported yet (claim {:?})", claim.claim_name));
    }
    Err("volumes of this kind are not supported".to_owned())
}

fn group_of(pod: &Pod) -> Result<Option<u32>, String> {
    let group = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()?.fs_group);
    group.map(|g| u32::try_from(g).map_err(|_| format!("fsGroup {g} is out of range"))).transpose()
}

fn own_root(root: &Path, group: u32) -> io::Result<()> {
    std::os::unix::fs::chown(root, None, Some(group))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o2775))
}

fn empty_dir(root: &Path, source: &EmptyDirVolumeSource, group: Option<u32>, pod: &Pod) -> Result<(), String> {
    let existed = root.exists();
    let options = match source.medium.as_deref() {
        None | Some("") => None,
        Some("Memory") => Some(size_option(source)?),
        Some(other) => return Err(format!("unknown storage medium {other:?}")),
    };
    ensure_root(root, options.as_deref(), 0o777).map_err(|e| e.to_string())?;
    let Some(group) = group.filter(|_| !existed) else { return Ok(()) };
    let policy = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()?.fs_group_change_policy.as_deref());
    ownership::give_to_group(root, group, policy == Some("OnRootMismatch")).map_err(|e| e.to_string())
}

fn size_option(source: &EmptyDirVolumeSource) -> Result<String, String> {
    let Some(limit) = &source.size_limit else { return Ok(String::new()) };
    let bytes = Quantity::parse(&limit.0).map_err(|e| format!("sizeLimit {:?}: {e}", limit.0))?.value();
    Ok(if bytes > 0 { format!("size={bytes}") } else { String::new() })
}

/// A folder of that mode; with options, a tmpfs.
fn ensure_root(root: &Path, tmpfs: Option<&str>, mode: u32) -> io::Result<()> {
    if !root.exists() {
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(mode))?;
    }
    let Some(options) = tmpfs else { return Ok(()) };
    if subpath::is_mounted(root)? {
        return Ok(());
    }
    let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
    let mode = format!("mode={mode:o}");
    let data = if options.is_empty() { mode } else { format!("{mode},{options}") };
    nix::mount::mount(Some("tmpfs"), root, Some("tmpfs"), flags, Some(data.as_str())).map_err(Into::into)
}
