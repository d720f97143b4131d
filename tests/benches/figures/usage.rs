//! Memory and CPU time of a cluster: of its process, the shims and what runs under them.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The process, its descendants, and every shim (they leave their parent).
pub fn family(root: i32) -> Result<Vec<i32>> {
    let program = fs::read_link(format!("/proc/{root}/exe"))?;
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent: i32 =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
        let shim = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program);
        parents.insert(pid, (parent, shim));
    }
    let belongs = |mut pid: i32| loop {
        match parents.get(&pid) {
            Some(_) if pid == root => return true,
            Some((_, true)) => return true,
            Some((parent, false)) => pid = *parent,
            None => return false,
        }
    };
    Ok(parents.keys().copied().filter(|pid| belongs(*pid)).collect())
}

/// Proportional set size, in bytes: pages shared by several processes count once in all.
pub fn memory(pids: &[i32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        // It may have ended since it was listed.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).context("no Pss line")?;
        sum += line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024;
    }
    Ok(sum)
}

/// User and system time so far.
pub fn cpu(pids: &[i32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit_once(')').context("a stat line")?.1;
        let numbers = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        ticks += numbers.sum::<Result<u64, _>>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
