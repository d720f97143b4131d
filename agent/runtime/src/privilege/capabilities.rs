//! Capabilities: the set a container gets by the pod's wishes, and taking it on before `execve`.

use super::Identity;
use crate::Security;
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::collections::BTreeSet;
use std::str::FromStr;

/// What containerd gives to every container.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const ALL: &str = "ALL";
/// What making device files takes.
const DEVICE_FILES: &str = "MKNOD";

/// What this process could hand on, without the `CAP_` prefix: a container can't have more.
pub fn available() -> Result<BTreeSet<String>, String> {
    let set = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    Ok(set.iter().map(plain).collect())
}

/// The container's set. `guarded_devices` is whether a device cgroup stands between the container and the host's
/// devices: without one it must not make device files unless it is privileged. Asked for by name that is refused;
/// `ALL` means all it may have here.
pub fn plan(security: &Security, available: &BTreeSet<String>, guarded_devices: bool) -> Result<Vec<String>, String> {
    let mut set: BTreeSet<String> = DEFAULT.iter().map(|&name| name.to_owned()).collect();
    let (add, drop) = (named(&security.add_capabilities, "add")?, named(&security.drop_capabilities, "drop")?);
    if security.privileged || add.contains(ALL) {
        set.clone_from(available);
    }
    if !security.privileged {
        if drop.contains(ALL) {
            set.clear();
        }
        set.extend(add.iter().filter(|name| *name != ALL).cloned());
        set.retain(|name| !drop.contains(name));
        if !guarded_devices && set.remove(DEVICE_FILES) && add.contains(DEVICE_FILES) {
            return Err(format!("capability {DEVICE_FILES}: no device cgroup guards this node's devices from it"));
        }
    }
    Ok(set.into_iter().filter(|name| available.contains(name)).collect())
}

fn named(names: &[String], what: &str) -> Result<BTreeSet<String>, String> {
    names
        .iter()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let short = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
            let known = short == ALL || Capability::from_str(&format!("CAP_{short}")).is_ok();
            if known { Ok(short) } else { Err(format!("unknown capability {name:?} to {what}")) }
        })
        .collect()
}

fn plain(capability: &Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_owned()
}

/// Becomes `identity` with these capabilities and no others. There is no way back.
pub fn assume(identity: &Identity, capabilities: &[String]) -> Result<(), String> {
    let wanted = capabilities
        .iter()
        .map(|name| Capability::from_str(&format!("CAP_{name}")).map_err(|error| error.to_string()))
        .collect::<Result<CapsHashSet, _>>()?;
    let told = |doing: &'static str| move |error: caps::errors::CapsError| format!("{doing}: {error}");
    for capability in caps::read(None, CapSet::Bounding).map_err(told("reading the bounding set"))? {
        if !wanted.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(told("dropping from the bounding set"))?;
        }
    }
    caps::securebits::set_keepcaps(true).map_err(told("keeping capabilities"))?;
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setgroups(&groups).map_err(|error| format!("setting groups {:?}: {error}", identity.groups))?;
    setresgid(gid, gid, gid).map_err(|error| format!("setting group {gid}: {error}"))?;
    setresuid(uid, uid, uid).map_err(|error| format!("setting user {uid}: {error}"))?;
    caps::securebits::set_keepcaps(false).map_err(told("keeping no capabilities"))?;
    caps::clear(None, CapSet::Ambient).map_err(told("clearing ambient capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(told("clearing inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &wanted).map_err(told("setting effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &wanted).map_err(told("setting permitted capabilities"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(add: &[&str], drop: &[&str], privileged: bool) -> Result<Vec<String>, String> {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let security = Security {
            privileged,
            add_capabilities: texts(add),
            drop_capabilities: texts(drop),
            ..Security::default()
        };
        let mut here: BTreeSet<String> = texts(&DEFAULT).into_iter().collect();
        here.extend(texts(&["SYS_ADMIN", "SYS_TIME"]));
        plan(&security, &here, true)
    }

    #[test]
    fn added_and_dropped_as_containerd_does() {
        assert_eq!(planned(&[], &[], false).unwrap(), DEFAULT);
        assert_eq!(planned(&["NET_BIND_SERVICE"], &["ALL"], false).unwrap(), ["NET_BIND_SERVICE"]);
        assert_eq!(planned(&["cap_sys_time"], &["all"], false).unwrap(), ["SYS_TIME"]);
        assert_eq!(planned(&["ALL"], &["SYS_ADMIN"], false).unwrap().len(), DEFAULT.len() + 1);
        assert_eq!(planned(&[], &["ALL"], true).unwrap().len(), DEFAULT.len() + 2, "privileged keeps all there are");
        assert!(
            !planned(&["SYS_RESOURCE"], &[], false).unwrap().contains(&"SYS_RESOURCE".to_owned()),
            "not ours to give"
        );
        assert!(planned(&["SYS_FOO"], &[], false).unwrap_err().contains("SYS_FOO"));
    }

    #[test]
    fn no_device_files_without_a_device_cgroup() {
        let all = DEFAULT.iter().map(|&name| name.to_owned()).collect();
        let unguarded = |add: &[&str], privileged| {
            let add_capabilities = add.iter().map(|&name| name.to_owned()).collect();
            plan(&Security { privileged, add_capabilities, ..Security::default() }, &all, false)
        };
        let may = |set: Result<Vec<String>, String>| set.unwrap().contains(&"MKNOD".to_owned());
        assert!(!may(unguarded(&[], false)));
        assert!(!may(unguarded(&["ALL"], false)), "what is added later must not bring it back");
        assert!(unguarded(&["MKNOD"], false).unwrap_err().contains("device cgroup"));
        assert!(may(unguarded(&[], true)), "a privileged container has the host's devices anyway");
    }
}
