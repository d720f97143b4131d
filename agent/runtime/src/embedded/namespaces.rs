//! A sandbox's namespaces: made by a thread that lives only for it, kept by bind mounts, so that no process has to.

use super::io_failed;
use crate::spec::Namespaces;
use crate::{RuntimeError, SandboxId, SandboxSpec, durable};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket};
use nix::sys::statfs::{NSFS_MAGIC, statfs};
use nix::unistd::{Pid, sethostname};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const NS: &str = "ns";
const SHM: &str = "shm";
/// As containerd sizes a pod's shared memory.
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

/// Where they are pinned. On the host's network a pod also has the host's name, as kubelet wants it.
pub fn paths(folder: &Path, spec: &SandboxSpec) -> Namespaces {
    let at = |wanted: bool, name: &str| wanted.then(|| folder.join(NS).join(name));
    Namespaces {
        net: at(!spec.host_network, "net"),
        ipc: at(!spec.host_ipc, "ipc"),
        uts: at(!spec.host_network, "uts"),
        pid: at(spec.share_pid && !spec.host_pid, "pid"),
        shm: if spec.host_ipc { PathBuf::from("/dev/shm") } else { folder.join(SHM) },
    }
}

pub fn boot() -> Result<String, RuntimeError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(io_failed("reading the boot's id"))?;
    Ok(text.trim().to_owned())
}

pub fn are_pinned(folder: &Path, spec: &SandboxSpec) -> bool {
    let paths = paths(folder, spec);
    [paths.net, paths.ipc, paths.uts, paths.pid].iter().flatten().all(|path| is_pinned(path))
}

fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// Everything but a shared PID namespace, which needs a process.
pub fn make(folder: &Path, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    let failed = |error: io::Error| io_failed("making a sandbox")(error);
    fs::create_dir(folder).and_then(|()| fs::create_dir(folder.join(NS))).map_err(failed)?;
    let paths = paths(folder, spec);
    if !spec.host_ipc {
        fs::create_dir(&paths.shm).map_err(failed)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), &paths.shm, Some("tmpfs"), flags, Some(SHM_OPTIONS))
            .map_err(|error| failed(error.into()))?;
    }
    let spec = spec.clone();
    let made = std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || inside(&paths, &spec));
    let made = made.map_err(failed)?.join();
    made.unwrap_or_else(|_| Err(failed(io::Error::other("the thread panicked"))))
}

/// In a thread of its own, which is in the new namespaces ever after.
fn inside(paths: &Namespaces, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    let told = |doing: &str, error: Errno| RuntimeError::Io { doing: doing.to_owned(), why: error.to_string() };
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, paths.net.is_some());
    flags.set(CloneFlags::CLONE_NEWIPC, paths.ipc.is_some());
    flags.set(CloneFlags::CLONE_NEWUTS, paths.uts.is_some());
    unshare(flags).map_err(|error| told("making namespaces", error))?;
    if paths.uts.is_some() && !spec.hostname.is_empty() {
        sethostname(&spec.hostname).map_err(|error| told("setting the pod's host name", error))?;
    }
    if paths.net.is_some() {
        loopback_up().map_err(|error| told("setting up the loopback device", error))?;
    }
    for (name, value) in &spec.sysctls {
        sysctl(name, value, paths)?;
    }
    for (kind, path) in [("net", &paths.net), ("ipc", &paths.ipc), ("uts", &paths.uts)] {
        if let Some(path) = path {
            pin(Path::new(&format!("/proc/thread-self/ns/{kind}")), path)?;
        }
    }
    Ok(())
}

pub fn pin_pid(folder: &Path, first: Pid) -> Result<(), RuntimeError> {
    pin(Path::new(&format!("/proc/{first}/ns/pid")), &folder.join(NS).join("pid"))
}

fn pin(namespace: &Path, path: &Path) -> Result<(), RuntimeError> {
    File::create(path).map_err(io_failed("pinning a namespace"))?;
    mount(Some(namespace), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| io_failed("pinning a namespace")(error.into()))
}

/// Applies in the namespaces of the calling thread.
fn sysctl(name: &str, value: &str, paths: &Namespaces) -> Result<(), RuntimeError> {
    let told = |why: String| RuntimeError::Start(format!("sysctl {name:?}: {why}"));
    let own = match scope(name) {
        Some(Scope::Net) => paths.net.is_some(),
        Some(Scope::Ipc) => paths.ipc.is_some(),
        None => return Err(told("it is not one that a pod can have for itself".to_owned())),
    };
    if !own {
        return Err(told("the pod shares that of the host".to_owned()));
    }
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    fs::write(Path::new("/proc/sys").join(path), value).map_err(|error| told(format!("setting {value:?}: {error}")))
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Net,
    Ipc,
}

/// Which namespace a setting belongs to. Names are `a.b.c` or `a/b/c`; anything else would be the host's.
/// <https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/>
fn scope(name: &str) -> Option<Scope> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm_rmid_forced",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    ];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let dotted = name.replace('/', ".");
    if !name.bytes().all(plain) || dotted.split('.').any(str::is_empty) {
        None
    } else if dotted.starts_with("net.") {
        Some(Scope::Net)
    } else if dotted.starts_with("fs.mqueue.") || IPC.contains(&dotted.as_str()) {
        Some(Scope::Ipc)
    } else {
        None
    }
}

/// One netlink message: link 1, flag up.
fn loopback_up() -> nix::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    const LENGTH: u32 = 32;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend_from_slice(&LENGTH.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and sender, then family, padding and device type.
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&1i32.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(fd.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(drop)
}

/// Unpins everything and deletes the folder. No error if it is not there.
pub fn remove(folder: &Path, id: &SandboxId) -> Result<(), RuntimeError> {
    let pins = ["net", "ipc", "uts", "pid"].map(|name| folder.join(NS).join(name));
    for path in pins.iter().chain([&folder.join(SHM)]) {
        unmount(path).map_err(|error| io_failed(format!("unpinning sandbox {:?}", id.0))(error.into()))?;
    }
    durable::remove_tree(folder).map_err(io_failed(format!("deleting {}", folder.display())))
}

fn unmount(path: &Path) -> nix::Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH) {
            // Mounted more than once, should that ever be.
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pods_own_settings_can_be_set() {
        for (name, want) in [
            ("net.ipv4.ip_forward", Some(Scope::Net)),
            ("net/ipv4/conf/eth0.1/forwarding", Some(Scope::Net)),
            ("kernel.shmmax", Some(Scope::Ipc)),
            ("fs.mqueue.msg_max", Some(Scope::Ipc)),
            ("kernel.panic", None),
            ("vm.swappiness", None),
            ("net..ipv4", None),
            ("net/../kernel/panic", None),
            ("../net.x", None),
            ("", None),
        ] {
            assert_eq!(scope(name), want, "{name}");
        }
    }
}
