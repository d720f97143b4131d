//! Limits of a group as the kernel's files want them: a pure list of writes, then the writing.

use super::{Cgroups, failed};
use crate::{Resources, RuntimeError};
use std::fs;

/// Controller (of version 1), file and value.
type Write = (&'static str, &'static str, String);

pub(super) fn set(cgroups: &Cgroups, path: &str, resources: &Resources) -> Result<(), RuntimeError> {
    let writes = match cgroups {
        Cgroups::V1(_) => render_v1(resources),
        Cgroups::V2(_) => render_v2(resources),
    };
    for (controller, file, value) in writes {
        let Some(folder) = cgroups.folder(controller, path) else { continue };
        let file = folder.join(file);
        fs::write(&file, &value).map_err(failed(format!("writing {value} to {}", file.display())))?;
    }
    Ok(())
}

fn render_v1(resources: &Resources) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    if let Some(bytes) = resources.memory_limit_bytes {
        writes.push(("memory", "memory.limit_in_bytes", bytes.to_string()));
    }
    if let Some(shares) = resources.cpu_shares {
        writes.push(("cpu", "cpu.shares", shares.to_string()));
    }
    if let Some(period) = resources.cpu_period {
        writes.push(("cpu", "cpu.cfs_period_us", period.to_string()));
    }
    if let Some(quota) = resources.cpu_quota {
        writes.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
    }
    if let Some(pids) = resources.pids_limit {
        writes.push(("pids", "pids.max", or_max(pids)));
    }
    writes
}

fn render_v2(resources: &Resources) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    if let Some(bytes) = resources.memory_limit_bytes {
        writes.push(("memory", "memory.max", or_max(bytes)));
    }
    if let Some(shares) = resources.cpu_shares {
        writes.push(("cpu", "cpu.weight", weight(shares).to_string()));
    }
    if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
        let quota = resources.cpu_quota.map_or_else(|| "max".to_owned(), or_max);
        writes.push(("cpu", "cpu.max", format!("{quota} {}", resources.cpu_period.unwrap_or(100_000))));
    }
    if let Some(pids) = resources.pids_limit {
        writes.push(("pids", "pids.max", or_max(pids)));
    }
    writes
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Shares of 2..=262144 onto weights of 1..=10000, as kubelet maps them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_the_kernels_files() {
        let some = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            memory_limit_bytes: Some(1 << 20),
            pids_limit: Some(-1),
            oom_score_adj: 0,
        };
        let v1: Vec<_> = render_v1(&some).into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
        assert_eq!(
            v1,
            [
                "memory.limit_in_bytes=1048576",
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "pids.max=max"
            ]
        );
        let v2: Vec<_> = render_v2(&some).into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
        assert_eq!(v2, ["memory.max=1048576", "cpu.weight=39", "cpu.max=50000 100000", "pids.max=max"]);
        assert!(render_v1(&Resources::default()).is_empty() && render_v2(&Resources::default()).is_empty());
    }

    #[test]
    fn shares_map_onto_weights_at_both_ends() {
        assert_eq!((weight(0), weight(2), weight(262_144), weight(u64::MAX)), (1, 1, 10_000, 10_000));
    }
}
