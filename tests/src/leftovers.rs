//! What a cluster could leave behind on a host: taken before and after, and compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Links, mounts, cgroups, processes and packet-filter tables that bear a cluster's marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(BTreeSet<String>);

impl Host {
    pub fn look() -> Self {
        let mut found = BTreeSet::new();
        found.extend(names(Path::new("/sys/class/net")).map(|n| format!("link {n}")));
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mount table");
        found.extend(mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(|m| format!("mount {m}")));
        for hierarchy in names(Path::new("/sys/fs/cgroup")) {
            let own = names(&Path::new("/sys/fs/cgroup").join(&hierarchy)).filter(|n| n.starts_with("coracle"));
            found.extend(own.map(|n| format!("cgroup {hierarchy}/{n}")));
        }
        found.extend(processes().into_iter().map(|p| format!("process {p}")));
        for sysctl in ["net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter"] {
            let value = fs::read_to_string(Path::new("/proc/sys").join(sysctl)).unwrap_or_default();
            found.insert(format!("sysctl {sysctl} {}", value.trim()));
        }
        Self(found)
    }

    /// What is here now and was not in `before`.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned())
}

/// Shims and what runs under them: whatever has `coracle` as its program.
fn processes() -> Vec<String> {
    let all = names(Path::new("/proc")).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    all.filter_map(|pid| {
        let program: PathBuf = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let name = program.file_name()?.to_str()?;
        (name == "coracle").then(|| format!("{pid} {}", program.display()))
    })
    .collect()
}
