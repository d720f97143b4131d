//! What runs in the container and in which surroundings: the pod's word over the image's.
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>

use crate::{ContainerSpec, RuntimeError};
use oci_spec::image::Config as ImageConfig;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command replaces the image's entrypoint and its arguments; arguments alone replace only the image's arguments.
pub fn args(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, RuntimeError> {
    let none = Vec::new();
    let entrypoint = image.entrypoint().as_ref().unwrap_or(&none);
    let cmd = image.cmd().as_ref().unwrap_or(&none);
    let args: Vec<String> = match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => container.command.iter().chain(&container.args).cloned().collect(),
        (true, false) => entrypoint.iter().chain(&container.args).cloned().collect(),
        (true, true) => entrypoint.iter().chain(cmd).cloned().collect(),
    };
    if args.is_empty() {
        return Err(RuntimeError::Start("no command specified".to_owned()));
    }
    Ok(args)
}

/// `NAME=value`, each name once, the last value winning.
pub fn env(container: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if container.tty {
        all.push("TERM=xterm".to_owned());
    }
    all.extend(image.env().iter().flatten().cloned());
    all.extend(container.env.iter().map(|(name, value)| format!("{name}={value}")));
    let name = |one: &str| one.split('=').next().unwrap_or_default().to_owned();
    let mut kept: Vec<String> = Vec::with_capacity(all.len());
    for one in all {
        match kept.iter_mut().find(|other| name(other) == name(&one)) {
            Some(other) => *other = one,
            None => kept.push(one),
        }
    }
    kept
}

pub fn cwd(container: &ContainerSpec, image: &ImageConfig) -> Result<String, RuntimeError> {
    let of_image = image.working_dir().as_deref().filter(|path| !path.is_empty());
    let cwd = container.working_dir.as_deref().filter(|path| !path.is_empty()).or(of_image).unwrap_or("/");
    if cwd.starts_with('/') {
        Ok(cwd.to_owned())
    } else {
        Err(RuntimeError::Start(format!("the working directory {cwd:?} is not an absolute path")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::container;
    use super::*;
    use oci_spec::image::ConfigBuilder;

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    fn image() -> ImageConfig {
        ConfigBuilder::default()
            .entrypoint(texts(&["/entry"]))
            .cmd(texts(&["default"]))
            .env(texts(&["A=image", "PATH=/image"]))
            .working_dir("/srv".to_owned())
            .build()
            .unwrap()
    }

    #[test]
    fn command_and_arguments_follow_kubernetes_table() {
        for (command, extra, want) in [
            (&[][..], &[][..], &["/entry", "default"][..]),
            (&["/c"], &[], &["/c"]),
            (&[], &["a"], &["/entry", "a"]),
            (&["/c"], &["a"], &["/c", "a"]),
        ] {
            let spec = ContainerSpec { command: texts(command), args: texts(extra), ..container() };
            assert_eq!(args(&spec, &image()).unwrap(), want);
        }
        assert!(args(&container(), &ImageConfig::default()).is_err());
    }

    #[test]
    fn the_pods_environment_wins_over_the_images() {
        let spec = ContainerSpec { env: vec![("A".into(), "x=y".into()), ("B".into(), "1".into())], ..container() };
        assert_eq!(env(&spec, &image(), "pod"), ["PATH=/image", "HOSTNAME=pod", "A=x=y", "B=1"]);
        assert!(env(&ContainerSpec { tty: true, ..container() }, &image(), "pod").contains(&"TERM=xterm".to_owned()));
    }

    #[test]
    fn the_working_directory_is_absolute() {
        assert_eq!(cwd(&container(), &image()).unwrap(), "/srv");
        assert_eq!(cwd(&container(), &ImageConfig::default()).unwrap(), "/");
        assert!(cwd(&ContainerSpec { working_dir: Some("x".into()), ..container() }, &image()).is_err());
    }
}
