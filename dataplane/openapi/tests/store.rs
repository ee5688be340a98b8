//! A document with what documents have, its tools as a golden file, and what calls of them become.
#![allow(clippy::unwrap_used, reason = "tests")]

use agentgateway_openapi::{Api, CallError, DOCUMENT_BYTES, TOOLS};
use serde_json::{Value, json};

const STORE: &str = include_str!("../testdata/store.json");

fn store() -> Api {
    Api::parse(STORE, None).unwrap()
}

#[test]
fn tools() {
    let api = store();
    insta::assert_yaml_snapshot!(api.tools().collect::<Vec<_>>());
    assert_eq!((api.title(), api.version(), api.description()), ("Store", "1.2.0", Some("Pets for sale.")));
    assert_eq!(api.skipped(), ["/paths/~1upload/post: its body is not JSON"]);
}

/// Method, path with query, headers and body of a call.
fn sent(tool: &str, arguments: Value) -> Result<String, String> {
    let arguments = arguments.as_object().unwrap();
    let request = store().request(tool, arguments).map_err(|e| e.to_string())?;
    let mut text = format!("{} {}", request.method, request.target);
    for (name, value) in &request.headers {
        if name != "accept" {
            text.push_str(&format!("\n{name}: {}", value.to_str().unwrap()));
        }
    }
    if !request.body.is_empty() {
        text.push_str(&format!("\n{}", std::str::from_utf8(&request.body).unwrap()));
    }
    Ok(text)
}

#[test]
fn parameters_are_written_as_their_style_says() {
    let to = |arguments| sent("listPets", arguments).unwrap();
    assert_eq!(to(json!({})), "GET /live/v1/pets");
    assert_eq!(to(json!({"limit": 5, "tags": ["a b", "c&d"]})), "GET /live/v1/pets?limit=5&tags=a%20b&tags=c%26d");
    assert_eq!(to(json!({"ids": [1, 2]})), "GET /live/v1/pets?ids=1%7C2");
    assert_eq!(to(json!({"words": ["a", "b"]})), "GET /live/v1/pets?words=a%20b");
    assert_eq!(to(json!({"codes": ["a", "b,c"]})), "GET /live/v1/pets?codes=a,b%2Cc");
    assert_eq!(to(json!({"filter": {"a": "x&y"}})), "GET /live/v1/pets?filter%5Ba%5D=x%26y");
    assert_eq!(to(json!({"where": {"a": 1}})), "GET /live/v1/pets?where=%7B%22a%22%3A1%7D");
    assert_eq!(to(json!({"back": "https://a/b?c=d&e#f"})), "GET /live/v1/pets?back=https://a/b?c%3Dd%26e%23f");
    assert_eq!(to(json!({"session": "a;b", "X-Trace": "t"})), "GET /live/v1/pets\nx-trace: t\ncookie: session=a%3Bb");
    assert_eq!(to(json!({"limit": null})), "GET /live/v1/pets");
    let shapes = json!({"label": ["a", "b"], "matrix": {"x": 1}, "plain": {"y": 2}, "X-List": ["c", "d"]});
    assert_eq!(sent("shapes", shapes).unwrap(), "GET /live/v1/shapes/.a.b/;matrix=x,1/y,2\nx-list: c,d");
}

#[test]
fn bodies_and_arguments_of_one_name() {
    let body = json!({"body": {"name": "Rex"}});
    assert_eq!(
        sent("create_pet", body).unwrap(),
        "POST /live/v1/pets\ncontent-type: application/json\n{\"name\":\"Rex\"}"
    );
    let put = json!({"path_id": "7", "query_id": true, "query_body": "x", "body": 1});
    assert_eq!(
        sent("replacePet", put).unwrap(),
        "PUT /live/v1/pets/7?id=true&body=x\ncontent-type: application/json\n1"
    );
    assert_eq!(sent("create_pet", json!({})).unwrap_err(), "argument \"body\": is missing");
}

#[test]
fn what_no_call_may_say() {
    let get = |id: Value| sent("get_pets__id", json!({"id": id}));
    assert_eq!(get(json!("a/../b?c#d%2e")).unwrap(), "GET /live/v1/pets/a%2F..%2Fb%3Fc%23d%252e");
    for id in ["..", "."] {
        assert!(get(json!(id)).unwrap_err().contains("must not be \".\" or \"..\""));
    }
    assert!(get(json!("")).unwrap_err().contains("must not be empty"));
    assert!(get(json!({"a": [1]})).unwrap_err().contains("inside of one another"));
    assert!(sent("get_pets__id", json!({})).unwrap_err().contains("is missing"));
    let injected = sent("listPets", json!({"X-Trace": "a\r\nhost: b"}));
    assert!(injected.unwrap_err().contains("no header has"));
    // What frames a message or says whose it is, is no argument.
    assert!(sent("listPets", json!({"Authorization": "x"})).unwrap_err().contains("is not one of this tool"));
    assert_eq!(store().request("nobody", &Default::default()).unwrap_err(), CallError::UnknownTool("nobody".into()));
}

#[test]
fn documents_that_cannot_be_used() {
    let error = |document: Value| Api::parse(&document.to_string(), None).unwrap_err().to_string();
    assert!(error(json!({"swagger": "2.0"})).contains("not OpenAPI 3.0 or 3.1"));
    assert!(error(json!({"openapi": "3.1.0", "paths": {}})).contains("no operation"));
    let path = |path: &str, item: Value| error(json!({"openapi": "3.1.0", "paths": {path: item}}));
    assert_eq!(path("/a/{b}", json!({"get": {}})), "/paths/~1a~1{b}/get: {b} in the path is no parameter");
    let outside = json!({"get": {"parameters": [{"$ref": "https://elsewhere/a.json"}]}});
    assert!(path("/a", outside).contains("is not in this document"));
    let many: serde_json::Map<String, Value> = (0..=TOOLS).map(|n| (format!("/{n}"), json!({"get": {}}))).collect();
    assert!(error(json!({"openapi": "3.1.0", "paths": many})).contains("more than 500"));
    assert!(Api::parse(&" ".repeat(DOCUMENT_BYTES + 1), None).unwrap_err().to_string().contains("at most"));
    assert!(Api::parse("openapi: 3.1.0", None).unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn a_path_of_ones_own() {
    let api = Api::parse(STORE, Some("/internal/")).unwrap();
    assert_eq!(api.request("listPets", &Default::default()).unwrap().target, "/internal/pets");
}
