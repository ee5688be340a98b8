//! Sessions that the gateway holds at targets for clients that have none.
//!
//! Callers share one when nothing tells them apart: the same backend, the same verified identity, the same credentials
//! for targets, and the same name and capabilities of the client. Whoever must be kept apart must be authenticated.

use std::rc::Rc;
use std::sync::Arc;

use crate::call::Call;
use crate::downstream::Admitted;
use crate::modern::check::{Meta, Refusal};
use crate::protocol::code;
use crate::session::{Session, client_of};

const NOBODY: &str = r#"{"name":"agentgateway","version":"1"}"#;

/// The call of a request without a session.
pub(crate) fn enter(admitted: Admitted, meta: &Meta<'_>) -> Result<Rc<Call>, Refusal> {
    let Admitted { io, backend, identity, forwarded, rules, .. } = admitted;
    let client = meta.client.unwrap_or(NOBODY);
    let mut hasher = blake3::Hasher::new_derive_key("agentgateway mcp held session v1");
    let credentials = forwarded.credentials().map_or(&b""[..], |value| value.as_bytes());
    for part in [backend.key.as_bytes(), &identity.0, meta.capabilities.as_bytes(), client.as_bytes(), credentials] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(hasher.finalize().as_bytes().get(..16).unwrap_or(&[0; 16]));
    let table = &io.shared.table;
    let session = match table.get(&id).filter(|session| !session.has_ended()) {
        Some(session) => session,
        None => {
            let params = format!(r#"{{"capabilities":{},"clientInfo":{client}}}"#, meta.capabilities);
            let client = client_of(&params)
                .map_err(|e| Refusal::new(code::INVALID_PARAMS, format!("Invalid params: _meta: {e}")))?;
            let session = Arc::new(Session::held(id, Arc::clone(&backend.key), client));
            let session = table.insert(session).ok_or_else(|| {
                Refusal::new(code::INTERNAL, "the gateway has as many sessions as it may have; try again later")
            })?;
            io.shared.count_sessions();
            session
        }
    };
    session.retain(&backend.targets);
    Ok(Rc::new(Call::new(io, backend, session, forwarded, rules)))
}
