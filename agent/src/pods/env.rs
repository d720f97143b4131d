//! A container's environment, in kubelet's order and precedence: services, then `envFrom`, then `env`.

use super::downward::{self, NodeContext};
use super::expand::expand;
use crate::objects::{Lookup, ObjectId, Objects, Values};
use crate::services::ServiceFacts;
use coracle_network::Protocol;
use coracle_proto::{ObjectKey, name};
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVarSource, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Later entries replaced earlier ones of the same name, at the earlier one's place.
#[derive(Debug, Default)]
pub struct Environment {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    pub fn into_pairs(mut self) -> Vec<(String, String)> {
        let taken = self.order.into_iter().filter_map(|name| self.values.remove_entry(&name));
        taken.collect()
    }
}

/// Everything an environment may depend on.
pub struct Sources<'a> {
    pub pod: &'a Pod,
    pub node: &'a NodeContext,
    pub objects: &'a Objects,
    pub services: &'a BTreeMap<ObjectKey, ServiceFacts>,
}

/// The error is kubelet's message for `CreateContainerConfigError`.
pub fn render(sources: &Sources<'_>, container: &Container) -> Result<Environment, String> {
    let namespace = sources.pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = sources.pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let mut environment = Environment::default();
    for (name, value) in services(namespace, sources.services, links) {
        environment.set(&name, value);
    }
    for source in container.env_from.iter().flatten() {
        for (name, value) in from_source(sources, namespace, source)? {
            environment.set(&name, value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value_from, &variable.value) {
            (Some(source), _) => from_value(sources, namespace, container, source)?,
            (None, text) => Some(expand(text.as_deref().unwrap_or_default(), |name| environment.get(name))),
        };
        if let Some(value) = value {
            environment.set(&variable.name, value);
        }
    }
    Ok(environment)
}

/// `None`: not there, and that is allowed.
fn find(sources: &Sources<'_>, id: &ObjectId, optional: bool) -> Result<Option<Arc<Values>>, String> {
    let kind = kind_of(id);
    match sources.objects.get(id).cloned().unwrap_or_default() {
        Lookup::Found(values) => Ok(Some(values)),
        Lookup::Missing if optional => Ok(None),
        Lookup::Missing => Err(format!("{kind} {:?} not found", id.key.name)),
        Lookup::Unknown => Err(format!("failed to sync {kind} cache: timed out waiting for the condition")),
    }
}

fn kind_of(id: &ObjectId) -> &'static str {
    match id.kind {
        crate::objects::ObjectKind::ConfigMap => "configmap",
        crate::objects::ObjectKind::Secret => "secret",
    }
}

fn from_source(
    sources: &Sources<'_>,
    namespace: &str,
    source: &EnvFromSource,
) -> Result<Vec<(String, String)>, String> {
    let (id, optional) = if let Some(reference) = &source.config_map_ref {
        (ObjectId::config_map(namespace, &reference.name), reference.optional)
    } else if let Some(reference) = &source.secret_ref {
        (ObjectId::secret(namespace, &reference.name), reference.optional)
    } else {
        return Ok(Vec::new());
    };
    let Some(values) = find(sources, &id, optional.unwrap_or(false))? else { return Ok(Vec::new()) };
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let pairs = values.entries.iter().map(|(key, value)| (format!("{prefix}{key}"), text(value)));
    // A key that is no name of a variable is left out, as upstream does.
    Ok(pairs.filter(|(key, _)| name::env_name(key).is_none()).collect())
}

fn from_value(
    sources: &Sources<'_>,
    namespace: &str,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        return downward::field(sources.pod, sources.node, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        let target = match reference.container_name.as_deref() {
            None | Some("") => container,
            Some(name) => container_named(sources.pod, name).ok_or_else(|| format!("container {name} not found"))?,
        };
        return downward::resource(target, sources.node, reference).map(Some);
    }
    let (id, kind, key, optional) = if let Some(r) = &source.config_map_key_ref {
        (ObjectId::config_map(namespace, &r.name), "ConfigMap", &r.key, r.optional)
    } else if let Some(r) = &source.secret_key_ref {
        (ObjectId::secret(namespace, &r.name), "Secret", &r.key, r.optional)
    } else {
        return Ok(None);
    };
    let optional = optional.unwrap_or(false);
    let Some(values) = find(sources, &id, optional)? else { return Ok(None) };
    match values.entries.get(key) {
        Some(value) => Ok(Some(text(value))),
        None if optional => Ok(None),
        None => Err(format!("couldn't find key {key} in {kind} {namespace}/{}", id.key.name)),
    }
}

pub fn container_named<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name)
}

/// Variables hold no NUL; the rest of what is not text is kept as near as can be.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).replace('\0', "")
}

/// `KUBERNETES_SERVICE_HOST` and its kin; see
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn services(namespace: &str, all: &BTreeMap<ObjectKey, ServiceFacts>, links: bool) -> Vec<(String, String)> {
    let master = ObjectKey::new("default", "kubernetes");
    let mut chosen: BTreeMap<&str, &ServiceFacts> = BTreeMap::new();
    chosen.extend(all.get(&master).map(|s| ("kubernetes", s)));
    if links {
        let own = all.iter().filter(|(key, _)| key.namespace == namespace);
        chosen.extend(own.map(|(key, s)| (key.name.as_str(), s)));
    }
    chosen.values().flat_map(|s| of_service(s)).collect()
}

fn of_service(service: &ServiceFacts) -> Vec<(String, String)> {
    let (Some(ip), Some(first)) = (service.cluster_ips.first(), service.ports.first()) else { return Vec::new() };
    let upper = |name: &str| name.to_uppercase().replace('-', "_");
    let prefix = upper(&service.key.name);
    let mut pairs = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_string()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    let named = service.ports.iter().filter(|p| !p.name.is_empty());
    pairs.extend(named.map(|p| (format!("{prefix}_SERVICE_PORT_{}", upper(&p.name)), p.port.to_string())));
    for (at, port) in service.ports.iter().enumerate() {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let url = format!("{protocol}://{ip}:{}", port.port);
        if at == 0 {
            pairs.push((format!("{prefix}_PORT"), url.clone()));
        }
        let prefix = format!("{prefix}_PORT_{}_{}", port.port, upper(protocol));
        pairs.push((prefix.clone(), url));
        pairs.push((format!("{prefix}_PROTO"), protocol.to_owned()));
        pairs.push((format!("{prefix}_PORT"), port.port.to_string()));
        pairs.push((format!("{prefix}_ADDR"), ip.to_string()));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(entries: &[(&str, &str)]) -> Lookup {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned().into())).collect();
        Lookup::Found(Arc::new(Values { entries, kind: String::new() }))
    }

    fn rendered(container: Value, services: &[Value]) -> Result<Vec<(String, String)>, String> {
        let mut container = container;
        container["name"] = json!("c");
        let pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": [container]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let objects = Objects::from([
            (ObjectId::config_map("d", "settings"), found(&[("A", "from-map"), ("B", "two"), ("a=b", "no")])),
            (ObjectId::secret("d", "hidden"), found(&[("KEY", "s3")])),
            (ObjectId::config_map("d", "none"), Lookup::Missing),
        ]);
        let parse = |s: &Value| ServiceFacts::of(&serde_json::from_value(s.clone()).expect("a service"));
        let services = services.iter().map(parse).map(|s| (s.key.clone(), s)).collect();
        let sources = Sources { pod: &pod, node: &NodeContext::default(), objects: &objects, services: &services };
        render(&sources, container_named(&pod, "c").expect("is there")).map(Environment::into_pairs)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn later_sources_win_and_references_see_the_earlier() {
        let container = json!({
            "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "X_", "secretRef": {"name": "hidden"}}],
            "env": [
                {"name": "A", "value": "own"},
                {"name": "C", "value": "$(A)-$(X_KEY)-$(D)"},
                {"name": "D", "value": "later"},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "EMPTY"},
                {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": true}}},
            ],
        });
        let expected = [
            ("A", "own"),
            ("B", "two"),
            ("X_KEY", "s3"),
            ("C", "own-s3-$(D)"),
            ("D", "later"),
            ("POD", "p"),
            ("EMPTY", ""),
        ];
        assert_eq!(rendered(container, &[]), Ok(pairs(&expected)));
    }

    #[test]
    fn what_is_missing_is_named_as_kubelet_names_it() {
        let key = |kind: &str, name: &str, key: &str| json!({"env": [{"name": "A", "valueFrom": {kind: {"name": name, "key": key}}}]});
        let table = [
            (key("configMapKeyRef", "settings", "x"), "couldn't find key x in ConfigMap d/settings"),
            (key("secretKeyRef", "hidden", "x"), "couldn't find key x in Secret d/hidden"),
            (key("configMapKeyRef", "none", "x"), "configmap \"none\" not found"),
            (json!({"envFrom": [{"configMapRef": {"name": "none"}}]}), "configmap \"none\" not found"),
            (key("secretKeyRef", "untold", "x"), "failed to sync secret cache: timed out waiting for the condition"),
        ];
        for (container, message) in table {
            assert_eq!(rendered(container, &[]), Err(message.to_owned()));
        }
    }

    #[test]
    fn services_of_the_namespace_and_the_api_are_variables() {
        let service = |namespace: &str, name: &str, ip: &str| {
            json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]}})
        };
        let all = [
            service("default", "kubernetes", "10.96.0.1"),
            service("d", "my-web", "10.96.0.9"),
            service("e", "other", "10.96.0.8"),
            service("d", "headless", "None"),
        ];
        let found: BTreeMap<String, String> = rendered(json!({}), &all).expect("renders").into_iter().collect();
        assert_eq!(found["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert_eq!(found["KUBERNETES_SERVICE_PORT_HTTP"], "80");
        assert_eq!(found["MY_WEB_PORT"], "tcp://10.96.0.9:80");
        assert_eq!(found["MY_WEB_PORT_80_TCP_ADDR"], "10.96.0.9");
        assert!(!found.keys().any(|k| k.starts_with("OTHER") || k.starts_with("HEADLESS")));
    }
}
