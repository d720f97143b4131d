//! Service account tokens: JWTs signed with ES256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Signs and checks tokens. The private key never leaves it.
pub struct TokenSigner {
    issuer: String,
    signing: EncodingKey,
    checking: DecodingKey,
    key_id: String,
    jwks: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the service account key cannot be read: {0}")]
    Key(String),
    #[error("the service account key must be ECDSA on P-256")]
    Curve,
}

/// What a token says, in upstream's form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub iss: String,
    pub jti: String,
    pub sub: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Value,
}

/// 0x04, then both coordinates.
const POINT: usize = 65;

impl TokenSigner {
    /// `key` is a PKCS#8 PEM; `issuer` a URL.
    pub fn new(key: &str, issuer: &str) -> Result<Self, SignerError> {
        let pair = rcgen::KeyPair::from_pem(key).map_err(|e| SignerError::Key(e.to_string()))?;
        let signing = EncodingKey::from_ec_pem(key.as_bytes()).map_err(|e| SignerError::Key(e.to_string()))?;
        let point = pair.public_key_raw();
        if point.len() != POINT || point[0] != 4 {
            return Err(SignerError::Curve);
        }
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(point));
        let (x, y) = point[1..].split_at(POINT / 2);
        let jwks = json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": key_id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        Ok(Self { issuer: issuer.into(), signing, checking: DecodingKey::from_ec_der(point), key_id, jwks })
    }

    /// A new P-256 key, PKCS#8 PEM.
    pub fn generate_key() -> Result<String, SignerError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|e| SignerError::Key(e.to_string()))?;
        Ok(pair.serialize_pem())
    }

    /// Also the audience of tokens that name none.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key as a JSON Web Key Set.
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, SignerError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        header.typ = None;
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|e| SignerError::Key(e.to_string()))
    }

    /// The claims of a token that is ours, in time and for one of `audiences`.
    pub fn check(&self, token: &str, audiences: &[&str]) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(audiences);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        jsonwebtoken::decode::<Claims>(token, &self.checking, &validation).ok().map(|data| data.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(signer: &TokenSigner, from: i64, to: i64) -> Claims {
        let now = jiff::Timestamp::now().as_second();
        Claims {
            aud: vec!["api".into()],
            exp: now + to,
            iat: now + from,
            nbf: now + from,
            iss: signer.issuer().into(),
            sub: "system:serviceaccount:default:a".into(),
            ..Claims::default()
        }
    }

    #[test]
    fn only_own_tokens_in_time_for_the_audience_count() {
        let new =
            || TokenSigner::new(&TokenSigner::generate_key().expect("a key"), "https://issuer").expect("a signer");
        let (ours, theirs) = (new(), new());
        let good = ours.sign(&claims(&ours, -10, 100)).expect("signed");
        assert!(ours.check(&good, &["api"]).is_some());
        assert!(ours.check(&good, &["other"]).is_none(), "audience");
        assert!(theirs.check(&good, &["api"]).is_none(), "key");
        assert!(ours.check(&good[..good.len() - 2], &["api"]).is_none(), "cut");
        let old = ours.sign(&claims(&ours, -100, -10)).expect("signed");
        assert!(ours.check(&old, &["api"]).is_none(), "expired");
        let early = ours.sign(&claims(&ours, 50, 100)).expect("signed");
        assert!(ours.check(&early, &["api"]).is_none(), "not yet");
        assert!(ours.check("", &["api"]).is_none());
    }
}
