//! The body of an answer: one event for each token, each when its time has come.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

use crate::engine::{Engine, Running};
use crate::prompt::Prompt;

/// An answer as a stream of events.
pub(crate) struct Events {
    engine: Rc<Engine>,
    /// None when all tokens are made.
    running: Option<Running>,
    model: String,
    chat: bool,
    usage: Option<String>,
    left: usize,
    next: Pin<Box<Sleep>>,
    done: bool,
}

impl Events {
    /// After the prefill: the first token is there.
    pub(crate) fn new(engine: Rc<Engine>, running: Running, prompt: &Prompt) -> Events {
        Events {
            engine,
            model: running.model().to_owned(),
            chat: prompt.chat,
            usage: prompt.usage.then(|| usage(prompt, &running)),
            left: prompt.max_tokens,
            running: Some(running),
            next: Box::pin(tokio::time::sleep_until(Instant::now())),
            done: false,
        }
    }
}

/// `usage` of a finished answer.
pub(crate) fn usage(prompt: &Prompt, running: &Running) -> String {
    format!(
        r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}}}}"#,
        prompt.tokens,
        prompt.max_tokens,
        prompt.tokens + prompt.max_tokens,
        running.cached_tokens
    )
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(running) = &this.running else {
            if this.done {
                return Poll::Ready(None);
            }
            this.done = true;
            let mut last = String::new();
            if let Some(usage) = this.usage.take() {
                last = format!("data: {{\"model\":\"{}\",\"choices\":[],\"usage\":{usage}}}\n\n", this.model);
            }
            last.push_str("data: [DONE]\n\n");
            return Poll::Ready(Some(Ok(Frame::data(last.into()))));
        };
        ready!(this.next.as_mut().poll(cx));
        this.left -= 1;
        this.engine.counters.borrow_mut().generation_tokens += 1;
        let finish = if this.left == 0 { "\"stop\"" } else { "null" };
        let choice = if this.chat {
            format!(r#"{{"index":0,"delta":{{"content":"word "}},"finish_reason":{finish}}}"#)
        } else {
            format!(r#"{{"index":0,"text":"word ","finish_reason":{finish}}}"#)
        };
        let object = if this.chat { "chat.completion.chunk" } else { "text_completion" };
        let event = format!(
            "data: {{\"id\":\"x\",\"object\":\"{object}\",\"model\":\"{}\",\"choices\":[{choice}]}}\n\n",
            this.model
        );
        if this.left == 0 {
            this.running = None;
        } else {
            this.next.as_mut().reset(Instant::now() + running.step());
        }
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}
