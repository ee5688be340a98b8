//! From the parsed tree to the one that is evaluated: names are checked, attributes resolved, constants made once, and
//! `mcp.tool.name` turned into what stands for both of a tool's names.
//!
//! `==`, `!=`, `in`, `startsWith`, `endsWith`, `contains` and `matches` on `mcp.tool.name` or `mcp.prompt.name` hold when they
//! hold for the own or the federated name, and `!=` is the negation of the whole of that. The rewrite is done on the tree,
//! because evaluating twice and joining the results would make `mcp.tool.name != "x"` always true. Any other use of the
//! name sees the own name.

use std::collections::HashSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr};
use cel::common::types::CelBool;
use http::HeaderName;
use regex::RegexBuilder;

use crate::Scope;
use crate::addresses::{Address, Network};
use crate::check::Places;
use crate::constants::{Constant, Pattern, Strings};
use crate::environment::{OPERATORS, Style, TYPES, is_function};
use crate::error::{ExpressionError, Place};
use crate::limits::{MAX_DEPTH, MAX_LOOPS, MAX_NODES, MAX_PATTERN_BYTES};
use crate::operations::operation_of_a2a_0_3;
use crate::values::attribute::{self, Field, Parent};

/// What [`lower`] makes.
pub(crate) struct Lowered {
    pub(crate) tree: IdedExpr,
    pub(crate) constants: Vec<Constant>,
    pub(crate) uses_mcp: bool,
    pub(crate) uses_a2a: bool,
    pub(crate) uses_body: bool,
    pub(crate) uses_fields: bool,
}

/// Checks and rewrites `tree`.
pub(crate) fn lower(tree: IdedExpr, places: &Places, used: Scope) -> Result<Lowered, ExpressionError> {
    let mut lowering = Lowering {
        places,
        used,
        constants: Vec::new(),
        scope: Vec::new(),
        nodes: 0,
        loops: 0,
        input_loop_depth: 0,
        uses_mcp: false,
        uses_a2a: false,
        uses_body: false,
        uses_fields: false,
    };
    let tree = lowering.expression(tree, 0)?;
    let Lowering { constants, uses_mcp, uses_a2a, uses_body, uses_fields, .. } = lowering;
    Ok(Lowered { tree, constants, uses_mcp, uses_a2a, uses_body, uses_fields })
}

struct Lowering<'p> {
    places: &'p Places,
    used: Scope,
    constants: Vec<Constant>,
    /// Variables of the loops around the node.
    scope: Vec<String>,
    nodes: usize,
    loops: usize,
    /// Loops around the node whose length the input decides.
    input_loop_depth: usize,
    uses_mcp: bool,
    uses_a2a: bool,
    uses_body: bool,
    uses_fields: bool,
}

type Node = Result<IdedExpr, ExpressionError>;

impl Lowering<'_> {
    fn place(&self, id: u64) -> Place {
        self.places.of(id)
    }

    fn expression(&mut self, node: IdedExpr, depth: usize) -> Node {
        let id = node.id;
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let what = format!("more than {MAX_NODES} parts");
            return Err(ExpressionError::TooComplex { what, place: self.place(id) });
        }
        if depth > MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(ExpressionError::TooComplex { what, place: self.place(id) });
        }
        if let Some(found) = self.field_of_known(&node)? {
            return Ok(found);
        }
        let expr = match node.expr {
            Expr::Literal(literal) => Expr::Literal(literal),
            Expr::Ident(name) => self.identifier(id, name)?,
            Expr::Select(select) => {
                let operand = self.expression(*select.operand, depth + 1)?;
                match self.header_constant(&operand, &select.field, select.test) {
                    Some(header) => header,
                    None => Expr::Select(SelectExpr { operand: Box::new(operand), ..select }),
                }
            }
            Expr::Call(call) => return self.call(id, call, depth),
            Expr::List(list) => {
                let elements = self.all(list.elements, depth)?;
                Expr::List(ListExpr::new(elements))
            }
            Expr::Map(map) => self.map(id, map, depth)?,
            Expr::Comprehension(loop_) => self.comprehension(id, *loop_, depth)?,
            Expr::Struct(_) => {
                return Err(ExpressionError::Unsupported { what: "making a message", place: self.place(id) });
            }
            Expr::Unspecified => {
                return Err(ExpressionError::Unsupported { what: "an empty part", place: self.place(id) });
            }
        };
        Ok(IdedExpr { id, expr })
    }

    fn all(&mut self, nodes: Vec<IdedExpr>, depth: usize) -> Result<Vec<IdedExpr>, ExpressionError> {
        nodes.into_iter().map(|n| self.expression(n, depth + 1)).collect()
    }

    fn identifier(&mut self, id: u64, name: String) -> Result<Expr, ExpressionError> {
        if self.scope.contains(&name)
            || attribute::OF_POLICIES.contains(&name.as_str())
            || TYPES.contains(&name.as_str())
        {
            return Ok(Expr::Ident(name));
        }
        if name == attribute::FIELDS && self.used == Scope::Record {
            self.uses_fields = true;
            return Ok(Expr::Ident(name));
        }
        let place = self.place(id);
        match self.root(&name) {
            Some(parent) => Err(ExpressionError::NotAValue { name: parent.name(), known: parent.known(), place }),
            None => {
                let known = match self.used {
                    Scope::Rule => "a2a, apiKey, basicAuth, jwt, mcp, metadata, request and source",
                    Scope::Request => "apiKey, basicAuth, jwt, metadata, request and source",
                    Scope::Response => "apiKey, basicAuth, jwt, metadata, request, response and source",
                    Scope::Record => "apiKey, basicAuth, fields, jwt, metadata, request, response and source",
                };
                Err(ExpressionError::UnknownVariable { name, known, place })
            }
        }
    }

    /// The variable of this name, where it is known.
    fn root(&self, name: &str) -> Option<Parent> {
        Parent::root(name).filter(|parent| match parent {
            Parent::Response => matches!(self.used, Scope::Response | Scope::Record),
            parent => (!parent.is_mcp() && *parent != Parent::A2a) || self.used == Scope::Rule,
        })
    }

    /// `request.method`, `mcp.tool.name` and the like, also written with an index, as one attribute.
    fn field_of_known(&mut self, node: &IdedExpr) -> Result<Option<IdedExpr>, ExpressionError> {
        let Some((operand, field, test)) = selection(&node.expr) else { return Ok(None) };
        let Some(parent) = self.known_parent(operand) else { return Ok(None) };
        let place = self.place(node.id);
        self.uses_mcp |= parent.is_mcp();
        self.uses_a2a |= parent == Parent::A2a;
        // A request's body is read where values for the request are made, a response's where values for that are, and nowhere
        // else.
        let is_unread = |found: &Field| match found {
            Field::Value(attribute::REQUEST_BODY) => self.used != Scope::Request,
            Field::Value(attribute::RESPONSE_BODY) => self.used != Scope::Response,
            _ => false,
        };
        let expr = match parent.field(field).filter(|found| !is_unread(found)) {
            None => {
                let (parent, known) = (parent.name(), parent.known());
                return Err(ExpressionError::UnknownField { parent, name: field.to_owned(), known, place });
            }
            Some(Field::Parent(child)) if test => Expr::Ident(child.is_present().to_owned()),
            Some(Field::Parent(child)) => {
                return Err(ExpressionError::NotAValue { name: child.name(), known: child.known(), place });
            }
            Some(Field::Value(value)) if test => match parent.must_be_present(value) {
                Some(name) => Expr::Ident(name.to_owned()),
                None => Expr::Literal(LiteralValue::Boolean(CelBool::from(true))),
            },
            Some(Field::Value(name)) => {
                self.uses_body |= is_body(name);
                Expr::Ident(name.to_owned())
            }
        };
        Ok(Some(IdedExpr { id: node.id, expr }))
    }

    /// The variable or group of fields that `node` names, unless a loop variable hides it.
    fn known_parent(&self, node: &IdedExpr) -> Option<Parent> {
        if let Expr::Ident(name) = &node.expr {
            return self.root(name).filter(|_| !self.scope.contains(name));
        }
        let (operand, field, test) = selection(&node.expr)?;
        match self.known_parent(operand)?.field(field)? {
            Field::Parent(parent) if !test => Some(parent),
            _ => None,
        }
    }

    /// `request.headers.x` and `request.headers["X"]` with the name parsed once. Presence tests stay as they are.
    fn header_constant(&mut self, operand: &IdedExpr, field: &str, test: bool) -> Option<Expr> {
        if test || !matches!(&operand.expr, Expr::Ident(name) if name == attribute::HEADERS) {
            return None;
        }
        let name = HeaderName::from_bytes(field.as_bytes()).ok()?;
        Some(self.constant(Constant::Header(name)))
    }

    fn constant(&mut self, constant: Constant) -> Expr {
        self.constants.push(constant);
        Expr::Ident(format!("@{}", self.constants.len() - 1))
    }

    fn call(&mut self, id: u64, call: CallExpr, depth: usize) -> Node {
        if call.func_name == "matches" {
            return self.matches(id, call, depth);
        }
        if let (None, [only]) = (&call.target, call.args.as_slice())
            && let Some(constant) = self.address_constant(&call.func_name, only)?
        {
            return Ok(IdedExpr { id, expr: constant });
        }
        let operator = call.target.is_none() && OPERATORS.contains(&call.func_name.as_str());
        let style = if call.target.is_some() { Style::Member } else { Style::Global };
        if !operator && !is_function(&call.func_name, style, call.args.len()) {
            return Err(ExpressionError::UnknownFunction {
                name: call.func_name,
                arguments: call.args.len(),
                place: self.place(id),
            });
        }
        let target = call.target.map(|t| self.expression(*t, depth + 1)).transpose()?;
        let args = self.all(call.args, depth)?;
        self.method_names(target.iter().chain(&args))?;
        let ided = |expr| IdedExpr { id, expr };
        Ok(match (call.func_name.as_str(), target, <[IdedExpr; 2]>::try_from(args)) {
            ("_==_", None, Ok(args)) => self.equality(id, args),
            ("_!=_", None, Ok(args)) if args.iter().any(|a| names_of(a).is_some()) => {
                let equal = self.equality(id, args);
                ided(global("!_", vec![equal]))
            }
            ("@in", None, Ok([left, right])) => {
                let right = self.string_set(right);
                match names_of(&left) {
                    Some(names) => either(id, "@either_in", names, right),
                    None => ided(global("@in", vec![left, right])),
                }
            }
            ("_[_]", None, Ok([operand, index])) => {
                let header = string_literal(&index).and_then(|name| self.header_constant(&operand, name, false));
                ided(header.unwrap_or_else(|| global("_[_]", vec![operand, index])))
            }
            (name, None, Ok([left, right])) => ided(global(name, vec![left, right])),
            (name, Some(target), Err(args)) => self.member(id, name, target, args),
            (name, Some(target), Ok(args)) => self.member(id, name, target, args.into()),
            (name, None, Err(args)) => ided(global(name, args)),
        })
    }

    /// Refuses to compare `a2a.method` with a name that it never has: a rule that denies it would never match.
    fn method_names<'n>(&self, operands: impl Iterator<Item = &'n IdedExpr> + Clone) -> Result<(), ExpressionError> {
        if !operands.clone().any(|node| matches!(&node.expr, Expr::Ident(name) if name == attribute::A2A_METHOD)) {
            return Ok(());
        }
        for node in operands {
            let elements = match &node.expr {
                Expr::List(list) => list.elements.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for element in elements {
                let Some(older) = string_literal(element) else { continue };
                if let Some(name) = operation_of_a2a_0_3(older) {
                    let place = self.place(element.id);
                    return Err(ExpressionError::OlderName { older: older.to_owned(), name, place });
                }
            }
        }
        Ok(())
    }

    /// `ip("...")` and `cidr("...")` with the text parsed once.
    fn address_constant(&mut self, function: &str, argument: &IdedExpr) -> Result<Option<Expr>, ExpressionError> {
        let Some(text) = string_literal(argument) else { return Ok(None) };
        let constant = match function {
            "ip" => Address::parse(text).map(Constant::Address),
            "cidr" => Network::parse(text).map(Constant::Network),
            _ => return Ok(None),
        };
        let place = self.place(argument.id);
        constant.map(|c| Some(self.constant(c))).map_err(|message| ExpressionError::Address { place, message })
    }

    fn equality(&mut self, id: u64, [left, right]: [IdedExpr; 2]) -> IdedExpr {
        if let Some(names) = names_of(&left) {
            either(id, "@either_equals", names, right)
        } else if let Some(names) = names_of(&right) {
            either(id, "@either_equals", names, left)
        } else {
            IdedExpr { id, expr: global("_==_", vec![left, right]) }
        }
    }

    fn member(&mut self, id: u64, name: &str, target: IdedExpr, mut args: Vec<IdedExpr>) -> IdedExpr {
        let either_name = match name {
            "startsWith" => Some("@either_startsWith"),
            "endsWith" => Some("@either_endsWith"),
            "contains" => Some("@either_contains"),
            _ => None,
        };
        if let (Some(function), Some(names), 1) = (either_name, names_of(&target), args.len())
            && let Some(operand) = args.pop()
        {
            return either(id, function, names, operand);
        }
        if name == "containsIP" {
            return IdedExpr { id, expr: global("@containsIP", std::iter::once(target).chain(args).collect()) };
        }
        let call = CallExpr { func_name: name.to_owned(), target: Some(Box::new(target)), args };
        IdedExpr { id, expr: Expr::Call(call) }
    }

    /// `subject.matches(pattern)` and `matches(subject, pattern)`. The pattern is compiled here: compiling one at every
    /// evaluation would take longer than a request may hold its thread.
    fn matches(&mut self, id: u64, call: CallExpr, depth: usize) -> Node {
        let mut args = call.args;
        let arguments = args.len();
        let (pattern, subject) = match (args.pop(), call.target.map(|t| *t).or_else(|| args.pop())) {
            (Some(pattern), Some(subject)) if args.is_empty() => (pattern, subject),
            _ => {
                let place = self.place(id);
                return Err(ExpressionError::UnknownFunction { name: "matches".into(), arguments, place });
            }
        };
        let Some(text) = string_literal(&pattern) else {
            return Err(ExpressionError::PatternNotLiteral { place: self.place(id) });
        };
        let regex = RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build().map_err(|e| {
            let message = e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ExpressionError::Pattern { place: self.place(pattern.id), message }
        })?;
        let subject = self.expression(subject, depth + 1)?;
        let pattern = IdedExpr { id: pattern.id, expr: self.constant(Constant::Pattern(Pattern(regex))) };
        Ok(match names_of(&subject) {
            Some(names) => either(id, "@either_matches", names, pattern),
            None => IdedExpr { id, expr: global("@matches", vec![subject, pattern]) },
        })
    }

    /// A list of string literals becomes a set: looked up in constant time and not built at every evaluation.
    fn string_set(&mut self, list: IdedExpr) -> IdedExpr {
        let strings = match &list.expr {
            Expr::List(elements) => elements
                .elements
                .iter()
                .map(|e| string_literal(e).map(Box::from))
                .collect::<Option<HashSet<Box<str>>>>(),
            _ => None,
        };
        match strings {
            Some(strings) => IdedExpr { id: list.id, expr: self.constant(Constant::Strings(Strings(strings))) },
            None => list,
        }
    }

    fn map(&mut self, id: u64, map: MapExpr, depth: usize) -> Result<Expr, ExpressionError> {
        let mut entries = Vec::with_capacity(map.entries.len());
        for mut entry in map.entries {
            let EntryExpr::MapEntry(mut pair) = entry.expr else {
                return Err(ExpressionError::Unsupported { what: "making a message", place: self.place(id) });
            };
            pair.key = self.expression(pair.key, depth + 1)?;
            pair.value = self.expression(pair.value, depth + 1)?;
            entry.expr = EntryExpr::MapEntry(pair);
            entries.push(entry);
        }
        Ok(Expr::Map(MapExpr { entries }))
    }

    fn comprehension(&mut self, id: u64, c: ComprehensionExpr, depth: usize) -> Result<Expr, ExpressionError> {
        let place = self.place(id);
        self.loops += 1;
        if self.loops > MAX_LOOPS {
            return Err(ExpressionError::TooComplex { what: format!("more than {MAX_LOOPS} loops"), place });
        }
        let fixed_length = matches!(c.iter_range.expr, Expr::List(_));
        if !fixed_length && self.input_loop_depth > 0 {
            let what =
                "a loop over the input inside another; the inner one may only go over a list in the expression".into();
            return Err(ExpressionError::TooComplex { what, place });
        }
        for name in std::iter::once(&c.iter_var).chain(&c.iter_var2) {
            let is_fields = name == attribute::FIELDS && self.used == Scope::Record;
            if is_fields || Parent::root(name).is_some() || attribute::OF_POLICIES.contains(&name.as_str()) {
                return Err(ExpressionError::Shadowed { name: name.clone(), place });
            }
        }
        let iter_range = self.expression(c.iter_range, depth + 1)?;
        let accu_init = self.expression(c.accu_init, depth + 1)?;
        let outer = self.scope.len();
        self.scope.push(c.iter_var.clone());
        self.scope.extend(c.iter_var2.clone());
        self.scope.push(c.accu_var.clone());
        self.input_loop_depth += usize::from(!fixed_length);
        let loop_cond = self.expression(c.loop_cond, depth + 1)?;
        let loop_step = self.expression(c.loop_step, depth + 1)?;
        let result = self.expression(c.result, depth + 1)?;
        self.input_loop_depth -= usize::from(!fixed_length);
        self.scope.truncate(outer);
        let (iter_var, iter_var2, accu_var) = (c.iter_var, c.iter_var2, c.accu_var);
        Ok(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range,
            iter_var,
            iter_var2,
            accu_var,
            accu_init,
            loop_cond,
            loop_step,
            result,
        })))
    }
}

/// `operand.field`, `has(operand.field)` and `operand["field"]`.
fn selection(expr: &Expr) -> Option<(&IdedExpr, &str, bool)> {
    match expr {
        Expr::Select(select) => Some((&select.operand, &select.field, select.test)),
        Expr::Call(call) if call.func_name == "_[_]" && call.target.is_none() => match call.args.as_slice() {
            [operand, index] => Some((operand, string_literal(index)?, false)),
            _ => None,
        },
        _ => None,
    }
}

fn is_body(attribute: &str) -> bool {
    attribute == attribute::REQUEST_BODY || attribute == attribute::RESPONSE_BODY
}

fn string_literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The attributes of both names, when `node` is `mcp.tool.name` or `mcp.prompt.name`.
fn names_of(node: &IdedExpr) -> Option<(&'static str, &'static str)> {
    match &node.expr {
        Expr::Ident(name) => attribute::both_names(name),
        _ => None,
    }
}

fn global(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

fn either(id: u64, function: &str, (own, federated): (&str, &str), operand: IdedExpr) -> IdedExpr {
    let ident = |name: &str| IdedExpr { id, expr: Expr::Ident(name.to_owned()) };
    IdedExpr { id, expr: global(function, vec![ident(own), ident(federated), operand]) }
}
