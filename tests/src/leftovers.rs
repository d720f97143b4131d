//! What a cluster could leave behind on a host. Only its own: other clusters may live on the same machine.

use crate::Cluster;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What a cluster's traces bear: its id, or its data directory.
#[derive(Clone, Debug)]
pub struct Marks {
    id: String,
    dir: PathBuf,
}

impl Marks {
    /// While the cluster's data is still there.
    pub fn of(cluster: &Cluster) -> Self {
        let text = fs::read_to_string(cluster.data_dir().join("cluster.json")).expect("a founded cluster");
        let facts: Value = serde_json::from_str(&text).expect("JSON");
        Self { id: facts["id"].as_str().expect("an id").into(), dir: cluster.data_dir() }
    }

    /// Links, mounts, cgroups and processes of the cluster that are there now.
    pub fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let own = |name: &String| name.contains(&self.id);
        found.extend(names(Path::new("/sys/class/net")).filter(own).map(|n| format!("link {n}")));
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mount table");
        let points = mounts.lines().filter_map(|l| l.split(' ').nth(1));
        found.extend(points.filter(|m| Path::new(m).starts_with(&self.dir)).map(|m| format!("mount {m}")));
        for hierarchy in names(Path::new("/sys/fs/cgroup")) {
            let groups = names(&Path::new("/sys/fs/cgroup").join(&hierarchy)).filter(own);
            found.extend(groups.map(|n| format!("cgroup {hierarchy}/{n}")));
        }
        found.extend(self.processes());
        found
    }

    /// Processes of the cluster's containers whose command line is exactly `command`.
    pub fn running(&self, command: &[&str]) -> Vec<i32> {
        let wanted: String = command.iter().map(|word| format!("{word}\0")).collect();
        let all = names(Path::new("/proc")).filter_map(|n| n.parse().ok());
        all.filter(|pid: &i32| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("cmdline") == wanted && read("cgroup").contains(&self.id)
        })
        .collect()
    }

    /// Whatever names the data directory on its command line, or lives in one of the cluster's cgroups.
    fn processes(&self) -> impl Iterator<Item = String> {
        let dir = self.dir.display().to_string();
        let all = names(Path::new("/proc")).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        all.filter_map(move |pid| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = read("cmdline").replace('\0', " ");
            (line.contains(&dir) || read("cgroup").contains(&self.id)).then(|| format!("process {pid} {line}"))
        })
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned())
}
