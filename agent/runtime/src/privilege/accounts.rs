//! Users and groups as the image's `/etc/passwd` and `/etc/group` name them. Read inside the container, after its root
//! is ours, so no link can lead to the host's files.

use super::Privileges;
use crate::limits::ACCOUNT_FILE_BYTES;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// As the image has it: `user`, `uid`, `user:group`, … or empty for root.
    pub image: String,
    /// The pod's `runAsUser` and `runAsGroup`.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All of them, the primary one included.
    pub groups: Vec<u32>,
    pub home: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    #[error("reading {file}: {why}")]
    Read { file: &'static str, why: String },
}

/// Looks up who the process is to be; the current root must be the container's.
pub fn identify(privileges: &Privileges) -> Result<Identity, AccountError> {
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    resolve(&privileges.user, &privileges.supplemental_groups, &passwd, &group)
}

fn read(file: &'static str) -> Result<String, AccountError> {
    let failed = |error: io::Error| AccountError::Read { file, why: error.to_string() };
    // Non-blocking: it might be a pipe.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    let opened = match OpenOptions::new().read(true).custom_flags(flags).open(Path::new(file)) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        Err(error) => return Err(failed(error)),
    };
    if !opened.metadata().map_err(failed)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    opened.take(ACCOUNT_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn resolve(user: &User, supplemental: &[u32], passwd: &str, group: &str) -> Result<Identity, AccountError> {
    let (name, image_group) = match user.image.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user.image.as_str(), None),
    };
    let (uid, account) = match user.uid {
        Some(uid) => (uid, by_uid(passwd, uid)),
        None if name.is_empty() => (0, by_uid(passwd, 0)),
        None => match (accounts(passwd).find(|account| account.name == name), name.parse()) {
            (Some(account), _) => (account.uid, Some(account)),
            (None, Ok(uid)) => (uid, by_uid(passwd, uid)),
            (None, Err(_)) => return Err(AccountError::User(name.to_owned())),
        },
    };
    let gid = match (user.gid, user.uid, image_group) {
        (Some(gid), ..) => gid,
        // The image's group belongs to the image's user.
        (None, None, Some(name)) => group_id(group, name)?,
        _ => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut groups = vec![gid];
    let member = account.as_ref().map(|account| account.name);
    groups.extend(
        entries(group)
            .filter(|(_, _, members)| member.is_some_and(|one| members.split(',').any(|m| m == one)))
            .map(|(_, gid, _)| gid),
    );
    groups.extend_from_slice(supplemental);
    let mut seen = Vec::with_capacity(groups.len());
    groups.retain(|gid| {
        !seen.contains(gid) && {
            seen.push(*gid);
            true
        }
    });
    let home = account.map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(Identity { uid, gid, groups, home })
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn by_uid(passwd: &str, uid: u32) -> Option<Account<'_>> {
    accounts(passwd).find(|account| account.uid == uid)
}

/// Name, number, members.
fn entries(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

fn group_id(group: &str, name: &str) -> Result<u32, AccountError> {
    entries(group)
        .find(|(one, ..)| *one == name)
        .map(|(_, gid, _)| gid)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| AccountError::Group(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:101:102:w:/var/www:/bin/false\n7:x:8:9::/seven:\n";
    const GROUP: &str = "root:x:0:\nwww:x:102:\nlogs:x:200:nobody,web\n";

    fn who(image: &str, uid: Option<u32>, gid: Option<u32>) -> Result<(u32, u32, Vec<u32>, String), AccountError> {
        let user = User { image: image.into(), uid, gid };
        resolve(&user, &[500], PASSWD, GROUP).map(|one| (one.uid, one.gid, one.groups, one.home))
    }

    #[test]
    fn users_resolve_as_containerd_does() {
        assert_eq!(who("", None, None), Ok((0, 0, vec![0, 500], "/root".into())));
        assert_eq!(who("web", None, None), Ok((101, 102, vec![102, 200, 500], "/var/www".into())));
        assert_eq!(who("101", None, None), Ok((101, 102, vec![102, 200, 500], "/var/www".into())));
        assert_eq!(who("web:logs", None, None), Ok((101, 200, vec![200, 500], "/var/www".into())));
        assert_eq!(who("4000:4001", None, None), Ok((4000, 4001, vec![4001, 500], "/".into())));
        assert_eq!(who("7", None, None).unwrap().0, 8, "a name wins over a number");
        assert_eq!(who("web:logs", Some(3000), None), Ok((3000, 0, vec![0, 500], "/".into())));
        assert_eq!(who("web", Some(3000), Some(4000)), Ok((3000, 4000, vec![4000, 500], "/".into())));
    }

    #[test]
    fn unknown_names_are_errors() {
        assert_eq!(who("nobody", None, None), Err(AccountError::User("nobody".into())));
        assert_eq!(who("web:staff", None, None), Err(AccountError::Group("staff".into())));
        assert_eq!(who("-1", None, None), Err(AccountError::User("-1".into())));
    }
}
