//! What the host is: read once at start, but for its free memory and disk.

use crate::config::CapacityOverrides;
use crate::error::AgentError;
use std::path::{Path, PathBuf};

/// What does not change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    pub kernel: String,
    pub os_image: String,
    /// As Go names it.
    pub architecture: &'static str,
    pub machine_id: String,
    pub boot_id: String,
    pub system_uuid: String,
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub disk_bytes: i64,
    pub(super) disk: PathBuf,
}

/// What changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
}

/// Upstream's hard eviction thresholds.
const MEMORY_AVAILABLE_MIN_BYTES: i64 = 100 << 20;
const DISK_AVAILABLE_MIN_PERCENT: u64 = 10;
const INODES_AVAILABLE_MIN_PERCENT: u64 = 5;

impl HostFacts {
    /// `disk` is a directory on the file system that holds the pods' data.
    pub fn read(disk: &Path, overrides: &CapacityOverrides) -> Result<Self, AgentError> {
        let statvfs = rustix::fs::statvfs(disk)
            .map_err(|e| AgentError::io(format!("asking for the size of {}", disk.display()))(e.into()))?;
        let disk_bytes = i64::try_from(statvfs.f_blocks.saturating_mul(statvfs.f_frsize)).unwrap_or(i64::MAX);
        let meminfo = std::fs::read_to_string("/proc/meminfo").map_err(AgentError::io("reading /proc/meminfo"))?;
        let cores = std::thread::available_parallelism().map_err(AgentError::io("counting the processors"))?;
        let machine_id = line_of("/etc/machine-id");
        let uuid = line_of("/sys/class/dmi/id/product_uuid");
        Ok(Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            os_image: os_image(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
            architecture: go_architecture(std::env::consts::ARCH),
            boot_id: line_of("/proc/sys/kernel/random/boot_id"),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            cpu_millis: overrides.cpu_millis.unwrap_or(cores.get() as i64 * 1000),
            memory_bytes: overrides.memory_bytes.unwrap_or_else(|| meminfo_bytes(&meminfo, "MemTotal")),
            disk_bytes: overrides.ephemeral_storage_bytes.unwrap_or(disk_bytes),
            disk: disk.to_owned(),
        })
    }

    /// What cannot be read counts as no pressure: a node is not condemned for a missing file.
    pub fn pressure(&self) -> Pressure {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory =
            meminfo.contains("MemAvailable") && meminfo_bytes(&meminfo, "MemAvailable") < MEMORY_AVAILABLE_MIN_BYTES;
        let disk = rustix::fs::statvfs(&self.disk).is_ok_and(|s| {
            s.f_bavail * 100 < s.f_blocks * DISK_AVAILABLE_MIN_PERCENT
                || s.f_favail * 100 < s.f_files * INODES_AVAILABLE_MIN_PERCENT
        });
        Pressure { memory, disk, pids: pids_scarce() }
    }
}

fn line_of(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn os_image(os_release: &str) -> String {
    let line = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| "Linux".into(), |name| name.trim_matches('"').to_owned())
}

fn go_architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// `MemTotal:  24689120 kB` in bytes; 0 where it is not there.
fn meminfo_bytes(meminfo: &str, key: &str) -> i64 {
    let rest = meminfo.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    let kib = rest.and_then(|r| r.split_whitespace().next()).and_then(|n| n.parse::<i64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Fewer than one in ten process ids is free.
fn pids_scarce() -> bool {
    let max: Option<u64> = line_of("/proc/sys/kernel/pid_max").parse().ok();
    let loadavg = line_of("/proc/loadavg");
    let running: Option<u64> = loadavg.split_whitespace().nth(3).and_then(|f| f.split('/').nth(1)?.parse().ok());
    matches!((max, running), (Some(max), Some(running)) if running * 10 > max * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host_are_understood() {
        assert_eq!(
            os_image("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_image(""), "Linux");
        let meminfo = "MemTotal:       24689120 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal"), 24_689_120 << 10);
        assert_eq!(meminfo_bytes(meminfo, "Mem"), 0);
    }

    #[test]
    fn this_host_has_memory_and_processors() {
        let facts = HostFacts::read(Path::new("/"), &CapacityOverrides::default()).expect("reads");
        assert!(facts.cpu_millis >= 1000 && facts.memory_bytes > 0 && facts.disk_bytes > 0 && !facts.kernel.is_empty());
        let overrides = CapacityOverrides { cpu_millis: Some(500), ..CapacityOverrides::default() };
        assert_eq!(HostFacts::read(Path::new("/"), &overrides).expect("reads").cpu_millis, 500);
    }
}
