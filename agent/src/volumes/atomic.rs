//! Files of a volume that all change at once: readers see the old set or the new one, by one renamed link (`..data`).

use super::render::{File, Files};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes the volume at `root` hold exactly these files. Nothing is written where they are there already.
pub fn write(root: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let old = fs::read_link(root.join(DATA)).ok();
    if let Some(old) = &old
        && holds(&root.join(old), files)?
    {
        return Ok(false);
    }
    let name = fresh_name();
    let folder = root.join(&name);
    make_folder(&folder, group)?;
    for (path, file) in files {
        write_file(&folder, path, file, group)?;
    }
    let aside = root.join(DATA_NEW);
    remove_if_there(&aside)?;
    symlink(&name, &aside)?;
    fs::rename(&aside, root.join(DATA))?;
    link_visible(root, files)?;
    if let Some(old) = old {
        remove_old(&root.join(old))?;
    }
    Ok(true)
}

fn remove_old(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Starts with two dots, as every name of ours, so that no key collides with it.
fn fresh_name() -> PathBuf {
    let at = jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S");
    PathBuf::from(format!("..{at}.{:08x}", rand::random::<u32>()))
}

fn make_folder(folder: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(if group.is_some() { 0o2755 } else { 0o755 }))?;
    if group.is_some() { chown(folder, None, group) } else { Ok(()) }
}

fn write_file(folder: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let mut parent = folder.to_owned();
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    for part in parts {
        parent.push(part);
        if !parent.exists() {
            make_folder(&parent, group)?;
        }
    }
    let target = parent.join(name);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
    out.write_all(&file.bytes)?;
    chown(&target, file.owner, group)?;
    // After chown, which drops special bits; upstream lets the volume's group read.
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    out.set_permissions(fs::Permissions::from_mode(mode))
}

fn first_part(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// A link for each file or folder at the top; those of files that are gone go too.
fn link_visible(root: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().map(|path| first_part(path)).collect();
    for name in &wanted {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with("..") && !wanted.contains(text.as_ref()) {
            remove_if_there(&root.join(&name))?;
        }
    }
    Ok(())
}

fn holds(folder: &Path, files: &Files) -> io::Result<bool> {
    let mut found = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = match fs::read_dir(&next) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
            let Some(file) = files.get(name) else { return Ok(false) };
            let same_owner = file.owner.is_none_or(|owner| path.metadata().is_ok_and(|m| m.uid() == owner));
            if !same_owner || fs::read(&path)? != file.bytes {
                return Ok(false);
            }
            found += 1;
        }
    }
    Ok(found == files.len())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.to_owned().into(), mode: 0o640, owner: None };
        entries.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn visible(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).expect("reads").flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|n| !n.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn files_follow_and_the_old_ones_go() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        assert!(write(root, &files(&[("a", "1"), ("d/e", "2")]), None).expect("writes"));
        assert_eq!(fs::read_to_string(root.join("d/e")).expect("reads"), "2");
        assert_eq!(fs::metadata(root.join("a")).expect("is there").permissions().mode() & 0o777, 0o640);
        assert!(!write(root, &files(&[("a", "1"), ("d/e", "2")]), None).expect("writes"));
        let before = fs::read_link(root.join(DATA)).expect("a link");
        assert!(write(root, &files(&[("a", "3"), ("f", "4")]), None).expect("writes"));
        assert_eq!(visible(root), ["a", "f"]);
        assert_eq!(fs::read_to_string(root.join("a")).expect("reads"), "3");
        assert!(!root.join(before).exists());
    }

    #[test]
    fn an_interrupted_write_does_not_stop_the_next() {
        let root = tempfile::tempdir().expect("a folder");
        symlink("..nowhere", root.path().join(DATA_NEW)).expect("links");
        symlink("..gone", root.path().join(DATA)).expect("links");
        assert!(write(root.path(), &files(&[("a", "2")]), None).is_ok());
        assert_eq!(fs::read_to_string(root.path().join("a")).expect("reads"), "2");
    }
}
