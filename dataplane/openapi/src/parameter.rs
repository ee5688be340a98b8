//! Parameters of an operation, and how their values are written (OpenAPI 3.1 "Style Values", RFC 6570).

use http::header::{ACCEPT, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::document::BODY;
use crate::{CallError, NAME_BYTES, Operation, Request};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Headers that are not an argument's to set: they frame the message, or say whose it is.
const NOT_ARGUMENTS: [&str; 14] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where a parameter is in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Simple,
    Label,
    Matrix,
    Form,
    Space,
    Pipe,
    Deep,
    /// A value written as JSON.
    Json,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// Its name among the tool's arguments.
    pub(crate) argument: String,
    pub(crate) place: Place,
    pub(crate) is_required: bool,
    style: Style,
    explode: bool,
    keeps_reserved: bool,
}

impl Parameter {
    /// None for one that is not an argument.
    pub(crate) fn read(source: &Value) -> Result<Option<Self>, String> {
        let text = |name: &str| source.get(name).and_then(Value::as_str);
        let flag = |name: &str| source.get(name).and_then(Value::as_bool);
        let name = text("name").filter(|name| !name.is_empty()).ok_or("a parameter has no name")?;
        if name.len() > NAME_BYTES {
            return Err(format!("the name of a parameter has more than {NAME_BYTES} bytes"));
        }
        let wrong = |what: &str| format!("parameter {name:?}: {what}");
        let place = match text("in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            _ => return Err(wrong("\"in\" must be path, query, header or cookie")),
        };
        match place {
            Place::Header => {
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is no name of a header"))?;
                if NOT_ARGUMENTS.contains(&header.as_str()) {
                    return Ok(None);
                }
            }
            Place::Cookie if !name.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b)) => {
                return Err(wrong("is no name of a cookie"));
            }
            _ => {}
        }
        let style = match (source.get("content").is_some(), text("style"), place) {
            (true, ..) => Style::Json,
            (_, None | Some("simple"), Place::Path | Place::Header) => Style::Simple,
            (_, Some("label"), Place::Path) => Style::Label,
            (_, Some("matrix"), Place::Path) => Style::Matrix,
            (_, None | Some("form"), Place::Query | Place::Cookie) => Style::Form,
            (_, Some("spaceDelimited"), Place::Query) => Style::Space,
            (_, Some("pipeDelimited"), Place::Query) => Style::Pipe,
            (_, Some("deepObject"), Place::Query) => Style::Deep,
            _ => return Err(wrong("its \"style\" is not one that its place has")),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            argument: name.to_owned(),
            place,
            is_required: place == Place::Path || flag("required") == Some(true),
            style,
            explode: flag("explode").unwrap_or(style == Style::Form),
            keeps_reserved: place == Place::Query && flag("allowReserved") == Some(true),
        }))
    }

    fn encode(&self, text: &str) -> String {
        if self.place == Place::Header {
            return text.to_owned();
        }
        if !self.keeps_reserved {
            return utf8_percent_encode(text, RESERVED).to_string();
        }
        // What divides a query stays encoded, or one value could add another.
        const KEPT: &AsciiSet = &RESERVED
            .remove(b':')
            .remove(b'/')
            .remove(b'?')
            .remove(b'[')
            .remove(b']')
            .remove(b'@')
            .remove(b'!')
            .remove(b'$')
            .remove(b'\'')
            .remove(b'(')
            .remove(b')')
            .remove(b'*')
            .remove(b',')
            .remove(b';');
        utf8_percent_encode(text, KEPT).to_string()
    }

    fn scalar(&self, value: &Value) -> Result<String, &'static str> {
        match value {
            Value::String(text) => Ok(self.encode(text)),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            Value::Null => Ok(String::new()),
            _ => Err("has lists or objects inside of one another, which cannot be written here"),
        }
    }

    /// Items of a list, or members of an object as their names and values in turn, or as `name=value`.
    fn items(&self, value: &Value) -> Result<Vec<String>, &'static str> {
        match value {
            Value::Array(items) => items.iter().map(|item| self.scalar(item)).collect(),
            Value::Object(members) => {
                let mut all = Vec::new();
                for (name, value) in members {
                    let (name, value) = (self.encode(name), self.scalar(value)?);
                    if self.explode {
                        all.push(format!("{name}={value}"));
                    } else {
                        all.extend([name, value]);
                    }
                }
                Ok(all)
            }
            other => Ok(vec![self.scalar(other)?]),
        }
    }

    /// As it stands in a path or header.
    fn text(&self, value: &Value) -> Result<String, &'static str> {
        let name = self.encode(&self.name);
        Ok(match self.style {
            Style::Json => self.encode(&value.to_string()),
            Style::Label => {
                let between = if self.explode { "." } else { "," };
                format!(".{}", self.items(value)?.join(between))
            }
            Style::Matrix => match value {
                Value::Object(_) if self.explode => format!(";{}", self.items(value)?.join(";")),
                Value::Array(_) if self.explode => {
                    self.items(value)?.iter().map(|item| format!(";{name}={item}")).collect()
                }
                _ => format!(";{name}={}", self.items(value)?.join(",")),
            },
            _ => self.items(value)?.join(","),
        })
    }

    /// As names and values of a query, or of cookies.
    fn pairs(&self, value: &Value) -> Result<Vec<String>, &'static str> {
        let name = self.encode(&self.name);
        Ok(match (self.style, value) {
            (Style::Json, _) => vec![format!("{name}={}", self.encode(&value.to_string()))],
            (Style::Deep, Value::Object(members)) => members
                .iter()
                .map(|(member, value)| Ok(format!("{name}%5B{}%5D={}", self.encode(member), self.scalar(value)?)))
                .collect::<Result<_, &'static str>>()?,
            (Style::Deep, _) => return Err("must be an object"),
            (_, Value::Object(_)) if self.explode => self.items(value)?,
            (_, Value::Array(items)) if self.explode => items
                .iter()
                .map(|item| Ok(format!("{name}={}", self.scalar(item)?)))
                .collect::<Result<_, &'static str>>()?,
            (style, _) => {
                let between = match style {
                    Style::Space => "%20",
                    Style::Pipe => "%7C",
                    _ => ",",
                };
                vec![format!("{name}={}", self.items(value)?.join(between))]
            }
        })
    }
}

impl Operation {
    pub(crate) fn request(&self, base: &str, arguments: &Map<String, Value>) -> Result<Request, CallError> {
        let is_known =
            |name: &str| (self.body.is_some() && name == BODY) || self.parameters.iter().any(|p| p.argument == name);
        if let Some(unknown) = arguments.keys().find(|name| !is_known(name)) {
            return Err(CallError::Argument(unknown.clone(), "is not one of this tool"));
        }
        let mut path = self.path.clone();
        let mut pairs = Vec::new();
        let mut cookies = Vec::new();
        let mut headers = HeaderMap::new();
        for parameter in &self.parameters {
            let wrong = |why| CallError::Argument(parameter.argument.clone(), why);
            let Some(value) = arguments.get(&parameter.argument).filter(|value| !value.is_null()) else {
                if parameter.is_required {
                    return Err(wrong("is missing"));
                }
                continue;
            };
            match parameter.place {
                Place::Path => {
                    let text = parameter.text(value).map_err(wrong)?;
                    if text.is_empty() {
                        return Err(wrong("must not be empty"));
                    }
                    path = path.replace(&format!("{{{}}}", parameter.name), &text);
                }
                Place::Query => pairs.extend(parameter.pairs(value).map_err(wrong)?),
                Place::Cookie => cookies.extend(parameter.pairs(value).map_err(wrong)?),
                Place::Header => {
                    let text = parameter.text(value).map_err(wrong)?;
                    let name = HeaderName::from_bytes(parameter.name.as_bytes()).map_err(|_| wrong("is no header"))?;
                    let value = HeaderValue::from_str(&text).map_err(|_| wrong("has characters that no header has"))?;
                    headers.insert(name, value);
                }
            }
        }
        // Servers take such segments for a way up, out of the path that the document has.
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            let of_path = self.parameters.iter().find(|p| p.place == Place::Path);
            let name = of_path.map(|p| p.argument.clone()).unwrap_or_default();
            return Err(CallError::Argument(name, "must not be \".\" or \"..\""));
        }
        if !cookies.is_empty() {
            let wrong = |_| CallError::Argument("cookie".into(), "has characters that no header has");
            headers.insert(COOKIE, HeaderValue::from_str(&cookies.join("; ")).map_err(wrong)?);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        let body = match (&self.body, arguments.get(BODY)) {
            (Some(body), Some(value)) => {
                if let Ok(kind) = HeaderValue::from_str(&body.content_type) {
                    headers.insert(CONTENT_TYPE, kind);
                }
                value.to_string().into()
            }
            (Some(body), None) if body.is_required => return Err(CallError::Argument(BODY.into(), "is missing")),
            _ => bytes::Bytes::new(),
        };
        let mut target = format!("{base}{path}");
        if !pairs.is_empty() {
            target.push('?');
            target.push_str(&pairs.join("&"));
        }
        Ok(Request { method: self.method.clone(), target, headers, body })
    }
}
