//! `hostPath`: what must be there, or be made, before it is mounted.

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The error is kubelet's message.
pub fn prepare(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let failed = |error: io::Error| format!("hostPath {}: {error}", source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            return fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed);
        }
        "FileOrCreate" if !path.exists() => {
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
            return made.map(drop).map_err(failed);
        }
        _ => {}
    }
    let metadata = fs::metadata(path);
    let what = |good: fn(&fs::FileType) -> bool, name: &str| match &metadata {
        Ok(found) if good(&found.file_type()) => Ok(()),
        _ => Err(format!("hostPath type check failed: {} is not {name}", source.path)),
    };
    match kind {
        // Upstream checks nothing here; the runtime makes a missing folder.
        "" => {
            if metadata.is_ok() {
                Ok(())
            } else {
                fs::create_dir_all(path).map_err(failed)
            }
        }
        "Directory" | "DirectoryOrCreate" => what(fs::FileType::is_dir, "a directory"),
        "File" | "FileOrCreate" => what(fs::FileType::is_file, "a file"),
        "Socket" => what(FileTypeExt::is_socket, "a socket file"),
        "CharDevice" => what(FileTypeExt::is_char_device, "a character device"),
        "BlockDevice" => what(FileTypeExt::is_block_device, "a block device"),
        other => Err(format!("hostPath type {other:?} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_or_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(at("file"), "").expect("writes");
        let table = [
            (at("new/dir"), "DirectoryOrCreate", true),
            (at("new-file"), "FileOrCreate", true),
            (at("file"), "File", true),
            (at("file"), "Directory", false),
            (at("missing"), "Directory", false),
            (at("missing"), "File", false),
            (at("any"), "", true),
            ("/dev/null".to_owned(), "CharDevice", true),
            ("/dev/null".to_owned(), "Socket", false),
            (at("file"), "Banana", false),
        ];
        for (path, kind, good) in table {
            let source = HostPathVolumeSource { path: path.clone(), type_: Some(kind.to_owned()) };
            assert_eq!(prepare(&source).is_ok(), good, "{path} {kind}");
        }
        assert!(folder.path().join("new/dir").is_dir() && folder.path().join("new-file").is_file());
    }
}
