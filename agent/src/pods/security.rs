//! `securityContext` of pod and container to what the runtime is told: pure.

use coracle_runtime::{Image, Seccomp, Security};
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};
use std::path::{Component, Path};

/// The container's own settings win over the pod's. The error is kubelet's message for `CreateContainerConfigError`.
pub fn security(pod: &Pod, container: &Container, image: &Image, profiles: &Path) -> Result<Security, String> {
    let own = container.security_context.clone().unwrap_or_default();
    let shared = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    refuse_unenforceable(pod, &own, &shared)?;
    let user = own.run_as_user.or(shared.run_as_user);
    if own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
        check_non_root(pod, container, user, image)?;
    }
    let privileged = own.privileged.unwrap_or(false);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Ok(Security {
        privileged,
        user: user.map(|id| number(id, "runAsUser")).transpose()?,
        group: own.run_as_group.or(shared.run_as_group).map(|id| number(id, "runAsGroup")).transpose()?,
        supplemental_groups: groups(&shared)?,
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        add_capabilities: capabilities.add.unwrap_or_default().iter().map(|c| bare(c)).collect(),
        drop_capabilities: capabilities.drop.unwrap_or_default().iter().map(|c| bare(c)).collect(),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp: if privileged { Seccomp::Unconfined } else { seccomp(&own, &shared, profiles)? },
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

/// Less isolation than was asked for must not go unnoticed: what this node cannot enforce keeps a container from running.
fn refuse_unenforceable(pod: &Pod, own: &SecurityContext, shared: &PodSecurityContext) -> Result<(), String> {
    let profile = own.app_armor_profile.as_ref().or(shared.app_armor_profile.as_ref());
    if profile.is_some_and(|p| p.type_ != "Unconfined") {
        return Err("Cannot enforce AppArmor: AppArmor is not enabled on the host".into());
    }
    if pod.spec.as_ref().and_then(|s| s.host_users) == Some(false) {
        return Err("user namespaces (hostUsers: false) are not supported on this node".into());
    }
    Ok(())
}

fn check_non_root(pod: &Pod, container: &Container, user: Option<i64>, image: &Image) -> Result<(), String> {
    let about = || {
        let metadata = &pod.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let (name, uid) = (metadata.name.as_deref().unwrap_or_default(), metadata.uid.as_deref().unwrap_or_default());
        format!("(pod: \"{name}_{namespace}({uid})\", container: {})", container.name)
    };
    if let Some(id) = user {
        let refused = || Err(format!("container's runAsUser breaks non-root policy {}", about()));
        return if id == 0 { refused() } else { Ok(()) };
    }
    let named = image.user.as_deref().unwrap_or_default();
    let named = named.split_once(':').map_or(named, |(user, _)| user);
    match named.parse::<u32>() {
        Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {}", about())),
        Ok(_) => Ok(()),
        Err(_) if named.is_empty() => Err(format!("container has runAsNonRoot and image will run as root {}", about())),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({named}), cannot verify user is non-root {}",
            about()
        )),
    }
}

fn groups(shared: &PodSecurityContext) -> Result<Vec<u32>, String> {
    let listed = shared.supplemental_groups.iter().flatten().chain(&shared.fs_group);
    listed.map(|&id| number(id, "supplementalGroups")).collect()
}

fn number(id: i64, field: &str) -> Result<u32, String> {
    u32::try_from(id).map_err(|_| format!("{field} {id} is not between 0 and 4294967295"))
}

fn bare(capability: &str) -> String {
    let upper = capability.to_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

/// Where nobody says anything, upstream's default: unconfined.
fn seccomp(own: &SecurityContext, shared: &PodSecurityContext, profiles: &Path) -> Result<Seccomp, String> {
    let profile = own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref());
    let Some(SeccompProfile { type_, localhost_profile }) = profile else { return Ok(Seccomp::Unconfined) };
    match type_.as_str() {
        "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
        "Localhost" => {
            let name = Path::new(localhost_profile.as_deref().unwrap_or_default());
            let inside = name.components().all(|c| matches!(c, Component::Normal(_)));
            if !inside || name.as_os_str().is_empty() {
                return Err(format!("localhostProfile {name:?} must be a relative path without \"..\""));
            }
            Ok(Seccomp::Localhost(profiles.join(name)))
        }
        _ => Ok(Seccomp::Unconfined),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn image(user: &str) -> Image {
        let user = (!user.is_empty()).then(|| user.to_owned());
        Image { id: "sha256:1".into(), names: vec![], digests: vec![], bytes: 0, created_at: None, user }
    }

    fn merged(shared: Value, own: Value, user: &str) -> Result<Security, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"securityContext": shared, "containers": [{"name": "c", "securityContext": own}]},
        }))
        .expect("a pod");
        security(&pod, &pod.spec.as_ref().expect("a spec").containers[0], &image(user), Path::new("/profiles"))
    }

    #[test]
    fn the_containers_settings_win() {
        let shared = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
            "seccompProfile": {"type": "RuntimeDefault"}});
        let own = json!({"runAsUser": 5, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["all"]}});
        let security = merged(shared, own, "").expect("is right");
        assert_eq!((security.user, security.group), (Some(5), Some(2)));
        assert_eq!(security.supplemental_groups, [4, 3]);
        assert_eq!(
            (security.add_capabilities, security.drop_capabilities),
            (vec!["NET_ADMIN".into()], vec!["ALL".into()])
        );
        assert!(security.no_new_privileges && security.read_only_root && !security.privileged);
        assert_eq!(security.seccomp, Seccomp::RuntimeDefault);
    }

    #[test]
    fn what_cannot_be_enforced_is_refused() {
        let profile = |kind: &str| json!({"appArmorProfile": {"type": kind}});
        assert!(merged(profile("Unconfined"), json!({}), "").is_ok());
        for (shared, own) in [(profile("RuntimeDefault"), json!({})), (json!({}), profile("Localhost"))] {
            let why = merged(shared, own, "").expect_err("there is no AppArmor");
            assert_eq!(why, "Cannot enforce AppArmor: AppArmor is not enabled on the host");
        }
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"hostUsers": false, "containers": [{"name": "c"}]},
        }))
        .expect("a pod");
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        assert!(security(&pod, container, &image(""), Path::new("/profiles")).is_err());
    }

    #[test]
    fn run_as_non_root_looks_at_the_image() {
        let shared = || json!({"runAsNonRoot": true});
        for (own, user, refused) in [
            (json!({}), "", Some("image will run as root")),
            (json!({}), "0:0", Some("image will run as root")),
            (json!({}), "1000", None),
            (json!({}), "nobody", Some("non-numeric user (nobody)")),
            (json!({"runAsUser": 0}), "1000", Some("breaks non-root policy")),
            (json!({"runAsUser": 7}), "", None),
            (json!({"runAsNonRoot": false}), "", None),
        ] {
            let result = merged(shared(), own.clone(), user);
            match refused {
                None => assert!(result.is_ok(), "{own} {user}: {result:?}"),
                Some(part) => assert!(result.is_err_and(|e| e.contains(part)), "{own} {user}"),
            }
        }
    }

    #[test]
    fn a_local_profile_stays_in_its_folder() {
        let own = |name: &str| json!({"seccompProfile": {"type": "Localhost", "localhostProfile": name}});
        let good = merged(json!({}), own("a/b.json"), "").expect("is right");
        assert_eq!(good.seccomp, Seccomp::Localhost("/profiles/a/b.json".into()));
        for bad in ["../x", "/etc/x", "", "a/../../x"] {
            assert!(merged(json!({}), own(bad), "").is_err(), "{bad}");
        }
        assert_eq!(merged(json!({}), json!({}), "").expect("is right").seccomp, Seccomp::Unconfined);
        assert!(merged(json!({"runAsUser": -1}), json!({}), "").is_err());
    }
}
