//! `subscriptions/listen`: what changes at the targets, for as long as the client listens.
//!
//! A target of the stateless protocol is listened to for each client. Those with a handshake tell it to the session that
//! the gateway holds there, whose news go to all who listen.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use agentgateway_upstream::Body;
use bytes::Bytes;
use futures::stream::{self, SelectAll, Stream, StreamExt};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::answer::Answer;
use crate::call::Call;
use crate::connect;
use crate::dispatch::{passed, patience};
use crate::exchange::{self, How, Raw};
use crate::jsonrpc::{self, Envelope};
use crate::limits::{KEEP_ALIVE, LISTENED_URIS, NEWS_QUEUE, NOTIFY, STREAM_RETRY};
use crate::link::Link;
use crate::modern::check::Refusal;
use crate::protocol::{Method, code, meta};
use crate::reply;
use crate::sse;
use crate::stream::{News, news};
use crate::target::Target;
use crate::view;

/// What a client wants to hear of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    tools: bool,
    prompts: bool,
    resources: bool,
    /// By the names that the client uses.
    uris: Vec<String>,
}

impl Wanted {
    fn read(params: &str) -> Result<Self, String> {
        let params: Value = serde_json::from_str(params).map_err(|e| e.to_string())?;
        let filter = params.get("notifications").filter(|f| f.is_object()).ok_or("\"notifications\" is missing")?;
        let flag = |name: &str| filter.get(name) == Some(&Value::Bool(true));
        let uris = match filter.get("resourceSubscriptions") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(all)) if all.len() <= LISTENED_URIS => all
                .iter()
                .map(|uri| uri.as_str().map(str::to_owned).ok_or("a resource subscription must be a string"))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(format!("\"resourceSubscriptions\" must be a list of at most {LISTENED_URIS} URIs")),
        };
        Ok(Self {
            tools: flag("toolsListChanged"),
            prompts: flag("promptsListChanged"),
            resources: flag("resourcesListChanged"),
            uris,
        })
    }

    fn filter(&self) -> Value {
        let mut out = Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                out.insert(name.into(), Value::Bool(true));
            }
        }
        if !self.uris.is_empty() {
            out.insert("resourceSubscriptions".into(), json!(self.uris));
        }
        Value::Object(out)
    }

    /// A target's news as this client gets it, or nothing when it did not ask for it.
    fn see(&self, text: &str, id: &Value) -> Option<String> {
        let envelope = Envelope::parse(text).ok()?;
        let mut params: Value = match envelope.params {
            Some(params) => serde_json::from_str(params).ok()?,
            None => json!({}),
        };
        let wanted = match Method::parse(envelope.method()) {
            Method::ToolsListChanged => self.tools,
            Method::PromptsListChanged => self.prompts,
            Method::ResourcesListChanged => self.resources,
            Method::ResourcesUpdated => {
                let uri = params.get("uri").and_then(Value::as_str)?;
                self.uris.iter().any(|wanted| wanted == uri)
            }
            _ => false,
        };
        if !wanted {
            return None;
        }
        let own = params.as_object_mut()?.entry("_meta").or_insert_with(|| json!({}));
        own.as_object_mut()?.insert(meta::SUBSCRIPTION.into(), id.clone());
        Some(json!({"jsonrpc": "2.0", "method": envelope.method(), "params": params}).to_string())
    }
}

type Texts = Pin<Box<dyn Stream<Item = String>>>;

/// Answers `subscriptions/listen` with a stream.
pub(crate) async fn open(call: Rc<Call>, envelope: &Envelope<'_>, id: &str) -> Response<Body> {
    let refuse =
        |why: &str| Refusal::new(code::INVALID_PARAMS, format!("Invalid params: {why}")).into_response(Some(id));
    let mut wanted = match Wanted::read(envelope.params.unwrap_or("{}")) {
        Ok(wanted) => wanted,
        Err(why) => return refuse(&why),
    };
    let Ok(id_value) = serde_json::from_str::<Value>(id) else { return refuse("the id is not JSON") };
    // What a caller may not read, it may not watch either.
    let naming = &call.backend.naming;
    wanted.uris.retain(|uri| {
        let found = naming.split_uri(uri).and_then(|(index, own)| Some((call.target(index)?, own)));
        found.is_some_and(|(target, own)| call.rules.allows_resource(target, own, ""))
    });
    if let Some(response) = pass(&call, &wanted, id).await {
        return response;
    }
    let mut all: SelectAll<Texts> = SelectAll::new();
    for target in &call.backend.targets {
        all.push(Box::pin(of_target(Rc::clone(&call), Arc::clone(target), wanted.clone(), id.to_owned())));
    }
    let news = all_news(&call);
    let federated = Rc::clone(&call);
    all.push(Box::pin(stream::unfold(news, move |mut news| {
        let call = Rc::clone(&federated);
        async move {
            loop {
                match news.recv().await {
                    Ok(one) => {
                        let text = match one.0.and_then(|index| call.target(index)) {
                            Some(target) => view::from_target(&call, target, one.1.clone()),
                            None => one.1.clone(),
                        };
                        return Some((text, news));
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }
    })));
    let acknowledged = json!({
        "jsonrpc": "2.0",
        "method": Method::Acknowledged.as_str(),
        "params": {"notifications": wanted.filter(), "_meta": {meta::SUBSCRIPTION: id_value}},
    });
    let first = stream::once(std::future::ready(sse::message(&acknowledged.to_string())));
    // The call is kept for as long as the client listens.
    let rest = all.filter_map(move |text| {
        let seen = wanted.see(&text, &id_value).map(|text| sse::message(&text));
        let _ = &call;
        std::future::ready(seen)
    });
    let alive = stream::unfold((), |()| async {
        tokio::time::sleep(KEEP_ALIVE).await;
        Some((Bytes::from_static(b": keep-alive\n\n"), ()))
    });
    reply::events(first.chain(stream::select(rest, alive)))
}

/// The stream of a single target that speaks the client's protocol, byte by byte.
async fn pass(call: &Rc<Call>, wanted: &Wanted, id: &str) -> Option<Response<Body>> {
    let target = call.target(0).filter(|_| !call.federated())?;
    let link = connect::link(call, target, patience(call, target)).await.ok()?;
    let Link::Http(http) = &link else { return None };
    if !http.version.is_modern() {
        return None;
    }
    match ask(call, target, wanted, id).await {
        Ok(Raw::Http(response)) if response.status() == StatusCode::OK => Some(passed(response)),
        _ => None,
    }
}

/// What a client with a session is told of a target's changes: lists always, and the resources that it subscribed to.
pub(crate) fn of_session(call: &Call, target: &Target) -> Wanted {
    let wishes = call.session.wishes.of(&target.name).into_iter();
    let subscribed = wishes.filter(|wish| wish.method == Method::ResourcesSubscribe);
    let uris =
        subscribed.filter_map(|wish| Some(jsonrpc::string(view::member(&wish.params, ["uri"])?).ok()?.into_owned()));
    Wanted { tools: true, prompts: true, resources: true, uris: uris.collect() }
}

/// Begins to listen to a target.
pub(crate) async fn ask(
    call: &Call,
    target: &Arc<Target>,
    wanted: &Wanted,
    id: &str,
) -> Result<Raw, crate::fault::Fault> {
    let params = format!(r#"{{"notifications":{},"_meta":{{{}}}}}"#, wanted.filter(), call.session.meta_members());
    let message = jsonrpc::request(id, Method::Listen.as_str(), &params);
    let how = How { method: Method::Listen, patience: patience(call, target), relays: true };
    exchange::request(call, target, &message, how).await
}

/// What one target says; ends only when the target has nothing to listen to.
fn of_target(call: Rc<Call>, target: Arc<Target>, wanted: Wanted, id: String) -> impl Stream<Item = String> {
    let naming = &call.backend.naming;
    let own = wanted.uris.iter().filter_map(|uri| naming.split_uri(uri));
    let uris = own.filter(|(index, _)| *index == target.index).map(|(_, own)| own.to_owned()).collect();
    let source = Source { call, target, wanted: Wanted { uris, ..wanted }, id, answer: None };
    stream::unfold(source, Source::step)
}

struct Source {
    call: Rc<Call>,
    target: Arc<Target>,
    wanted: Wanted,
    id: String,
    answer: Option<Answer>,
}

impl Source {
    async fn step(mut self) -> Option<(String, Self)> {
        let mut wait = STREAM_RETRY.0;
        loop {
            if let Some(answer) = &mut self.answer {
                match answer.next().await {
                    Ok(Some(message)) if message.text.is_empty() => continue,
                    Ok(Some(message)) => {
                        return Some((view::from_target(&self.call, &self.target, message.text), self));
                    }
                    Ok(None) | Err(_) => self.answer = None,
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(STREAM_RETRY.1);
            }
            let link = connect::link(&self.call, &self.target, patience(&self.call, &self.target)).await;
            match link {
                Ok(link) if !link.is_modern() => {
                    self.subscribe(&link).await;
                    // Its news come to the session.
                    return None;
                }
                Ok(Link::Http(_)) => match ask(&self.call, &self.target, &self.wanted, &self.id).await {
                    Ok(raw) => {
                        let limit = self.call.io.shared.limits.message_bytes;
                        self.answer = Some(raw.into_answer(&self.target, limit));
                        continue;
                    }
                    Err(why) => tracing::debug!(reason = why.reason(), "not listened to: {why}"),
                },
                Ok(_) => {
                    let id = self.call.session.next_id();
                    if let Ok(raw) = ask(&self.call, &self.target, &self.wanted, &id).await {
                        let limit = self.call.io.shared.limits.message_bytes;
                        self.answer = Some(raw.into_answer(&self.target, limit));
                        continue;
                    }
                }
                Err(why) => tracing::debug!(reason = why.reason(), "not listened to: {why}"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STREAM_RETRY.1);
        }
    }

    /// Subscribes the held session to what the client wants to watch.
    async fn subscribe(&self, link: &Link) {
        for uri in &self.wanted.uris {
            let id = self.call.session.next_id();
            let params = json!({"uri": uri}).to_string();
            let message = jsonrpc::request(&id, Method::ResourcesSubscribe.as_str(), &params);
            let asked = exchange::ask(&self.call.io, &self.target, link, &self.call.forwarded, &id, &message);
            match tokio::time::timeout(NOTIFY, asked).await {
                Ok(Ok(true)) => {
                    self.call.session.wishes.note(&self.target.name, Method::ResourcesSubscribe, &params);
                }
                _ => tracing::debug!(mcp_target = %self.target.name, "a resource cannot be watched"),
            }
        }
    }
}

/// What targets tell the held session; one task of a worker reads it for all who listen.
fn all_news(call: &Rc<Call>) -> broadcast::Receiver<Arc<News>> {
    let mut open = crate::lock(&call.session.news);
    if let Some(sender) = open.as_ref().filter(|sender| sender.receiver_count() > 0) {
        return sender.subscribe();
    }
    let (sender, receiver) = broadcast::channel(NEWS_QUEUE);
    *open = Some(sender.clone());
    drop(open);
    let call = Rc::clone(call);
    tokio::task::spawn_local(async move {
        let all = news(call);
        tokio::pin!(all);
        loop {
            let one = tokio::select! {
                one = all.next() => one,
                () = sender.closed() => return,
            };
            let Some(one) = one else { return };
            if sender.send(Arc::new(one)).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for() {
        let wanted =
            Wanted::read(r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://b"]}}"#).unwrap();
        let see = |text: &str| wanted.see(text, &json!(7)).map(|t| serde_json::from_str::<Value>(&t).unwrap());
        let tools = see(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).unwrap();
        assert_eq!(tools["params"]["_meta"][meta::SUBSCRIPTION], 7);
        assert!(see(r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#).is_none());
        let updated = |uri: &str| {
            see(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
            ))
        };
        assert_eq!(updated("a://b").unwrap()["params"]["uri"], "a://b");
        assert!(updated("a://c").is_none());
        assert!(Wanted::read("{}").is_err());
    }
}
