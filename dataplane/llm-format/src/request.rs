//! A client's request: what policies ask of it and change in it, whatever API it is of.

mod edit;
mod head;
mod texts;

use bytes::Bytes;

pub use edit::Document;
use head::Head;
pub use texts::{Place, TextRef};

use crate::json::Json;
use crate::{Call, Dialect, Error, Framing, Operation};

/// Who speaks, for messages that are added to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A request as it came, or as policies left it. What it is asked for costs a look at the top level of the body; texts
/// and changes read it whole.
#[derive(Debug, Clone)]
pub struct Request {
    call: Call,
    body: Bytes,
    head: Head,
}

impl Request {
    /// Reads the body of a [`Operation::Generate`], [`Operation::CountTokens`] or [`Operation::Embeddings`].
    ///
    /// # Errors
    /// It is no JSON object, has a member twice, or one of the members that decide about it (model, stream, limits) has the
    /// wrong type.
    pub fn parse(call: Call, body: Bytes) -> Result<Request, Error> {
        let head = Head::read(&call, &body)?;
        Ok(Request { call, body, head })
    }

    /// What the client speaks.
    pub fn dialect(&self) -> Dialect {
        self.call.dialect
    }

    /// What it asks for.
    pub fn operation(&self) -> Operation {
        self.call.operation
    }

    /// The model as the client names it.
    pub fn model(&self) -> &str {
        &self.head.model
    }

    /// How the client wants the answer.
    pub fn framing(&self) -> Framing {
        self.head.framing
    }

    /// Whether the answer is to be a stream.
    pub fn streams(&self) -> bool {
        self.head.framing != Framing::Whole
    }

    /// The most tokens that each answer may have, where the request says so.
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.head.max_output_tokens
    }

    /// How many answers are asked for (`n`, `candidateCount`); mostly 1.
    pub fn choices(&self) -> u64 {
        self.head.choices
    }

    /// Whether the client of a stream wants to be told the usage; always so but with Chat Completions.
    pub fn wants_usage(&self) -> bool {
        self.head.wants_usage
    }

    /// The body as it is now.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn tree(&self) -> Result<Json<'_>, Error> {
        Json::parse(&self.body)
    }

    /// Shows every text of the prompt with its place, in order.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn texts(&self, mut see: impl FnMut(TextRef, &str)) -> Result<(), Error> {
        let mut tree = self.tree()?;
        texts::walk(self.call.dialect, self.call.operation, &mut tree, &mut |place, text| {
            see(place, text);
            None
        });
        Ok(())
    }

    /// Shows every text of the prompt, and puts what the function gives in its place. The body is written anew only when
    /// something changed. Tells whether it did.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn replace_texts(&mut self, mut with: impl FnMut(TextRef, &str) -> Option<String>) -> Result<bool, Error> {
        let mut tree = Json::parse(&self.body)?;
        let changed = texts::walk(self.call.dialect, self.call.operation, &mut tree, &mut with);
        if changed {
            let body = Bytes::from(crate::json::string(&tree));
            self.head = Head::read(&self.call, &body)?;
            self.body = body;
        }
        Ok(changed)
    }

    /// Changes the body: defaults, overrides, messages before and after the others. One read and one write for all that
    /// the function does.
    ///
    /// # Errors
    /// The body cannot be read, or what it has become is no request any more.
    pub fn edit<T>(&mut self, change: impl FnOnce(&mut Document<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut document = Document::new(self.call.dialect, Json::parse(&self.body)?);
        let result = change(&mut document)?;
        let body = Bytes::from(crate::json::string(document.tree()));
        self.head = Head::read(&self.call, &body)?;
        self.body = body;
        Ok(result)
    }

    /// How large the prompt is, for an estimate of its tokens before a provider has counted them.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn size(&self) -> Result<PromptSize, Error> {
        let mut size = PromptSize::default();
        self.texts(|_, text| {
            size.texts = size.texts.saturating_add(1);
            size.bytes = size.bytes.saturating_add(text.len());
            size.characters = size.characters.saturating_add(text.chars().count());
        })?;
        Ok(size)
    }
}

/// The texts of a prompt, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptSize {
    /// How many texts.
    pub texts: usize,
    /// Their bytes in UTF-8.
    pub bytes: usize,
    /// Their characters (Unicode scalar values).
    pub characters: usize,
}

impl PromptSize {
    /// Tokens, roughly: four bytes each, and four for each text's frame. For what must not be exceeded ask the model's
    /// tokenizer.
    pub fn tokens(&self) -> u64 {
        (self.bytes as u64).div_ceil(4).saturating_add((self.texts as u64).saturating_mul(4))
    }
}
