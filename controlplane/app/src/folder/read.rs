//! Reads the YAML documents of a folder, and says of each wrong one where and why.

use std::fmt;
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use agentgateway_controlplane_translate::{Object, ObjectKind, Secret, Unreadable};
use agentgateway_crds::{
    Backend, DirectResponse, GatewayExtension, GatewayParameters, InferencePool, TcpRoute, TrafficPolicy, UdpRoute,
};
use agentgateway_types::path::Path;
use agentgateway_types::strict;
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use gateway_api::apis::experimental::grpcroutes::GrpcRoute;
use gateway_api::apis::experimental::httproutes::HttpRoute;
use gateway_api::apis::experimental::listenersets::ListenerSet;
use gateway_api::apis::experimental::referencegrants::ReferenceGrant;
use gateway_api::apis::experimental::tlsroutes::TlsRoute;
use gateway_api::apis::standard::backendtlspolicies::BackendTlsPolicy;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::positions;

/// A larger file is refused: no user writes one.
const MAX_FILE_BYTES: u64 = 64 << 20;
const DEFAULT_NAMESPACE: &str = "default";

/// What a file holds.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its objects.
    pub(crate) objects: Vec<Value>,
    /// Those of them that do not fit their types, with the reason.
    pub(crate) misfits: Vec<(Value, String)>,
    /// What is wrong with it.
    pub(crate) problems: Vec<Problem>,
    /// Whether some of it could not be read at all, so that nobody knows what objects it should have held.
    pub(crate) incomplete: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    file: PathBuf,
    /// Place of the document in its file, from 1; 0 for the file as a whole.
    document: usize,
    line: usize,
    column: usize,
    field: String,
    reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.document > 0 {
            write!(f, ":{}:{}: document {}", self.line, self.column, self.document)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// All `*.yaml` and `*.yml` files of a folder, in the order of their names.
pub(crate) fn folder(folder: &FilePath) -> Result<Vec<File>, Problem> {
    let whole = |reason: String| Problem {
        file: folder.to_owned(),
        document: 0,
        line: 0,
        column: 0,
        field: String::new(),
        reason,
    };
    let entries = fs::read_dir(folder).map_err(|error| whole(error.to_string()))?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml") && path.is_file())
        .filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")))
        .collect();
    paths.sort();
    Ok(paths.into_iter().map(file).collect())
}

fn file(path: PathBuf) -> File {
    let content = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => Err(format!("it has more than {MAX_FILE_BYTES} bytes")),
        _ => fs::read_to_string(&path).map_err(|error| error.to_string()),
    };
    let mut file = File { path, objects: Vec::new(), misfits: Vec::new(), problems: Vec::new(), incomplete: false };
    match content {
        Ok(content) => {
            for (index, (line, document)) in documents(&content).into_iter().enumerate() {
                file.document(index + 1, line, document);
            }
        }
        Err(reason) => {
            file.incomplete = true;
            file.problem(0, (0, 0), &Path::root(), reason);
        }
    }
    file
}

/// The documents of a stream, each with the number of lines before it. A line that begins with "---" cannot be a part of any
/// node but one that no manifest has, so no parser is needed, and a wrong document does not hide those after it.
fn documents(content: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut first_line, mut at) = (0, 0, 0);
    for (number, line) in content.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push((first_line, &content[begin..at]));
            begin = at + line.len();
            first_line = number + 1;
        }
        at += line.len();
    }
    documents.push((first_line, &content[begin..]));
    documents
        .retain(|(_, text)| text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    documents
}

impl File {
    fn problem(&mut self, document: usize, (line, column): (usize, usize), path: &Path, reason: String) {
        let field = path.to_string();
        self.problems.push(Problem { file: self.path.clone(), document, line, column, field, reason });
    }

    fn document(&mut self, number: usize, lines_before: usize, text: &str) {
        let value: Value = match serde_norway::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                self.incomplete = true;
                // The message ends with the place within the document, which would confuse beside the one in the file.
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
                self.problem(number, (lines_before + line, column), &Path::root(), reason);
                return;
            }
        };
        if value.get("kind").and_then(Value::as_str) == Some("List") {
            let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            for (index, item) in items.into_iter().enumerate() {
                self.object(number, lines_before, text, Path::of("items").index(index), item);
            }
        } else {
            self.object(number, lines_before, text, Path::root(), value);
        }
    }

    fn object(&mut self, number: usize, lines_before: usize, text: &str, at: Path, mut value: Value) {
        let place = |path: &Path| {
            let (line, column) = positions::locate(text, path);
            (lines_before + line, column)
        };
        for required in ["/apiVersion", "/kind", "/metadata/name"] {
            if value.pointer(required).and_then(Value::as_str).is_none_or(str::is_empty) {
                let missing = at.clone().join(Path::of(&required.trim_start_matches('/').replace('/', ".")));
                self.problem(number, place(&missing), &missing, "it is required".to_owned());
                return;
            }
        }
        // Whatever the file says of its status is not true here; that of a Pod tells where it is, and whether it is ready.
        if value["kind"] != "Pod" {
            value.as_object_mut().map(|object| object.remove("status"));
        }
        let Some(object) = Object::read(value.clone()) else {
            tracing::debug!(file = %self.path.display(), document = number, "an object of a kind that is not used here");
            return;
        };
        if !object.kind().cluster_scoped()
            && value.pointer("/metadata/namespace").is_none()
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("namespace".to_owned(), json!(DEFAULT_NAMESPACE));
        }
        match check(object.kind(), &value) {
            Ok(()) => self.objects.push(value),
            Err((path, reason)) => {
                let path = at.join(path);
                self.problem(number, place(&path), &path, reason.clone());
                self.misfits.push((value, format!("{path}: {reason}")));
            }
        }
    }
}

/// As the API server would: an object of the wrong shape, or with a field that there is not, is refused.
fn check(kind: ObjectKind, value: &Value) -> Result<(), (Path, String)> {
    match kind {
        ObjectKind::GatewayClass => check_as::<GatewayClass>(value),
        ObjectKind::Gateway => check_as::<Gateway>(value),
        ObjectKind::HttpRoute => check_as::<HttpRoute>(value),
        ObjectKind::ListenerSet => check_as::<ListenerSet>(value),
        ObjectKind::GrpcRoute => check_as::<GrpcRoute>(value),
        ObjectKind::TlsRoute => check_as::<TlsRoute>(value),
        ObjectKind::TcpRoute => check_as::<TcpRoute>(value),
        ObjectKind::UdpRoute => check_as::<UdpRoute>(value),
        ObjectKind::BackendTlsPolicy => check_as::<BackendTlsPolicy>(value),
        ObjectKind::Secret => check_as::<Secret>(value),
        ObjectKind::ConfigMap => check_as::<ConfigMap>(value),
        ObjectKind::GatewayParameters => check_as::<GatewayParameters>(value),
        ObjectKind::InferencePool => check_as::<InferencePool>(value),
        ObjectKind::Pod => check_as::<Pod>(value),
        ObjectKind::ReferenceGrant => check_as::<ReferenceGrant>(value),
        ObjectKind::Service => check_as::<Service>(value),
        ObjectKind::EndpointSlice => check_as::<EndpointSlice>(value),
        ObjectKind::Namespace => check_as::<Namespace>(value),
        ObjectKind::Backend => check_as::<Backend>(value),
        ObjectKind::GatewayExtension => check_as::<GatewayExtension>(value),
        ObjectKind::DirectResponse => check_as::<DirectResponse>(value),
        ObjectKind::TrafficPolicy => check_as::<TrafficPolicy>(value),
    }
}

fn check_as<T: DeserializeOwned>(value: &Value) -> Result<(), (Path, String)> {
    let read = strict::read::<T, _>(value).map_err(|error| (error.path, error.reason))?;
    // These two are read by what finds the type.
    let types = [Path::of("apiVersion"), Path::of("kind")];
    match read.unknown.into_iter().find(|path| !types.contains(path)) {
        Some(path) => Err((path, "there is no such field".to_owned())),
        None => Ok(()),
    }
}

/// The object as the translator takes one that does not fit: a policy closes its targets, others get a condition.
pub(crate) fn misfit(value: Value, reason: String) -> Option<Object> {
    let object = Object::read(value.clone())?;
    let unreadable = Unreadable { kind: object.kind(), meta: object.meta().clone(), reason, raw: value };
    Some(Object::Unreadable(std::sync::Arc::new(unreadable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> File {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.yaml");
        fs::write(&path, content).expect("writes");
        let mut file = file(path);
        for problem in &mut file.problems {
            problem.file = "a.yaml".into();
        }
        file
    }

    fn problems(content: &str) -> Vec<String> {
        read(content).problems.iter().map(Problem::to_string).collect()
    }

    const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: c\n  listeners: [{name: h, port: 80, protocol: HTTP}]\n";

    #[test]
    fn a_wrong_document_is_named_and_the_others_are_read() {
        let content = format!("# first\n---\n{GATEWAY}---\na: [1\n---\n{GATEWAY}  wrong: 1\n--- \n{GATEWAY}");
        let file = read(&content);
        assert_eq!(file.objects.len(), 2);
        assert_eq!(file.misfits.len(), 1);
        assert!(file.incomplete);
        let problems: Vec<_> = file.problems.iter().map(Problem::to_string).collect();
        assert!(problems[0].starts_with("a.yaml:1"), "{problems:?}");
        assert!(problems[0].contains("document 2"), "{problems:?}");
        assert_eq!(problems[1], "a.yaml:18:3: document 3: spec.wrong: there is no such field");
    }

    #[test]
    fn wrong_types_and_missing_names_have_a_place() {
        let wrong = GATEWAY.replace("port: 80", "port: eighty");
        let problem = &problems(&wrong)[0];
        assert!(problem.starts_with("a.yaml:6:"), "{problem}");
        assert!(problem.contains("spec.listeners[0].port"), "{problem}");
        assert_eq!(
            problems("apiVersion: v1\nkind: Service\nmetadata: {}\n"),
            ["a.yaml:3:1: document 1: metadata.name: it is required"]
        );
    }

    #[test]
    fn namespaces_default_and_lists_are_unpacked() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n- {apiVersion: v1, kind: PersistentVolume, metadata: {name: p}}\n";
        let file = read(list);
        assert!(file.problems.is_empty());
        assert_eq!(file.objects.len(), 1);
        assert_eq!(file.objects[0]["metadata"]["namespace"], "default");
    }
}
