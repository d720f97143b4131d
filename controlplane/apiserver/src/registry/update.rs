//! Replacing an object or a part of it.

use super::replace::Part;
use super::{Call, Outcome, Registry};
use coracle_proto::{ApiError, Tree, meta};

impl Registry {
    pub async fn update(&self, call: &Call<'_>, new: Tree) -> Result<Outcome, ApiError> {
        self.authorise(call, "update")?;
        let part = match call.subresource {
            "" => Part::Main,
            "status" if call.subresource_exists("update") => Part::Status,
            "scale" if call.subresource_exists("update") => {
                return Ok(Outcome { object: self.put_scale(call, &new).await?, created: false });
            }
            "finalize" if call.subresource_exists("update") => {
                return Ok(Outcome { object: self.finalize(call, &new).await?, created: false });
            }
            _ => return Err(call.not_found()),
        };
        match self.replace(call, part, |_| Ok(new.clone())).await {
            Err(error) if error.is_not_found() && part == Part::Main && call.kind.facts().create_on_update => {
                self.create_by_update(call, new).await
            }
            other => other.map(|object| Outcome { object, created: false }),
        }
    }

    async fn create_by_update(&self, call: &Call<'_>, new: Tree) -> Result<Outcome, ApiError> {
        self.authorise(call, "create")?;
        // A replacement of something that was there once is not meant to bring it back.
        if !meta::uid(&new).is_empty() {
            let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: ", meta::uid(&new));
            return Err(ApiError::conflict(call.resource(), &call.key.name, why));
        }
        let name = meta::name(&new);
        if !name.is_empty() && name != call.key.name {
            let why = format!("the name of the object ({name}) does not match the name on the URL ({})", call.key.name);
            return Err(ApiError::bad_request(why));
        }
        let object = self.create_authorised(call, new).await?;
        Ok(Outcome { object, created: true })
    }
}
