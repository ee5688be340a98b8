//! Cards of agents: their URLs become the gateway's, byte for byte as they are besides.
//!
//! A card that says something else than its agent signed has no valid signature (RFC 7515), so the list of signatures is emptied:
//! a client that asks for them sees that there are none, and not one that does not hold.

use crate::address::Address;
use crate::json::{NotJson, Reader, Sink, Text};
use crate::limits::SLICE_BYTES;

/// Where a card is in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// It is the document.
    Nothing,
    /// It is the `result` of a JSON-RPC response.
    Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Response,
    Card,
    Interfaces,
    Interface,
    Signatures,
    Elsewhere,
}

/// What the value that comes next is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Card,
    Url,
    Interfaces,
    Signatures,
    Other,
}

/// The document with the gateway's URLs. Lets others have the thread between its parts.
///
/// # Errors
/// It is not JSON, or no object.
pub(crate) async fn rewritten(document: &[u8], around: Around, address: &Address) -> Result<Vec<u8>, NotJson> {
    let mut edits = Edits { around, address, all: Vec::new(), places: Vec::new(), next: Next::Other, signatures: 0 };
    let mut reader = Reader::default();
    for (i, slice) in document.chunks(SLICE_BYTES).enumerate() {
        if i > 0 {
            tokio::task::yield_now().await;
        }
        reader.read(slice, &mut edits)?;
    }
    reader.end(&mut edits)?;
    if document.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(NotJson::Unexpected(0));
    }
    let (mut out, mut from) = (Vec::with_capacity(document.len() + 64 * edits.all.len()), 0);
    for ((start, end), text) in edits.all {
        out.extend_from_slice(document.get(from..start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = end;
    }
    out.extend_from_slice(document.get(from..).unwrap_or_default());
    Ok(out)
}

struct Edits<'a> {
    around: Around,
    address: &'a Address,
    /// What stands in the place of what.
    all: Vec<((usize, usize), String)>,
    places: Vec<Place>,
    next: Next,
    /// Where the first signature is.
    signatures: usize,
}

impl Sink for Edits<'_> {
    fn open(&mut self, object: bool, start: usize) {
        let next = std::mem::replace(&mut self.next, Next::Other);
        let place = match (self.places.last(), next, object) {
            (None, _, true) if self.around == Around::Nothing => Place::Card,
            (None, _, true) => Place::Response,
            (Some(Place::Response), Next::Card, true) => Place::Card,
            (Some(Place::Card), Next::Interfaces, false) => Place::Interfaces,
            (Some(Place::Card), Next::Signatures, false) => {
                self.signatures = start + 1;
                Place::Signatures
            }
            (Some(Place::Interfaces), _, true) => Place::Interface,
            _ => Place::Elsewhere,
        };
        self.places.push(place);
    }

    fn close(&mut self, end: usize) {
        if self.places.pop() == Some(Place::Signatures) {
            self.all.push(((self.signatures, end - 1), String::new()));
        }
    }

    fn name(&mut self, name: Text<'_>) {
        let place = self.places.last().copied().unwrap_or(Place::Elsewhere);
        self.next = match (place, name) {
            (Place::Response, Text::Whole("result")) => Next::Card,
            (Place::Card | Place::Interface, Text::Whole("url")) => Next::Url,
            (
                Place::Card,
                Text::Whole(
                    "additionalInterfaces" | "additional_interfaces" | "supportedInterfaces" | "supported_interfaces",
                ),
            ) => Next::Interfaces,
            (Place::Card, Text::Whole("signatures")) => Next::Signatures,
            _ => Next::Other,
        };
    }

    fn text(&mut self, text: Text<'_>, span: (usize, usize)) {
        if std::mem::replace(&mut self.next, Next::Other) == Next::Url {
            // One that is too long leads to the gateway all the same.
            let url = if let Text::Whole(url) = text { url } else { "/" };
            self.all.push((span, serde_json::Value::from(self.address.map(url)).to_string()));
        }
    }

    fn literal(&mut self, _: &str) {
        self.next = Next::Other;
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_policy::RequestContext;

    use super::*;

    async fn rewritten(document: &str, around: Around) -> Result<String, NotJson> {
        let request =
            http::Request::get("/.well-known/agent-card.json").header("host", "gw:1").body(()).expect("a request");
        let context = RequestContext::new(([127, 0, 0, 1], 1).into(), "http", 80);
        let address = Address::of(&request.into_parts().0, &context, "");
        super::rewritten(document.as_bytes(), around, &address).await.map(|out| String::from_utf8(out).expect("text"))
    }

    #[tokio::test]
    async fn all_urls_of_interfaces_lead_to_the_gateway() {
        let older = r#"{ "url" : "http://a:1/x", "provider": {"url":"https://b"}, "additionalInterfaces": [
            {"transport":"GRPC","url":"a:2"}, {"url":"http:\/\/a:1\/y"}], "iconUrl": "http://a/i", "x": {"url":"u"} }"#;
        let expected = r#"{ "url" : "http://gw:1/x", "provider": {"url":"https://b"}, "additionalInterfaces": [
            {"transport":"GRPC","url":"gw:1"}, {"url":"http://gw:1/y"}], "iconUrl": "http://a/i", "x": {"url":"u"} }"#;
        assert_eq!(rewritten(older, Around::Nothing).await.as_deref(), Ok(expected));
        let newer = r#"{"supportedInterfaces":[{"url":"http://a:1","protocolBinding":"JSONRPC"}],"name":"é"}"#;
        let expected = newer.replace("http://a:1", "http://gw:1");
        assert_eq!(rewritten(newer, Around::Nothing).await, Ok(expected.clone()));
        let response = |card: &str| format!(r#"{{"jsonrpc":"2.0","id":{{"url":"no"}},"result":{card}}}"#);
        assert_eq!(rewritten(&response(newer), Around::Response).await, Ok(response(&expected)));
    }

    #[tokio::test]
    async fn signatures_go() {
        let signed = r#"{"signatures":[{"protected":"e","signature":"s","header":{"url":"x"}} , {}],"url":"http://a"}"#;
        assert_eq!(rewritten(signed, Around::Nothing).await.as_deref(), Ok(r#"{"signatures":[],"url":"http://gw:1"}"#));
        let empty = r#"{"signatures":[],"skills":[{"signatures":[1]}]}"#;
        assert_eq!(rewritten(empty, Around::Nothing).await.as_deref(), Ok(empty));
    }

    #[tokio::test]
    async fn what_is_no_card_is_refused() {
        for document in ["", "<html>", "[]", "\"a\"", "{\"url\":\"a\""] {
            assert!(rewritten(document, Around::Nothing).await.is_err(), "{document}");
        }
    }
}
