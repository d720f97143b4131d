//! The trait's specifications in Docker's terms. Pure.

use super::{labels, limits};
use crate::{ContainerSpec, Mount, Propagation, Resources, SandboxId, SandboxSpec, Security};
use bollard::models::{
    self, ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType,
};
use std::collections::HashMap;

/// The container that holds a pod's namespaces.
pub fn sandbox(owner: &str, image: &str, cgroup_parent: String, spec: &SandboxSpec) -> ContainerCreateBody {
    let host = |on: bool| on.then(|| "host".to_owned());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/coracle".to_owned(), "pause".to_owned()]),
        hostname: (!spec.host_network).then(|| spec.hostname.clone()),
        labels: Some(labels::of_sandbox(owner, spec)),
        host_config: Some(HostConfig {
            network_mode: host(spec.host_network).or(Some("none".to_owned())),
            uts_mode: host(spec.host_network),
            ipc_mode: host(spec.host_ipc).or(Some("shareable".to_owned())),
            pid_mode: host(spec.host_pid),
            sysctls: Some(spec.sysctls.clone().into_iter().collect()),
            cgroup_parent: Some(cgroup_parent),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            log_config: Some(log("none", &[])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A pod's container in its sandbox. `profile` is the seccomp profile in JSON where the specification names a file,
/// `image_user` the image's own user.
pub fn container(
    owner: &str,
    sandbox: (&SandboxId, &SandboxSpec, String),
    spec: &ContainerSpec,
    profile: Option<String>,
    image_user: Option<&str>,
) -> ContainerCreateBody {
    let (id, pod, cgroup_parent) = sandbox;
    let joined = format!("container:{}", id.0);
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut host = HostConfig {
        network_mode: Some(joined.clone()),
        ipc_mode: Some(joined.clone()),
        pid_mode: match (pod.host_pid, pod.share_pid) {
            (true, _) => Some("host".to_owned()),
            (false, true) => Some(joined),
            (false, false) => None,
        },
        uts_mode: pod.host_network.then(|| "host".to_owned()),
        cgroup_parent: Some(cgroup_parent),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        devices: Some(spec.devices.iter().map(|path| device(&path.display().to_string())).collect()),
        log_config: Some(log("json-file", &[("max-size", limits::LOG_FILE_SIZE), ("max-file", limits::LOG_FILES)])),
        ..HostConfig::default()
    };
    limit(&mut host, &spec.resources);
    secure(&mut host, &spec.security, profile);
    ContainerCreateBody {
        image: Some(spec.image_id.clone()),
        entrypoint: some(&spec.command),
        cmd: some(&spec.args),
        working_dir: spec.working_dir.clone(),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: user(&spec.security, image_user),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin_once),
        labels: Some(labels::of_container(owner, id, &pod.pod, spec)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn limit(host: &mut HostConfig, resources: &Resources) {
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    host.cpu_shares = resources.cpu_shares.map(whole);
    host.cpu_quota = resources.cpu_quota;
    host.cpu_period = resources.cpu_period.map(whole);
    host.memory = resources.memory_limit_bytes;
    // Equal to the memory: no swap.
    host.memory_swap = resources.memory_limit_bytes;
    host.pids_limit = resources.pids_limit;
    // Docker fails where the kernel refuses a negative one; that is set from outside after the start.
    host.oom_score_adj = (resources.oom_score_adj >= 0).then_some(resources.oom_score_adj.into());
}

fn secure(host: &mut HostConfig, security: &Security, profile: Option<String>) {
    host.privileged = Some(security.privileged);
    host.readonly_rootfs = Some(security.read_only_root);
    host.cap_add = Some(security.add_capabilities.clone());
    host.cap_drop = Some(security.drop_capabilities.clone());
    host.group_add = Some(security.supplemental_groups.iter().map(u32::to_string).collect());
    let mut options = Vec::new();
    if security.no_new_privileges {
        options.push("no-new-privileges:true".to_owned());
    }
    match (&security.seccomp, profile) {
        (crate::Seccomp::Unconfined, _) => options.push("seccomp=unconfined".to_owned()),
        (crate::Seccomp::Localhost(_), Some(profile)) => options.push(format!("seccomp={profile}")),
        // Docker's own profile is the default.
        (crate::Seccomp::RuntimeDefault | crate::Seccomp::Localhost(_), _) => {}
    }
    host.security_opt = Some(options);
    if security.unmasked_proc {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
}

/// Docker takes `user:group`; a group alone goes with the image's user.
fn user(security: &Security, image_user: Option<&str>) -> Option<String> {
    let group = |user: String| match security.group {
        Some(group) => format!("{user}:{group}"),
        None => user,
    };
    match (security.user, security.group) {
        (Some(user), _) => Some(group(user.to_string())),
        (None, Some(_)) => {
            let own = image_user.unwrap_or("0");
            Some(group(own.split(':').next().unwrap_or("0").to_owned()))
        }
        (None, None) => None,
    }
}

fn mount(mount: &Mount) -> models::Mount {
    let propagation = match mount.propagation {
        Propagation::Private => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::HostToContainer => MountBindOptionsPropagationEnum::RSLAVE,
        Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
    };
    models::Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.display().to_string()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
        ..models::Mount::default()
    }
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

fn log(kind: &str, options: &[(&str, &str)]) -> HostConfigLogConfig {
    let config: HashMap<_, _> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HostConfigLogConfig { typ: Some(kind.to_owned()), config: Some(config) }
}

/// For `docker ps`. Random at the end, because a crash may leave one of the same attempt.
pub fn name(parts: &[&str]) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' };
    let parts: Vec<String> = parts.iter().map(|part| part.chars().map(safe).take(60).collect()).collect();
    format!("coracle_{}_{:08x}", parts.join("_"), rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seccomp;

    fn security(user: Option<u32>, group: Option<u32>) -> Security {
        Security { user, group, ..Security::default() }
    }

    #[test]
    fn users_and_groups() {
        let table = [
            (None, None, Some("app"), None),
            (Some(7), None, Some("app"), Some("7")),
            (Some(7), Some(8), None, Some("7:8")),
            (None, Some(8), Some("app:staff"), Some("app:8")),
            (None, Some(8), None, Some("0:8")),
        ];
        for (uid, gid, image, expected) in table {
            assert_eq!(user(&security(uid, gid), image).as_deref(), expected);
        }
    }

    #[test]
    fn negative_oom_scores_are_not_left_to_docker() {
        let mut host = HostConfig::default();
        limit(&mut host, &Resources { oom_score_adj: -997, memory_limit_bytes: Some(5), ..Resources::default() });
        assert_eq!((host.oom_score_adj, host.memory, host.memory_swap), (None, Some(5), Some(5)));
    }

    #[test]
    fn seccomp_in_docker_s_words() {
        let options = |seccomp: Seccomp, profile: Option<&str>| {
            let mut host = HostConfig::default();
            let security = Security { seccomp, no_new_privileges: true, ..Security::default() };
            secure(&mut host, &security, profile.map(str::to_owned));
            host.security_opt.unwrap()
        };
        assert_eq!(options(Seccomp::RuntimeDefault, None), ["no-new-privileges:true"]);
        assert_eq!(options(Seccomp::Unconfined, None), ["no-new-privileges:true", "seccomp=unconfined"]);
        assert_eq!(options(Seccomp::Localhost("/p".into()), Some("{}")), ["no-new-privileges:true", "seccomp={}"]);
    }
}
