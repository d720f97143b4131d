//! The pod's cgroup in the form that Docker's driver wants.

/// How Docker names cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Cgroupfs,
    Systemd,
}

/// `cgroup` is relative to the hierarchy's root, such as `coracle-1a2b/burstable/pod<uid>`.
pub fn parent(driver: Driver, cgroup: &str) -> String {
    let cgroup = cgroup.trim_matches('/');
    match driver {
        Driver::Cgroupfs => format!("/{cgroup}"),
        // systemd takes only a slice's name, in which a dash means a level.
        Driver::Systemd => {
            let levels: Vec<String> = cgroup.split('/').map(|level| level.replace('-', "_")).collect();
            format!("{}.slice", levels.join("-"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_for_both_drivers() {
        assert_eq!(parent(Driver::Cgroupfs, "a-1/burstable/pod5-6"), "/a-1/burstable/pod5-6");
        assert_eq!(parent(Driver::Systemd, "a-1/burstable/pod5-6"), "a_1-burstable-pod5_6.slice");
    }
}
