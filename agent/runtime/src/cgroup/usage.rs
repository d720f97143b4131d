//! What a group used, and whether the kernel killed something in it for want of memory.

use super::Cgroups;
use crate::Stats;
use std::fs;

impl Cgroups {
    /// Zeroes where the group is gone.
    pub fn stats(&self, path: &str) -> Stats {
        let read = |controller: &str, file: &str| {
            self.folder(controller, path).and_then(|folder| fs::read_to_string(folder.join(file)).ok())
        };
        let number = |controller: &str, file: &str| {
            read(controller, file).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let memory = read("memory", "memory.stat").unwrap_or_default();
        let (usage, inactive, cpu_nanos) = match self {
            Cgroups::V1(_) => (
                number("memory", "memory.usage_in_bytes"),
                field(&memory, "total_inactive_file"),
                number("cpuacct", "cpuacct.usage"),
            ),
            Cgroups::V2(_) => (
                number("memory", "memory.current"),
                field(&memory, "inactive_file"),
                read("cpu", "cpu.stat")
                    .and_then(|text| field(&text, "usage_usec"))
                    .map(|micros| micros * 1000)
                    .unwrap_or_default(),
            ),
        };
        Stats {
            cpu_nanos,
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(inactive.unwrap_or_default()),
        }
    }

    /// How many processes of the group the kernel killed because memory ran out.
    pub fn oom_kills(&self, path: &str) -> u64 {
        let file = match self {
            Cgroups::V1(_) => "memory.oom_control",
            Cgroups::V2(_) => "memory.events",
        };
        let Some(folder) = self.folder("memory", path) else { return 0 };
        fs::read_to_string(folder.join(file)).ok().and_then(|text| field(&text, "oom_kill")).unwrap_or_default()
    }
}

/// The number after `name` in the kernel's flat keyed files.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn keyed_files_are_read_by_whole_names() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }
}
