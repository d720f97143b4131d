//! The Linux half of the spec: namespaces, limits, devices, and the parts of `/proc` and `/sys` that are hidden.

use super::{Device, Input};
use crate::Resources;
use oci_spec::runtime::{
    Linux, LinuxCpu, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxNamespace, LinuxNamespaceType,
    LinuxPids, LinuxResources,
};
use std::path::Path;

/// As containerd hides them.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub fn render(input: &Input<'_>, cgroup: &str, shared: bool) -> Linux {
    let security = &input.container.security;
    let open = security.privileged || security.unmasked_proc;
    let texts = |paths: &[&str]| Some(paths.iter().map(|&path| path.to_owned()).collect());
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input)))
        .set_cgroups_path(Some(Path::new("/").join(cgroup)))
        .set_resources(Some(resources(&input.container.resources, &input.devices, security.privileged)))
        .set_devices(Some(input.devices.iter().map(device).collect()))
        .set_masked_paths(if open { None } else { texts(&MASKED) })
        .set_readonly_paths(if open { None } else { texts(&READ_ONLY) })
        .set_seccomp(None)
        .set_sysctl(None)
        // Shared mounts stay so only in a shared tree; nothing else in it has a peer.
        .set_rootfs_propagation(shared.then(|| "shared".to_owned()));
    linux
}

fn namespaces(input: &Input<'_>) -> Vec<LinuxNamespace> {
    let paths = input.namespaces;
    let mut all = vec![namespace(LinuxNamespaceType::Mount, None)];
    for (kind, path) in [
        (LinuxNamespaceType::Network, &paths.net),
        (LinuxNamespaceType::Ipc, &paths.ipc),
        (LinuxNamespaceType::Uts, &paths.uts),
    ] {
        all.extend(path.as_deref().map(|path| namespace(kind, Some(path))));
    }
    if !input.sandbox.host_pid {
        all.push(namespace(LinuxNamespaceType::Pid, paths.pid.as_deref()));
    }
    if input.host.controllers.is_none() {
        all.push(namespace(LinuxNamespaceType::Cgroup, None));
    }
    all
}

fn namespace(kind: LinuxNamespaceType, path: Option<&Path>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path.map(Path::to_owned));
    namespace
}

fn resources(limits: &Resources, devices: &[Device], privileged: bool) -> LinuxResources {
    let mut resources = LinuxResources::default();
    let mut rules = vec![rule(privileged, None, "rwm")];
    rules.extend(devices.iter().map(|device| rule(true, Some(device), "rwm")));
    resources.set_devices(Some(rules));
    if limits.cpu_shares.is_some() || limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let mut cpu = LinuxCpu::default();
        cpu.set_shares(limits.cpu_shares).set_quota(limits.cpu_quota).set_period(limits.cpu_period);
        resources.set_cpu(Some(cpu));
    }
    if let Some(bytes) = limits.memory_limit_bytes {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(bytes));
        resources.set_memory(Some(memory));
    }
    if let Some(limit) = limits.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources
}

fn rule(allow: bool, device: Option<&Device>, access: &str) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_access(Some(access.to_owned()));
    if let Some(device) = device {
        rule.set_typ(Some(kind(device)))
            .set_major(i64::try_from(device.major).ok())
            .set_minor(i64::try_from(device.minor).ok());
    }
    rule
}

fn device(device: &Device) -> LinuxDevice {
    let mut made = LinuxDevice::default();
    made.set_path(device.path.clone())
        .set_typ(kind(device))
        .set_major(device.major as i64)
        .set_minor(device.minor as i64)
        .set_file_mode(Some(device.mode));
    made
}

fn kind(device: &Device) -> LinuxDeviceType {
    if device.block { LinuxDeviceType::B } else { LinuxDeviceType::C }
}
