//! Files, from text to resources and messages.

mod streams;

use std::fs;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::v1;
use proptest::prelude::*;

use super::*;

const MULTIPLEX: &str = "\
binds:
- port: 3000
  listeners:
  - routes:
    - backends:
      - mcp:
          targets:
          - name: time
            stdio:
              cmd: uvx
              args: [\"mcp-server-time\"]
          - name: everything
            stdio:
              cmd: npx
              args: [\"@modelcontextprotocol/server-everything\"]
          - name: github
            mcp:
              host: github-mcp-server.mcp.svc.cluster.local
              path: /mcp
              port: 3000
";

const AUTHORIZATION: &str = "\
binds:
- port: 3000
  listeners:
  - routes:
    - policies:
        mcpAuthorization:
          rules:
          - allow: 'mcp.tool.name in [\"search_code\", \"everything_echo\", \"time_get_current_time\"]'
";

const JWT: &str = "\
binds:
- port: 3000
  listeners:
  - routes:
    - policies:
        backendAuth:
          passthrough: {}
        jwtAuth:
          issuer: agentgateway.dev
          audiences: [test.agentgateway.dev]
          jwks:
            # relative to the folder the binary runs from, not to the config file
            file: ./manifests/jwt/pub-key
";

fn nowhere() -> Environment {
    Environment::of(Path::new("/nonexistent"), &[("TOKEN", "secret")])
}

fn loaded(text: &str) -> Loaded {
    parse(text.as_bytes(), "f", &nowhere()).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

fn refused(text: &str) -> String {
    parse(text.as_bytes(), "f", &nowhere()).map(|_| ()).expect_err(text).to_string()
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).warnings.iter().map(ToString::to_string).collect()
}

fn keys(loaded: &Loaded, kind: Kind) -> Vec<&str> {
    loaded.resources.iter().filter(|r| r.kind() == kind).map(Resource::key).collect()
}

fn routes(loaded: &Loaded) -> Vec<&v1::Route> {
    let mut routes = Vec::new();
    for resource in &loaded.resources {
        if let Resource::Route(route) = resource {
            routes.push(route);
        }
    }
    routes
}

#[test]
fn the_multiplexing_example_becomes_one_mcp_backend() {
    let loaded = loaded(MULTIPLEX);
    assert_eq!(loaded.warnings, []);
    assert_eq!(keys(&loaded, Kind::Bind), ["tcp/0.0.0.0/3000/default/default"]);
    assert_eq!(keys(&loaded, Kind::Listener), ["File/default/default/listener0"]);
    assert_eq!(keys(&loaded, Kind::Route), ["Route/default/route0/0/0/File/default/default/listener0"]);
    assert_eq!(keys(&loaded, Kind::Backend), ["Backend/default/route0.0.0", "Backend/default/route0.0.0/github"]);
    assert_eq!(routes(&loaded)[0].backends[0].backend_key, "Backend/default/route0.0.0");
    assert_eq!(loaded.resources.last().map(Resource::kind), Some(Kind::Generation));
    let ranks: Vec<_> = loaded.resources.iter().map(Resource::kind).collect();
    let mut sorted = ranks.clone();
    sorted.sort_by_key(|k| Kind::PUSH_ORDER.iter().position(|p| p == k));
    assert_eq!(ranks, sorted);
}

#[test]
fn the_authorization_example_loads_with_a_warning() {
    assert_eq!(
        warnings(AUTHORIZATION),
        ["f:5:7: binds[0].listeners[0].routes[0]: route0 has no backends: requests get 500"]
    );
    let loaded = loaded(AUTHORIZATION);
    let Some(v1::policy_spec::Kind::McpAuthorization(rules)) = &routes(&loaded)[0].inline_policies[0].kind else {
        panic!("no rules")
    };
    assert_eq!(rules.allow.len(), 1);
}

#[test]
fn the_jwt_example_loads_with_its_key_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("manifests/jwt/pub-key");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    let environment = Environment::of(folder.path(), &[]);
    let of_all_kinds = concat!(
        include_str!("../../../crds/convert/testdata/rsa.pub.pem"),
        include_str!("../../../crds/convert/testdata/ec-p256.pub.pem"),
        include_str!("../../../crds/convert/testdata/ec-p384.pub.pem"),
        include_str!("../../../crds/convert/testdata/ed25519.pub.pem"),
    );
    for key in
        [of_all_kinds, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"}"]
    {
        fs::write(&file, key).expect("written");
        let loaded = parse(JWT.as_bytes(), "f", &environment).expect("loads");
        assert_eq!(loaded.files, std::slice::from_ref(&file));
        let kinds: Vec<_> =
            routes(&loaded)[0].inline_policies.iter().map(|p| p.kind.as_ref().expect("a kind")).collect();
        let [v1::policy_spec::Kind::Jwt(jwt), v1::policy_spec::Kind::BackendAuth(_)] = kinds[..] else {
            panic!("{kinds:?}")
        };
        assert!(jwt.providers[0].jwks.starts_with("{\"keys\":["));
        assert_eq!(jwt.mode(), v1::AuthenticationMode::Strict);
    }
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----").expect("written");
    let error = parse(JWT.as_bytes(), "f", &environment).map(|_| ()).expect_err("a private key").to_string();
    assert!(error.starts_with("f:13:19: binds[0].listeners[0].routes[0].policies.jwtAuth.jwks.file: "), "{error}");
    assert!(error.ends_with("holds a private key; put only the public key there (openssl pkey -pubout)"), "{error}");
}

#[test]
fn wrong_files_are_refused_with_file_line_column_and_field() {
    let route = |inside: &str| format!("binds:\n- port: 3000\n  listeners:\n  - routes:\n    - {inside}\n");
    let backend = |inside: &str| route(&format!("backends:\n      - {inside}"));
    let at = "binds[0].listeners[0].routes[0]";
    let mut differences = String::new();
    for (text, message) in [
        ("a: [1\n".to_owned(), "f:2:1: not YAML: while parsing a flow sequence, expected ',' or ']'".to_owned()),
        ("binds: 1\nbinds: 2\n".into(), "f:2:1: \"binds\" is already set in line 1".into()),
        ("bnds: []\n".into(), "f:1:1: bnds: unknown field; did you mean \"binds\"?".into()),
        ("- a\n".into(), "f:1:1: must be fields and their values, not a list".into()),
        ("text\n".into(), "f:1:1: must be fields and their values, not \"text\"".into()),
        ("binds:\n- prot: 3000\n  port: 1\n".into(), "f:2:3: binds[0].prot: unknown field; did you mean \"port\"?".into()),
        ("binds:\n- listeners: []\n".into(), "f:2:3: binds[0]: port must be set".into()),
        ("binds:\n- port: http\n".into(), "f:2:9: binds[0].port: must be a number from 0 to 65535, not \"http\"".into()),
        ("binds:\n- port: 0\n".into(), "f:2:9: binds[0].port: a port is a number from 1 to 65535".into()),
        ("binds:\n- port: 15000\n".into(), "f:2:9: binds[0].port: port 15000 is the proxy's own (admin, metrics or readiness)".into()),
        ("binds:\n- port: 80\n- port: 80\n".into(), "f:3:9: binds[1].port: port 80 is already bound in line 2".into()),
        ("binds:\n- {port: 80, address: 10.0.0.1}\n- port: 80\n".into(), "f:3:9: binds[1].port: port 80 is already bound in line 2".into()),
        ("binds:\n- {port: 80, address: localhost}\n".into(), "f:2:23: binds[0].address: \"localhost\" is not an IP address".into()),
        ("config: {adminAddr: '15000'}\n".into(), "f:1:21: config.adminAddr: \"15000\" is not an address and a port such as 127.0.0.1:15000".into()),
        ("config: {adminAddr: '127.0.0.1:9000'}\nbinds:\n- port: 9000\n".into(), "f:3:9: binds[0].port: port 9000 is the proxy's own (admin, metrics or readiness)".into()),
        ("config: {logging: {format: xml}}\n".into(), "f:1:28: config.logging.format: \"xml\" is not one of text, json".into()),
        ("config: {accessLog: 'yes'}\n".into(), "f:1:21: config.accessLog: must be true or false, not \"yes\"".into()),
        ("binds:\n- port: 1\n  listeners:\n  - {}\n  - {}\n".into(), "f:5:5: binds[0].listeners[1]: every host on this port already has the listener in line 4".into()),
        ("binds:\n- port: 1\n  listeners:\n  - {name: a, hostname: a.b}\n  - {name: a, hostname: a.c}\n".into(), "f:5:12: binds[0].listeners[1].name: a listener \"a\" is already defined in line 4".into()),
        ("binds:\n- port: 1\n  listeners:\n  - {hostname: 'a.*'}\n".into(), "f:4:16: binds[0].listeners[0].hostname: \"a.*\" is not a host name such as example.com or *.example.com".into()),
        ("binds:\n- port: 1\n  listeners:\n  - routes:\n    - name: a\n    - name: a\n".into(), "f:6:13: binds[0].listeners[0].routes[1].name: a route \"a\" is already defined in line 5; routes that share a name need each a ruleName".into()),
        (route("name: a/b"), format!("f:5:13: {at}.name: \"a/b\" is not a name: letters, digits, '-', '_' and '.'")),
        (route("matches: [{path: {exact: /a, pathPrefix: /b}}]"), format!("f:5:24: {at}.matches[0].path: exactly one of exact, pathPrefix and regex must be set")),
        (route("matches: [{path: {regex: '(a'}}]"), format!("f:5:32: {at}.matches[0].path.regex: \"(a\" is not a regular expression: error: unclosed group")),
        (route("matches: [{headers: [{name: a, regex: 'x{1000}{50}'}]}]"), format!("f:5:17: {at}.matches[0]: a: regular expression \"x{{1000}}{{50}}\": Compiled regex exceeds size limit of 262144 bytes.")),
        (backend("weight: 1"), format!("f:6:9: {at}.backends[0]: exactly one of host, static, mcp, a2a, ai and inference must be set")),
        (backend("host: localhost"), format!("f:6:15: {at}.backends[0].host: \"localhost\" is not a host and a port such as example.com:8080")),
        (backend("host: example.com:15000"), format!("f:6:15: {at}.backends[0].host: port 15000 is the proxy's own; a backend on it would publish the proxy's internals")),
        (backend("mcp: {targets: [{name: a}]}"), format!("f:6:25: {at}.backends[0].mcp.targets[0]: exactly one of stdio, mcp, sse and openapi must be set")),
        (backend("mcp: {targets: [{name: a, openapi: {host: h, port: 1, schema: {}}}]}"), format!("f:6:71: {at}.backends[0].mcp.targets[0].openapi.schema: exactly one of file and inline must be set")),
        (backend("mcp: {targets: [{name: a, openapi: {host: h, port: 1, schema: {file: absent.json}}}]}"), format!("f:6:71: {at}.backends[0].mcp.targets[0].openapi.schema: /nonexistent/absent.json cannot be read: No such file or directory (os error 2)")),
        (backend("mcp: {targets: [{name: a, openapi: {host: h, port: 1, schema: {inline: '{}'}}}]}"), format!("f:6:71: {at}.backends[0].mcp.targets[0].openapi.schema: the document is not OpenAPI 3.0 or 3.1: it has no member \"openapi\"")),
        (backend("mcp: {targets: [{name: a, mcp: {host: h, port: 1}, timeouts: {requestTimeout: 0s}}]}"), format!("f:6:87: {at}.backends[0].mcp.targets[0].timeouts.requestTimeout: must be more than 0")),
        (backend("mcp: {targets: [{name: a, mcp: {host: h, port: 15000}}]}"), format!("f:6:40: {at}.backends[0].mcp.targets[0].mcp: port 15000 is the proxy's own; a backend on it would publish the proxy's internals")),
        (backend("mcp: {targets: [{name: a, stdio: {cmd: x, env: {A: $NONE}}}]}"), format!("f:6:60: {at}.backends[0].mcp.targets[0].stdio.env.A: the environment variable NONE is not set; write $$ for a dollar sign")),
        (route("policies: {authorization: {rules: [{allow: 'requst.path == 1'}]}}"), format!("f:5:50: {at}.policies.authorization.rules[0].allow: unknown variable \"requst\" at column 1; known are a2a, apiKey, basicAuth, jwt, mcp, metadata, request and source, in \"requst.path == 1\"")),
        (route("policies: {authorization: {rules: [{allow: 'mcp.tool.name == \"a\"'}]}}"), format!("f:5:50: {at}.policies.authorization.rules[0].allow: mcp is known in mcpAuthorization only")),
        (route("policies: {mcpAuthorization: {rules: [{alow: a}]}}"), format!("f:5:46: {at}.policies.mcpAuthorization.rules[0].alow: unknown field; did you mean \"allow\"?\nf:5:45: {at}.policies.mcpAuthorization.rules[0]: exactly one of allow, deny and require must be set")),
        (route("policies: {jwtAuth: {issuer: a}}"), format!("f:5:27: {at}.policies.jwtAuth.jwks: must be set")),
        (route("policies: {jwtAuth: {issuer: a, jwks: {inline: '{\"kty\": \"EC\", \"crv\": \"P-521\"}'}}}"), format!("f:5:27: {at}.policies.jwtAuth: keys of issuer \"a\": no key can verify signatures: a key of type EC on the curve P-521 is not supported")),
        (route("policies: {localRateLimit: [{maxTokens: 1, fillInterval: 1}]}"), format!("f:5:64: {at}.policies.localRateLimit[0].fillInterval: \"1\" is not a duration: write up to four numbers with units h, m, s or ms, such as 1h30m or 500ms")),
        (route("policies: {cors: {allowOrigins: [example.com]}}"), format!("f:5:40: {at}.policies.cors.allowOrigins[0]: \"example.com\" is not an origin such as https://example.com, https://*.example.com or *")),
        (route("policies: {urlRewrite: {path: {prefix: /x}}}\n      matches: [{path: {exact: /a}}]"), format!("f:5:46: {at}.policies.urlRewrite.path.prefix: a prefix is replaced, but a match of this route has no pathPrefix")),
        (route("policies: {backendAuth: {}}"), format!("f:5:31: {at}.policies.backendAuth: exactly one of passthrough, key and aws must be set")),
    ] {
        let mut found: Vec<_> = refused(&text).lines().map(str::to_owned).collect();
        let mut expected: Vec<_> = message.lines().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        if found != expected {
            differences.push_str(&format!("{text}expected {expected:#?}\nfound {found:#?}\n\n"));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_missing_key_file_is_named() {
    assert_eq!(
        refused(JWT),
        "f:13:19: binds[0].listeners[0].routes[0].policies.jwtAuth.jwks.file: \
         /nonexistent/./manifests/jwt/pub-key cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn every_error_is_reported_at_once_within_a_bound() {
    let text = "binds:\n- port: 15000\n  x: 1\n- port: 15001\n  y: 2\n";
    assert_eq!(refused(text).lines().count(), 3);
    let many: String = (0..50).map(|i| format!("field{i}: 1\n")).collect();
    assert!(refused(&many).ends_with("\nand 30 more errors"));
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    for (text, warning) in [
        ("{}", "f:1:1: no binds: the proxy listens nowhere"),
        ("binds:\n- port: 1\n", "f:2:3: binds[0]: a bind without listeners: requests get 404"),
        (
            "binds:\n- port: 1\n  listeners: [{}]\n",
            "f:3:15: binds[0].listeners[0]: a listener without routes: requests get 404",
        ),
        (
            "binds:\n- port: 1\n  listeners:\n  - routes: [{backends: [{host: 'a:1', weight: 0}]}]\n",
            "f:4:14: binds[0].listeners[0].routes[0]: all backends of route0 have the weight 0: requests get 500",
        ),
        (
            "binds:\n- port: 1\n  listeners:\n  - routes: [{backends: [{host: '169.254.169.254:80'}]}]\n",
            "f:4:33: binds[0].listeners[0].routes[0].backends[0].host: 169.254.169.254 is a link-local address, which is not allowed here",
        ),
        (
            "config: {allowLoopbackBackends: false}\nbinds:\n- port: 1\n  listeners:\n  - routes: [{backends: [{host: 'localhost:80'}]}]\n",
            "f:5:33: binds[0].listeners[0].routes[0].backends[0].host: localhost is a loopback name, which is not allowed here",
        ),
        (
            "binds:\n- port: 1\n  listeners:\n  - hostname: a.b\n    routes: [{hostnames: [a.c], backends: [{host: 'a:1'}]}]\n",
            "f:5:27: binds[0].listeners[0].routes[0].hostnames[0]: the listener serves \"a.b\" only, so this never matches",
        ),
    ] {
        assert_eq!(warnings(text), [warning], "{text}");
    }
    let redirect = "binds:\n- port: 1\n  listeners:\n  - routes: [{policies: {requestRedirect: {scheme: https}}}]\n";
    assert!(warnings(redirect).is_empty(), "a redirect needs no backend");
}

#[test]
fn routes_have_one_resource_a_match_and_keep_their_order() {
    let loaded = loaded(
        "binds:\n- port: 1\n  listeners:\n  - hostname: '*.a.b'\n    routes:\n    - name: r\n      ruleName: one\n      hostnames: [x.a.b, '*.b']\n      \
         matches: [{path: {exact: /a}}, {method: GET}]\n      backends: [{host: 'a:1'}]\n    - name: r\n      ruleName: two\n      backends: [{host: '[::1]:1', weight: 3}]\n",
    );
    let routes = routes(&loaded);
    let listener = "File/default/default/listener0";
    let keys: Vec<_> = routes.iter().map(|r| r.key.clone()).collect();
    assert_eq!(keys, ["0/0", "0/1", "1/0"].map(|n| format!("Route/default/r/{n}/{listener}")));
    assert_eq!(routes[0].hostnames, ["x.a.b", "*.a.b"]);
    assert!(routes[0].created < routes[2].created);
    assert_eq!(routes[2].match_index, 0);
    assert_eq!(routes[2].r#match.as_ref().expect("a match").path, Some(v1::route_match::Path::Prefix("/".into())));
    assert_eq!(routes[2].backends[0].weight, 3);
}

#[test]
fn policies_of_a_listener_are_resources_of_their_own() {
    let loaded = loaded(
        "binds:\n- port: 1\n  listeners:\n  - policies:\n      cors: {allowOrigins: ['*']}\n      localRateLimit:\n      \
         - {maxTokens: 1, fillInterval: 1s}\n      - {maxTokens: 5, fillInterval: 1m}\n    routes: [{backends: [{host: 'a:1'}]}]\n",
    );
    let listener = "File/default/default/listener0";
    assert_eq!(
        keys(&loaded, Kind::Policy),
        // The buckets of one list are one policy: a request takes from all of them, or from none.
        ["cors0", "localRateLimit1"].map(|f| format!("File/default/default/{f}/{listener}"))
    );
}

#[test]
fn environment_references_are_replaced_in_the_environment_of_commands_alone() {
    let loaded = loaded(
        "binds:\n- port: 1\n  listeners:\n  - routes:\n    - backends:\n      - mcp: {targets: [{name: a, stdio: {cmd: $TOKEN, env: {A: 'x${TOKEN}'}}}]}\n",
    );
    let stdio = loaded.resources.iter().find_map(|r| match r {
        Resource::Backend(v1::Backend { kind: Some(v1::backend::Kind::Mcp(mcp)), .. }) => {
            match &mcp.targets[0].transport {
                Some(v1::mcp_target::Transport::Stdio(stdio)) => Some(stdio.clone()),
                _ => None,
            }
        }
        _ => None,
    });
    let stdio = stdio.expect("a command");
    assert_eq!((stdio.command.as_str(), stdio.env["A"].as_str()), ("$TOKEN", "xsecret"));
}

#[test]
fn equal_files_have_equal_generations() {
    let generation = |text: &str| loaded(text).resources.last().map(Resource::encode);
    assert_eq!(generation(MULTIPLEX), generation(&format!("# a comment\n{MULTIPLEX}")));
    assert_ne!(generation(MULTIPLEX), generation(&MULTIPLEX.replace("3000", "3001")));
}

#[test]
fn files_that_are_no_text_are_refused() {
    assert_eq!(
        parse(b"a\n\xff", "f", &nowhere()).map(|_| ()).expect_err("bytes").to_string(),
        "f: is not UTF-8 (line 2)"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("none.yaml");
    let error = load(&missing, &Environment::of_process()).map(|_| ()).expect_err("missing").to_string();
    assert_eq!(error, format!("{}: cannot be read: No such file or directory (os error 2)", missing.display()));
    let large = folder.path().join("large.yaml");
    fs::File::create(&large).and_then(|f| f.set_len(limits::MAX_FILE_BYTES + 1)).expect("written");
    assert!(
        load(&large, &Environment::of_process())
            .map(|_| ())
            .expect_err("large")
            .to_string()
            .contains("at most 8388608 are allowed")
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, "f", &nowhere());
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = parse(text.as_bytes(), "f", &nowhere());
    }

    #[test]
    fn damaged_files_never_panic(at in 0usize..600, length in 0usize..8, with in "[\\[\\]{}:,&*#'\"|>!%@`\\-? \na0]{0,6}") {
        for text in [MULTIPLEX, AUTHORIZATION, JWT] {
            let mut text = text.to_owned();
            let start = at % text.len();
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &with);
            let _ = parse(text.as_bytes(), "f", &nowhere());
        }
    }
}
