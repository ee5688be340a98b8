//! Files that load, files that do not, and what is said of them.

use proptest::prelude::*;

use super::*;

fn error(text: &str) -> String {
    parse("f.yaml", text).expect_err("has an error").to_string()
}

#[test]
fn errors_name_line_column_and_path() {
    assert_eq!(
        error("binds:\n- port: 1\n  listeners:\n  - routes:\n    - backends:\n      - weight: many\n"),
        "f.yaml:6:9: binds[0].listeners[0].routes[0].backends[0].weight: \
         invalid type: string \"many\", expected u32"
    );
    assert_eq!(error("binds:\n- port: 1\n- port: 1\n"), "f.yaml:3:3: binds[1].port: port 1 is there twice");
    assert_eq!(error("binds: [\n"), error("binds: [\n"));
    assert!(error("binds: [\n").starts_with("f.yaml:2:1: not YAML: "), "{}", error("binds: [\n"));
}

#[test]
fn unknown_fields_are_errors_that_list_what_is_known() {
    let text = error("binds:\n- port: 1\n  prot: 2\n");
    assert_eq!(text, "f.yaml:3:3: binds[0].prot: unknown field; known here: address, listeners, port");
    let deep = error("binds:\n- port: 1\n  listeners:\n  - routes:\n    - policies: {cors: {origins: []}}\n");
    assert!(deep.contains("cors.origins: unknown field; known here: ") && deep.contains("allowOrigins"), "{deep}");
}

#[test]
fn duplicate_keys_second_documents_and_empty_files_are_errors() {
    assert_eq!(error("binds: []\nbinds: []\n"), "f.yaml:2:1: key \"binds\" is there twice");
    assert!(error("binds: []\n---\nbinds: []\n").contains("a second document begins"));
    assert_eq!(error(""), "f.yaml:1:1: the file is empty");
}

#[test]
fn rules_that_do_not_compile_name_the_rule() {
    let text = "binds:\n- port: 1\n  listeners:\n  - routes:\n    - policies:\n        mcpAuthorization:\n          rules:\n          \
                - allow: 'mcp.tool.name =='\n";
    let error = error(text);
    assert!(error.starts_with("f.yaml:8:13: binds[0].listeners[0].routes[0].policies.mcpAuthorization.rules[0].allow: "), "{error}");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f")] {
        text += &format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(","));
    }
    let bomb = error(&text);
    assert!(bomb.contains("more than 1000000 values"), "{bomb}");
    let deep = error(&"[".repeat(100));
    assert!(deep.contains("levels deep"), "{deep}");
}

#[test]
fn key_files_may_be_jwk_jwks_or_pem_and_never_private() {
    let inline = |keys: &str| {
        let indented = keys.replace('\n', "\n              ");
        format!(
            "binds:\n- port: 1\n  listeners:\n  - routes:\n    - policies:\n        jwtAuth:\n          issuer: i\n          \
             jwks:\n            inline: |\n              {indented}\n      backends: [{{host: 'a:1'}}]\n"
        )
    };
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    for keys in [jwk.to_owned(), format!(r#"{{"keys":[{jwk}]}}"#), pem.to_owned()] {
        let loaded = parse("f", &inline(&keys)).expect("loads");
        let found = loaded.resources.iter().any(|r| format!("{r:?}").contains("Ed25519"));
        assert!(found, "{keys}");
    }
    let private = r#"{"kty":"OKP","crv":"Ed25519","x":"a","d":"secret-part"}"#;
    let refused = error(&inline(private));
    assert!(refused.contains("private or shared key") && !refused.contains("secret-part"), "{refused}");
}

#[test]
fn the_first_of_two_equal_routes_is_older() {
    let text = "binds:\n- port: 1\n  listeners:\n  - routes:\n    - {name: b, backends: [{host: 'a:1'}]}\n    - {name: a, backends: [{host: 'a:1'}]}\n";
    let loaded = parse("f", text).expect("loads");
    let routes: Vec<_> = loaded
        .resources
        .iter()
        .filter_map(|r| match r {
            Resource::Route(r) => Some((r.created, r.source.as_ref().map(|s| s.name.clone()))),
            _ => None,
        })
        .collect();
    assert_eq!(routes, [(0, Some("b".into())), (1, Some("a".into()))]);
}

proptest! {
    #[test]
    fn nothing_panics(text in "[ -~\n]{0,200}") {
        let _ = parse("f", &text);
    }

    #[test]
    fn nothing_that_looks_like_yaml_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "binds", ":", " ", "\n", "- ", "port", "[", "]", "{", "}", "&a ", "*a", "'", "\"", "? ", "|", "!!str ", "~", "1", "listeners", "routes",
        ]), 0..60)
    ) {
        let _ = parse("f", &words.concat());
    }
}
