use http::{HeaderMap, HeaderValue, Method, Uri};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    claims: Value,
    api_key: Value,
}

impl Request {
    fn new() -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("x-llm", HeaderValue::from_static("gemini"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.append("x-two", HeaderValue::from_static("b"));
        Request {
            method: Method::POST,
            uri: Uri::from_static("/a/b?x=1&y=%41+b&x=2"),
            headers,
            claims: json!({"sub": "alice", "groups": ["dev", "ops"], "n": 3, "big": u64::MAX, "deep": {"a": [1, {"b": true}]}}),
            api_key: json!({"name": "team-a", "metadata": {"tier": "gold"}}),
        }
    }

    fn input(&self) -> HttpInput<'_> {
        HttpInput {
            method: &self.method,
            uri: &self.uri,
            scheme: "http",
            host: "A.example.",
            headers: &self.headers,
            claims: Some(&self.claims),
            api_key: Some(&self.api_key),
            basic_auth: None,
            metadata: None,
            source: "10.1.2.3:55".parse().expect("an address"),
            certificate: None,
            body: None,
            response: None,
            fields: None,
        }
    }
}

fn http(rule: &str) -> Result<bool, EvalError> {
    Expression::compile(rule).unwrap_or_else(|e| panic!("{rule}: {e}")).evaluate_http(&Request::new().input())
}

#[test]
fn what_policies_leave_is_a_map() {
    let (request, left) = (Request::new(), json!({"guard": {"score": 7}}));
    let input = HttpInput { metadata: Some(&left), ..request.input() };
    let rule = Expression::compile("metadata.guard.score > 5").expect("compiles");
    assert_eq!(rule.evaluate_http(&input), Ok(true));
    assert!(rule.evaluate_http(&request.input()).is_err(), "nothing was left");
    assert_eq!(http("has(metadata.guard)"), Ok(false));
}

#[test]
fn what_a_credential_says_is_a_map_and_empty_without_one() {
    assert_eq!(http("apiKey.name == 'team-a' && apiKey.metadata.tier == 'gold'"), Ok(true));
    assert_eq!(http("has(basicAuth.username)"), Ok(false));
    assert!(http("basicAuth.username == 'a'").is_err());
    assert!(Expression::compile("[1].all(apiKey, true)").is_err(), "it cannot be hidden");
}

#[test]
fn addresses_and_networks_are_those_of_kubernetes() {
    for (rule, holds) in [
        ("cidr('10.0.0.0/8').containsIP(source.address)", true),
        ("cidr('10.0.0.0/8').containsIP(ip(source.address))", true),
        ("cidr('192.168.0.0/16').containsIP(source.address)", false),
        ("['192.168.0.0/16', '10.0.0.0/8'].exists(network, cidr(network).containsIP(source.address))", true),
        ("ip('::ffff:10.1.2.3') == ip(source.address)", true),
        ("ip(source.address) != ip('10.1.2.3')", false),
        ("isIP('10.1.2.3') && !isIP('10.1.2') && isCIDR('::/0') && !isCIDR('::')", true),
    ] {
        assert_eq!(http(rule), Ok(holds), "{rule}");
    }
    assert!(http("cidr(request.headers['x-llm']).containsIP(source.address)").is_err(), "no network");
    assert!(http("cidr('10.0.0.0/8').containsIP(request.headers['x-llm'])").is_err(), "no address");
    for wrong in ["cidr('10.0.0.0/99').containsIP(source.address)", "ip('10.0.0') == ip(source.address)"] {
        let error = Expression::compile(wrong).map(|_| ()).expect_err(wrong).to_string();
        assert!(error.contains("is not a"), "{error}");
    }
}

#[test]
fn keys_tell_values_apart() {
    let request = Request::new();
    let key = |rules: &[&str]| {
        let mut key = Vec::new();
        for rule in rules {
            Expression::compile(rule).expect(rule).evaluate_key(&request.input(), &mut key)?;
        }
        Ok::<_, EvalError>(key)
    };
    let values = ["'a'", "'ab'", "1", "1u", "1.0", "true", "null", "['a']", "[['a']]", "jwt.groups", "'1'"];
    let keys: std::collections::HashSet<_> = values.iter().map(|rule| key(&[rule]).expect("a key")).collect();
    assert_eq!(keys.len(), values.len());
    assert_ne!(key(&["'a'", "'bc'"]), key(&["'ab'", "'c'"]));
    assert_eq!(key(&["request.headers['x-llm']"]), key(&["'gemini'"]));
    assert!(key(&["request.headers['x-none']"]).is_err() && key(&["jwt"]).is_err());
}

fn tool<'a>(name: &'a str, federated_name: &'a str) -> McpItem<'a> {
    McpItem::Tool { target: "github", name, federated_name, arguments: None }
}

fn prompt<'a>(name: &'a str, federated_name: &'a str) -> McpItem<'a> {
    McpItem::Prompt { target: "github", name, federated_name, arguments: None }
}

fn on(rule: &str, item: &McpItem<'_>) -> Outcome {
    Expression::compile(rule).unwrap_or_else(|e| panic!("{rule}: {e}")).evaluate_mcp(item, &Request::new().input())
}

fn refused(rule: &str) -> String {
    Expression::compile(rule).map(|_| ()).expect_err(rule).to_string()
}

#[test]
fn attributes_have_the_values_of_the_request() {
    for rule in [
        "request.method == 'POST'",
        "request.path == '/a/b'",
        "request.uri == '/a/b?x=1&y=%41+b&x=2'",
        "request.host == 'a.example' && request.scheme == 'http'",
        "request.headers['X-LLM'] == 'gemini'",
        "request.headers['x-' + 'llm'] == 'gemini'",
        "request.headers['x-two'] == 'a, b'",
        "'x-llm' in request.headers && !('x-none' in request.headers)",
        "has(request.headers.authorization) == false",
        "request.query.x == '1' && request.query['y'] == 'A b' && !has(request.query.z)",
        "size(request.query) == 2 && request.headers.size() == 2",
        "request.headers.exists(name, name == 'x-two')",
        "request['method'] == 'POST'",
        "has(request.method)",
        "source.address == '10.1.2.3' && source.port == 55",
        "jwt.sub == 'alice' && has(jwt.sub) && 'sub' in jwt && !has(jwt.aud)",
        "'ops' in jwt.groups && jwt.groups == ['dev', 'ops']",
        "jwt.groups.exists(g, g in ['ops', 'admin'])",
        "jwt.groups.exists(g, ['d', 'x'].exists(p, g.startsWith(p)))",
        "jwt.n == 3 && jwt.n > 2 && jwt.big > 5u",
        "jwt.deep.a[1].b && jwt['deep']['a'][0] == 1",
        "jwt.map(k, k).size() == 5",
        "type(jwt) == map && type(jwt.sub) == string",
        "request.path.matches('^/a/.$') && matches(request.path, 'b$')",
        "request.host.split('.')[1] == 'example' && request.method.lowerAscii() == 'post'",
    ] {
        assert_eq!(http(rule), Ok(true), "{rule}");
    }
}

#[test]
fn what_is_absent_is_an_error_and_not_false() {
    assert_eq!(
        http("request.headers['x-none'] == 'a'"),
        Err(EvalError::Failed("the request has no header x-none".into()))
    );
    assert!(http("jwt.aud == 'a'").is_err());
    assert!(http("jwt.aud != 'a'").is_err());
    assert_eq!(http("jwt.aud == 'a' || jwt.sub == 'alice'"), Ok(true));
    assert_eq!(http("jwt.aud == 'a' && jwt.sub == 'bob'"), Ok(false));
    assert_eq!(http("mcp.tool.name == 'a'"), Err(EvalError::NoItem));
}

#[test]
fn a_client_certificate_is_known_by_its_names() {
    let request = Request::new();
    let names = ["a.example".to_owned(), "spiffe://td/a".to_owned()];
    let certificate = ClientCertificate { spiffe: Some("spiffe://td/a"), subject: "CN=a", names: &names };
    let with = |certificate, rule: &str| {
        let input = HttpInput { certificate, ..request.input() };
        Expression::compile(rule).unwrap_or_else(|e| panic!("{rule}: {e}")).evaluate_http(&input)
    };
    for rule in [
        "source.identity == 'spiffe://td/a' && has(source.identity)",
        "source.identity.startsWith('spiffe://td/')",
        "source.subject == 'CN=a' && has(source.subject)",
        "'a.example' in source.subjectAltNames && size(source.subjectAltNames) == 2",
        "source.subjectAltNames.exists(n, n.endsWith('.example'))",
    ] {
        assert_eq!(with(Some(certificate), rule), Ok(true), "{rule}");
        assert_ne!(with(None, rule), Ok(true), "{rule}");
    }
    let no_spiffe = Some(ClientCertificate { spiffe: None, ..certificate });
    assert_eq!(with(no_spiffe, "has(source.identity) || !has(source.subject)"), Ok(false));
    assert!(with(no_spiffe, "source.identity == 'spiffe://td/a'").is_err(), "absent is an error and not false");
    assert!(with(None, "source.subject != 'CN=a'").is_err());
    assert_eq!(with(None, "has(source.subjectAltNames)"), Ok(false));
}

#[test]
fn without_claims_jwt_is_an_empty_map() {
    let request = Request::new();
    let input = HttpInput { claims: None, ..request.input() };
    let evaluate = |rule: &str| Expression::compile(rule).expect(rule).evaluate_http(&input);
    assert_eq!(evaluate("has(jwt.sub)"), Ok(false));
    assert_eq!(evaluate("size(jwt) == 0"), Ok(true));
    assert!(evaluate("jwt.sub == 'alice'").is_err());
}

#[test]
fn a_result_that_is_no_boolean_is_an_error() {
    assert_eq!(http("request.path"), Err(EvalError::NotBool("string".into())));
    assert_eq!(http("[true]"), Err(EvalError::NotBool("list".into())));
}

#[test]
fn unknown_names_are_refused_with_their_place() {
    for (rule, message) in [
        ("", "the expression is empty"),
        (
            "requst.path == 'a'",
            "unknown variable \"requst\" at column 1; known are a2a, apiKey, basicAuth, jwt, mcp, metadata, request and source",
        ),
        (
            "true && x",
            "unknown variable \"x\" at column 9; known are a2a, apiKey, basicAuth, jwt, mcp, metadata, request and source",
        ),
        (
            "request.pth == 'a'",
            "\"request\" has no field \"pth\" (column 8); it has method, path, uri, host, scheme, headers, query",
        ),
        ("has(mcp.tool.nam)", "\"mcp.tool\" has no field \"nam\" (column 4); it has name, target, arguments"),
        ("mcp.tol.name == 'a'", "\"mcp\" has no field \"tol\" (column 4); it has method, tool, prompt, resource"),
        (
            "mcp.tool == 'a'",
            "\"mcp.tool\" at column 4 is not a value by itself: use one of its fields, name, target, arguments",
        ),
        (
            "size(request) > 0",
            "\"request\" at column 6 is not a value by itself: use one of its fields, method, path, uri, host, scheme, headers, query",
        ),
        (
            "request['me' + 'thod'] == 'a'",
            "\"request\" at column 1 is not a value by itself: use one of its fields, method, path, uri, host, scheme, headers, query",
        ),
        ("jwt.sub.beginsWith('a')", "unknown function \"beginsWith\" with 1 argument(s) at column 19"),
        ("foo(1)", "unknown function \"foo\" with 1 argument(s) at column 4"),
        ("jwt.sub.startsWith()", "unknown function \"startsWith\" with 0 argument(s) at column 19"),
        ("jwt.sub.matches(jwt.pattern)", "the pattern of matches() at column 16 must be written as a string"),
        ("jwt.sub.matches('(a')", "the pattern of matches() at column 17 is not a regular expression: unclosed group"),
        ("[1].exists(mcp, mcp == 1)", "the loop variable \"mcp\" at column 11 hides the variable of that name"),
        (
            "jwt.a.all(x, jwt.b.all(y, x == y))",
            "the expression is too complex: a loop over the input inside another; the inner one may only go over a list in the expression (column 23)",
        ),
        ("Foo{a: 1}", "making a message at column 4 is not supported in rules"),
        ("jwt.sub ==", "syntax error at column 11: mismatched input the end"),
        ("true\n  && 'a", "syntax error at line 2, column 6: token recognition error at: ''a'"),
    ] {
        assert_eq!(refused(rule), message, "{rule}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(refused(&"a".repeat(MAX_SOURCE_BYTES + 1)).contains("at most 4096"));
    assert!(refused(&format!("{}true{}", "(".repeat(500), ")".repeat(500))).contains("syntax error"));
    assert!(refused(&format!("1{} == 2", "+1".repeat(2000))).contains("too complex"));
    assert!(refused(&format!("jwt{} == 2", ".a".repeat(2000))).contains("too complex"));
    assert!(refused(&format!("[{}] == []", "1,".repeat(2000))).contains("too complex"));
    assert!(refused(&format!("jwt.s{} == []", ".map(x, x + x)".repeat(9))).contains("more than 8 loops"));
}

#[test]
fn an_expression_says_whether_it_speaks_of_items() {
    let uses = |rule| Expression::compile(rule).expect(rule).uses_mcp();
    assert!(
        uses("mcp.tool.name == 'a'") && uses("has(mcp.prompt)") && uses("request.path == '/' || mcp.method == 'x'")
    );
    assert!(!uses("request.path == '/'"));
}

#[test]
fn rules_may_use_either_name() {
    let rule = "mcp.tool.name in ['search_code', 'everything_echo']";
    assert_eq!(on(rule, &tool("search_code", "github_search_code")), Outcome::True);
    assert_eq!(on(rule, &tool("echo", "everything_echo")), Outcome::True);
    assert_eq!(on(rule, &tool("other", "github_other")), Outcome::False);
}

#[test]
fn other_uses_of_the_name_see_the_own_one() {
    let item = tool("own", "github_own");
    assert_eq!(on("size(mcp.tool.name) == 3", &item), Outcome::True);
    assert_eq!(on("[mcp.tool.name].exists(n, n == 'github_own')", &item), Outcome::False);
    assert_eq!(on("(mcp.tool.name + '') == 'github_own'", &item), Outcome::False);
    assert_eq!(on("'own' in [mcp.tool.name]", &item), Outcome::True);
}

#[test]
fn the_name_may_be_written_with_an_index() {
    let item = tool("own", "github_own");
    for rule in
        ["mcp.tool['name'] == 'github_own'", "mcp['tool'].name == 'github_own'", "'github_own' == mcp.tool.name"]
    {
        assert_eq!(on(rule, &item), Outcome::True, "{rule}");
    }
}

#[test]
fn rules_on_another_kind_of_item_say_so() {
    let (tool, prompt) = (tool("a", "g_a"), prompt("a", "g_a"));
    let resource = McpItem::Resource { target: "github", uri: "file:///a", name: "a" };
    for rule in [
        "mcp.tool.name == 'a'",
        "mcp.tool.name != 'a'",
        "!(mcp.tool.name in ['b'])",
        "has(mcp.tool.name)",
        "mcp.tool.target == 'github'",
    ] {
        assert_eq!(on(rule, &prompt), Outcome::OtherKind, "{rule}");
        assert_eq!(on(rule, &resource), Outcome::OtherKind, "{rule}");
    }
    assert_eq!(on("mcp.prompt.name == 'a'", &tool), Outcome::OtherKind);
    assert_eq!(on("mcp.resource.uri.startsWith('file:')", &resource), Outcome::True);
    assert_eq!(on("mcp.resource.uri.startsWith('file:')", &tool), Outcome::OtherKind);
    assert_eq!(on("has(mcp.tool)", &prompt), Outcome::False);
    assert_eq!(on("!has(mcp.tool) || mcp.tool.name == 'b'", &prompt), Outcome::True);
    assert_eq!(on("mcp.tool.name == 'a' || mcp.prompt.name == 'a'", &prompt), Outcome::True);
    assert!(matches!(on("jwt.missing == 'a'", &tool), Outcome::Error(_)));
    for rule in ["mcp.tool.name == 'a' && jwt.missing == 'a'", "jwt.missing == 'a' && mcp.tool.name == 'a'"] {
        assert_eq!(on(rule, &prompt), Outcome::OtherKind, "{rule}: whichever error comes first");
    }
    assert_eq!(on("jwt.sub == 'bob' && mcp.tool.name == 'a'", &prompt), Outcome::False);
    assert_eq!(on("mcp.method == 'tools/call'", &tool), Outcome::True);
    assert_eq!(on("mcp.method == 'prompts/get'", &prompt), Outcome::True);
}

#[test]
fn arguments_are_those_of_the_call() {
    let arguments = json!({"path": "/etc/passwd", "n": 1});
    let call = McpItem::Tool { target: "t", name: "read", federated_name: "t_read", arguments: Some(&arguments) };
    assert_eq!(on("mcp.tool.arguments.path.startsWith('/etc')", &call), Outcome::True);
    let rule = "has(mcp.tool.arguments.path) && mcp.tool.arguments.path.startsWith('/etc')";
    assert_eq!(on(rule, &call), Outcome::True);
    assert_eq!(on(rule, &tool("read", "t_read")), Outcome::False);
}

type Holds = Box<dyn Fn(&str) -> bool>;

/// Every operator that knows both names, as a rule and as the plain function it stands for.
fn operators(operand: &str) -> Vec<(String, Holds)> {
    let owned = || operand.to_owned();
    let (equal, differs, flipped, listed) = (owned(), owned(), owned(), owned());
    let (starts, ends, contains, pattern) = (owned(), owned(), owned(), owned());
    vec![
        (format!("mcp.tool.name == '{operand}'"), Box::new(move |n| n == equal)),
        (format!("'{operand}' == mcp.tool.name"), Box::new(move |n| n == flipped)),
        (format!("!(mcp.tool.name != '{operand}')"), Box::new(move |n| n == differs)),
        (format!("mcp.tool.name in ['{operand}', 'zz']"), Box::new(move |n| n == listed || n == "zz")),
        (format!("mcp.tool.name.startsWith('{operand}')"), Box::new(move |n| n.starts_with(&starts))),
        (format!("mcp.tool.name.endsWith('{operand}')"), Box::new(move |n| n.ends_with(&ends))),
        (format!("mcp.tool.name.contains('{operand}')"), Box::new(move |n| n.contains(&contains))),
        (format!("mcp.tool.name.matches('^{operand}$')"), Box::new(move |n| n == pattern)),
    ]
}

#[test]
fn arithmetic_at_the_edges_never_panics() {
    for rule in [
        "(-9223372036854775807 - 1) / -1 == 0",
        "(-9223372036854775807 - 1) % -1 == 0",
        "-(-9223372036854775807 - 1) == 0",
        "9223372036854775807 + 1 == 0",
        "9223372036854775807 * 2 == 0",
        "0u - 1u == 0u",
        "1 / 0 == 0",
        "1u % 0u == 0u",
        "int(1e300) == 0",
        "int(-1e300) == 0",
        "uint(-1) == 0u",
        "uint(1e300) == 0u",
        "int(double('nan')) == 0",
        "int('x') == 0",
        "timestamp(9223372036854775807) == timestamp(0)",
        "timestamp(-9223372036854775807) == timestamp(0)",
        "timestamp('9999-12-31T23:59:59Z') + duration('9223372036s') == timestamp(0)",
        "timestamp('0001-01-01T00:00:00Z') - duration('9223372036s') == timestamp(0)",
        "timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') == duration('1s')",
        "duration('9223372036s') + duration('9223372036s') == duration('1s')",
        "duration('-9223372036s') - duration('9223372036s') == duration('1s')",
        "duration('9223372036854775807s') == duration('1s')",
        "duration('99999999999999999999h') == duration('1s')",
        "duration('') == duration('1s')",
        "timestamp('') == timestamp(0)",
        "string(duration('-9223372036s')) == ''",
        "string(timestamp(253402300799)) == ''",
        "string(b'\\xff') == ''",
        "'abc'.split('') == []",
        "['a', 1].join() == ''",
        "[1][9223372036854775807] == 0",
        "[1][-1] == 0",
        "{'a': 1, 'a': 2} == {}",
        "{null: 1} == {}",
        "[1, 2].map(x, 'a') == [1u]",
        "jwt.big + 1u == 0u",
        "size(jwt.n) == 0",
        "jwt.groups[5] == ''",
        "request.headers[1] == ''",
        "jwt[1] == ''",
    ] {
        let _ = http(rule);
    }
}

proptest! {
    #[test]
    fn an_operator_on_the_name_holds_when_it_holds_for_either(
        own in "[a-c_]{1,3}", federated in "[a-c_]{1,5}", operand in "[a-c_]{1,3}",
    ) {
        for (rule, holds) in operators(&operand) {
            let expected = holds(&own) || holds(&federated);
            let as_outcome = |b| if b { Outcome::True } else { Outcome::False };
            prop_assert_eq!(on(&rule, &tool(&own, &federated)), as_outcome(expected), "{}", rule);
            let negated = format!("!({rule})");
            prop_assert_eq!(on(&negated, &tool(&own, &federated)), as_outcome(!expected), "{}", negated);
            let on_prompts = rule.replace("mcp.tool", "mcp.prompt");
            prop_assert_eq!(on(&on_prompts, &prompt(&own, &federated)), as_outcome(expected), "{}", on_prompts);
        }
    }

    #[test]
    fn a_tool_called_x_by_either_name_is_not_unlike_x(other in "[a-c_]{1,4}", x in "[a-c_]{1,4}") {
        let rule = format!("mcp.tool.name != '{x}'");
        prop_assert_eq!(on(&rule, &tool(&x, &other)), Outcome::False);
        prop_assert_eq!(on(&rule, &tool(&other, &x)), Outcome::False);
        prop_assert_eq!(on(&format!("'{x}' != mcp.tool.name"), &tool(&other, &x)), Outcome::False);
    }

    #[test]
    fn compiling_and_evaluating_text_never_panics(text in "\\PC{0,80}") {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate_http(&Request::new().input());
        }
    }

    #[test]
    fn compiling_and_evaluating_near_rules_never_panics(
        parts in proptest::collection::vec(prop_oneof![
            Just("request"), Just("jwt"), Just("mcp"), Just("source"), Just(".tool"), Just(".name"), Just(".headers"), Just(".path"),
            Just("["), Just("]"), Just("("), Just(")"), Just("{"), Just("}"), Just("'a'"), Just("\"b\""), Just("1"), Just("-1"),
            Just("9223372036854775807"), Just("1u"), Just("1.5"), Just(" == "), Just(" != "), Just(" in "), Just(" && "), Just(" || "),
            Just("!"), Just("?"), Just(":"), Just(","), Just("."), Just("+"), Just("-"), Just("*"), Just("/"), Just("%"), Just("<"),
            Just(".exists(x, x == 1)"), Just(".map(x, x)"), Just(".matches('a')"), Just("has("), Just("size("), Just("int("),
            Just("timestamp("), Just("duration("), Just("'1h'"), Just("b'\\xff'"), Just("null"), Just("true"), Just("x"), Just("@"), Just("`"),
        ], 0..24),
    ) {
        if let Ok(expression) = Expression::compile(&parts.concat()) {
            let request = Request::new();
            let _ = expression.evaluate_http(&request.input());
            let _ = expression.evaluate_mcp(&tool("a", "b_a"), &request.input());
        }
    }
}

#[test]
fn amounts_are_whole_numbers_from_zero_on() {
    let request = Request::new();
    let amount = |source: &str| Expression::compile(source).expect(source).evaluate_number(&request.input());
    for (source, expected) in [("3", 3), ("0u", 0), ("size(request.path)", 4), ("request.path == '/x' ? 5 : 1", 1)] {
        assert_eq!(amount(source), Ok(expected), "{source}");
    }
    for source in ["-1", "1.5", "'3'", "true", "int(request.headers['x-absent'])"] {
        assert!(amount(source).is_err(), "{source}");
    }
}

#[test]
fn values_are_written_as_json() {
    let request = Request::new();
    let value = |source: &str| {
        let expression = Expression::compile_for(source, Scope::Request).unwrap_or_else(|e| panic!("{source}: {e}"));
        expression.evaluate_value(&request.input())
    };
    for (source, expected) in [
        ("'a' + jwt.sub", json!("aalice")),
        ("1 + 2", json!(3)),
        ("jwt.big", json!(u64::MAX)),
        ("1.5", json!(1.5)),
        ("true", json!(true)),
        ("null", Value::Null),
        ("[1, 'a', jwt.deep]", json!([1, "a", {"a": [1, {"b": true}]}])),
        ("{'sub': jwt.sub, 'in': {'n': [jwt.n]}}", json!({"sub": "alice", "in": {"n": [3]}})),
        ("request.query", json!({"x": "1", "y": "A b"})),
        ("jwt.groups.map(g, g + '!')", json!(["dev!", "ops!"])),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    for wrong in ["jwt.none", "b'bytes'", "0.0 / 0.0", "{1: 'a'}", "request.body"] {
        assert!(value(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn texts_are_taken_as_they_are_and_numbers_as_they_are_written() {
    let request = Request::new();
    let text = |source: &str| Expression::compile(source).expect(source).evaluate_text(&request.input());
    for (source, expected) in
        [("request.headers['x-llm']", "gemini"), ("jwt.sub", "alice"), ("jwt.n", "3"), ("request.path == '/'", "false")]
    {
        assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
    }
    for source in ["request.headers['x-absent']", "jwt.groups", "jwt.deep"] {
        assert!(text(source).is_err(), "{source}");
    }
}

#[test]
fn each_scope_knows_its_own_message() {
    let compiles = |source: &str, scope| Expression::compile_for(source, scope).is_ok();
    for (source, known) in [
        ("request.path", [true, true, true, true]),
        ("request.body", [false, true, false, false]),
        ("response.code", [false, false, true, true]),
        ("response.body", [false, false, true, false]),
        ("mcp.tool.name", [true, false, false, false]),
        ("fields.status", [false, false, false, true]),
        ("response.status", [false, false, false, false]),
    ] {
        assert_eq!(
            [Scope::Rule, Scope::Request, Scope::Response, Scope::Record].map(|scope| compiles(source, scope)),
            known,
            "{source}"
        );
    }
    let uses_body = |source, scope| Expression::compile_for(source, scope).expect(source).uses_body();
    assert!(uses_body("request.body.size() > 1", Scope::Request) && uses_body("response['body']", Scope::Response));
    assert!(!uses_body("request.headers['body']", Scope::Request));
}

#[test]
fn fields_of_the_record_are_read() {
    let request = Request::new();
    let fields = json!({"duration_ms": 12.5, "gen_ai.usage.input_tokens": 7});
    let input = HttpInput { fields: Some(&fields), ..request.input() };
    let value = |source: &str| {
        let expression = Expression::compile_for(source, Scope::Record).expect(source);
        assert!(expression.uses_fields(), "{source}");
        expression.evaluate_value(&input)
    };
    assert_eq!(value("fields.duration_ms > 10.0"), Ok(json!(true)));
    assert_eq!(value("fields['gen_ai.usage.input_tokens'] + 1"), Ok(json!(8)));
    assert_eq!(value("'reason' in fields"), Ok(json!(false)));
    assert!(value("fields.reason").is_err());
    assert!(Expression::compile_for("[1].all(fields, fields > 0)", Scope::Record).is_err());
}

#[test]
fn bodies_and_responses_are_read() {
    let request = Request::new();
    let headers = HeaderMap::from_iter([(http::header::SERVER, HeaderValue::from_static("s"))]);
    let response = Some(ResponseInput { status: http::StatusCode::IM_A_TEAPOT, headers: &headers });
    let (body, list) = (json!({"user": {"name": "ada"}, "n": [1, 2]}), json!([1]));
    let value = |source: &str, body| {
        let input = HttpInput { body: Some(body), response, ..request.input() };
        Expression::compile_for(source, Scope::Response).expect(source).evaluate_value(&input)
    };
    let source = "string(response.code) + response.headers['Server'] + response.body.user.name + request.method";
    assert_eq!(value(source, BodyInput::Json(&body)), Ok(json!("418sadaPOST")));
    assert_eq!(value("response.body.n[1]", BodyInput::Json(&body)), Ok(json!(2)));
    assert_eq!(value("response.body", BodyInput::Json(&list)), Ok(json!([1])));
    assert!(value("response.body.member", BodyInput::Text("a")).is_err());
    assert_eq!(value("response.body + '!'", BodyInput::Text("a")), Ok(json!("a!")));
}
