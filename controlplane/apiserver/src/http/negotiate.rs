//! Which form of answer a client accepts: `Accept`, and what Kubernetes puts into its parameters.

use coracle_proto::ApiError;
use coracle_proto::status::Reason;
use http::HeaderMap;
use http::header::ACCEPT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
}

/// What the objects are turned into before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    Object,
    Table,
    PartialObjectMetadata,
    PartialObjectMetadataList,
    /// Discovery of all groups at once, with the version of its form.
    GroupDiscovery(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub media: Media,
    pub as_: As,
    /// The version of `meta.k8s.io` asked for, of tables.
    pub version: &'static str,
}

pub const JSON: Format = Format { media: Media::Json, as_: As::Object, version: "v1" };

impl Media {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// The first of the accepted forms that this server has.
pub fn negotiate(headers: &HeaderMap) -> Result<Format, ApiError> {
    let mut any = false;
    for header in headers.get_all(ACCEPT) {
        let Ok(text) = header.to_str() else { continue };
        for option in text.split(',').filter(|o| !o.trim().is_empty()) {
            any = true;
            if let Some(format) = parse(option) {
                return Ok(format);
            }
        }
    }
    if !any {
        return Ok(JSON);
    }
    let why = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    Err(ApiError::new(Reason::NotAcceptable, why))
}

fn parse(option: &str) -> Option<Format> {
    let mut parts = option.split(';').map(str::trim);
    let media = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Media::Json,
        "application/yaml" => Media::Yaml,
        "application/vnd.kubernetes.protobuf" => Media::Protobuf,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for (key, value) in parts.filter_map(|p| p.split_once('=')) {
        match key.trim() {
            "as" => kind = value,
            "g" => group = value,
            "v" => version = value,
            _ => {}
        }
    }
    let as_ = match (kind, group) {
        ("", _) => As::Object,
        ("Table", "meta.k8s.io") => As::Table,
        ("PartialObjectMetadata", "meta.k8s.io") => As::PartialObjectMetadata,
        ("PartialObjectMetadataList", "meta.k8s.io") => As::PartialObjectMetadataList,
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io") => match version {
            "v2" => As::GroupDiscovery("v2"),
            "v2beta1" => As::GroupDiscovery("v2beta1"),
            _ => return None,
        },
        _ => return None,
    };
    let version = match (as_, version) {
        (As::Table | As::PartialObjectMetadata | As::PartialObjectMetadataList, "v1beta1") => "v1beta1",
        (As::Table | As::PartialObjectMetadata | As::PartialObjectMetadataList, "v1") => "v1",
        (As::Table | As::PartialObjectMetadata | As::PartialObjectMetadataList, _) => return None,
        _ => "v1",
    };
    // A table has no protobuf form here; clients name JSON as their next choice.
    (!(media == Media::Protobuf && as_ == As::Table)).then_some(Format { media, as_, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_first_form_there_is_wins() {
        let table = [
            ("", Some((Media::Json, As::Object))),
            ("*/*", Some((Media::Json, As::Object))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Media::Protobuf, As::Object))),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some((Media::Json, As::Table))),
            ("application/json;as=Table;v=v7;g=meta.k8s.io,application/yaml", Some((Media::Yaml, As::Object))),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                Some((Media::Json, As::GroupDiscovery("v2"))),
            ),
            ("text/html, application/json;q=0.5", Some((Media::Json, As::Object))),
            ("text/html", None),
        ];
        for (accept, expected) in table {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(negotiate(&headers).ok().map(|f| (f.media, f.as_)), expected, "{accept}");
        }
    }
}
