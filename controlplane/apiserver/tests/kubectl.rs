//! Every kubectl on this machine against the real HTTP side: what a user types in the first minutes.

mod support;

use std::path::Path;
use std::process::{Output, Stdio};
use support::{Cluster, bound_pod, kubectls};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Duration, timeout};

const DEADLINE: Duration = Duration::from_secs(20);

struct Shell<'a> {
    kubectl: &'a Path,
    config: &'a Path,
    home: &'a Path,
}

impl Shell<'_> {
    async fn output(&self, line: &str, input: &str) -> Output {
        let mut command = Command::new(self.kubectl);
        command.arg("--kubeconfig").arg(self.config).args(line.split(' '));
        command.env("HOME", self.home).env("KUBE_EDITOR", "sed -i s/demo:v2/demo:v3/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("read");
        drop(stdin);
        let output = timeout(DEADLINE, child.wait_with_output()).await;
        output.unwrap_or_else(|_| panic!("{:?} {line} hangs", self.kubectl)).expect("kubectl ends")
    }

    /// Must succeed; gives what it printed.
    async fn ok(&self, line: &str, input: &str) -> String {
        let output = self.output(line, input).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{:?} {line}\n{out}{err}", self.kubectl);
        out.into_owned()
    }

    /// Must fail; gives what it complained of.
    async fn fails(&self, line: &str, input: &str) -> String {
        let output = self.output(line, input).await;
        assert!(!output.status.success(), "{:?} {line}\n{}", self.kubectl, String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'demo:v1', ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

async fn first_minutes(kubectl: &Path, cluster: &Cluster, home: &Path, config: &Path) {
    let k = Shell { kubectl, config, home };
    assert!(k.ok("version", "").await.contains("Server Version"));
    assert!(k.ok("api-resources", "").await.contains("deployments"));
    assert!(k.ok("explain deployment.spec.replicas", "").await.contains("integer"));
    let made = k.ok("apply -f -", MANIFEST).await;
    assert_eq!(made, "deployment.apps/web created\nservice/web created\n");
    let again = k.ok("apply -f -", MANIFEST).await;
    assert_eq!(again, "deployment.apps/web unchanged\nservice/web unchanged\n");
    let diff = k.output("diff -f -", &MANIFEST.replace("demo:v1", "demo:v2")).await;
    assert_eq!(diff.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("image: demo:v2"));
    assert!(k.ok("apply -f -", &MANIFEST.replace("demo:v1", "demo:v2")).await.contains("web configured"));
    assert!(k.ok("get deploy,svc -o wide", "").await.contains("UP-TO-DATE"));
    k.ok("edit deploy web", "").await;
    assert_eq!(k.ok("get deploy web -o jsonpath={..image}", "").await, "demo:v3");
    k.ok("scale deploy web --replicas=3 --current-replicas=1", "").await;
    assert!(k.fails("scale deploy web --replicas=4 --current-replicas=1", "").await.contains("was 3"));
    k.ok("label deploy web a=b", "").await;
    k.ok("annotate deploy web c=d", "").await;
    k.ok("set image deploy/web c=demo:v4", "").await;
    k.ok("rollout restart deploy/web", "").await;
    k.ok("rollout pause deploy/web", "").await;
    let yaml = k.ok("get deploy web -o yaml", "").await;
    assert!(k.ok("replace -f -", &yaml.replace("demo:v4", "demo:v5")).await.contains("replaced"));
    assert!(k.fails("replace -f -", &yaml).await.contains("the object has been modified"));
    assert!(k.ok("describe deploy web", "").await.contains("demo:v5"));
    k.ok("create configmap c --from-literal=a=b", "").await;
    k.ok("create secret generic s --from-literal=a=b", "").await;
    assert!(k.fails("create configmap c", "").await.contains("already exists"));
    assert!(k.fails("apply --server-side -f -", MANIFEST).await.contains("not available on the server"));
    assert!(k.ok("auth can-i delete nodes", "").await.contains("yes"));
    k.ok("auth can-i --list", "").await;
    bound_pod(&cluster.registry, "p", "n").await;
    assert!(k.ok("get pods -l app=p --field-selector spec.nodeName=n -o name", "").await.contains("pod/p"));
    k.ok("delete pod p --grace-period=0 --force", "").await;
    k.ok("delete deploy,svc,cm,secret -l !component", "").await;
    assert_eq!(k.ok("get cm -o name", "").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_does_what_a_user_types_first() {
    let cluster = Cluster::start().await;
    for kubectl in kubectls() {
        let home = tempfile::tempdir().expect("a directory");
        let config = cluster.kubeconfig(home.path());
        first_minutes(&kubectl, &cluster, home.path(), &config).await;
    }
}
