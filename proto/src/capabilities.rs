//! What a program of this or another release knows of the model: its kinds, and the fields and enum values of policies, route
//! matches and TLS. A proxy lists its own in the node metadata; the control plane compares.
//!
//! The lists come from the descriptors that the program was built with, so nobody has to keep them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind as FieldKind, MessageDescriptor, ReflectMessage, Value as Field,
};
use prost_types::value::Kind as Json;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ListValue, Struct, Value};

use crate::DESCRIPTORS;
use crate::kind::Kind;

const PACKAGE: &str = "agentgateway.resource.v1";
const METADATA_KINDS: &str = "kinds";
const METADATA_FIELDS: &str = "fields";

/// Messages whose fields decide over access: a proxy that skips one of them would let more through than was meant.
const ROOTS: [&str; 4] = ["Policy", "RouteMatch", "ServerTls", "BackendTls"];

/// Kinds, and fields as "Message.field" and "Enum.VALUE".
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capabilities {
    /// Names of messages, see [`Kind::message`].
    pub kinds: BTreeSet<String>,
    /// Fields and enum values of policies, of route matches and of TLS.
    pub fields: BTreeSet<String>,
}

impl Capabilities {
    /// What this program knows.
    pub fn own() -> Capabilities {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default().file;
        let mut known = Known::default();
        for file in files.iter().filter(|file| file.package() == PACKAGE) {
            known.add("", &file.message_type, &file.enum_type);
        }
        let mut fields = BTreeSet::new();
        let mut queue: Vec<String> = ROOTS.map(str::to_owned).into();
        let mut seen = BTreeSet::new();
        while let Some(message) = queue.pop() {
            let Some(descriptor) = known.messages.get(&message).filter(|_| seen.insert(message.clone())) else {
                continue;
            };
            for field in &descriptor.field {
                fields.insert(format!("{message}.{}", field.name()));
                let inner = local(field.type_name().trim_start_matches('.')).to_owned();
                match known.enums.get(&inner) {
                    Some(values) => fields.extend(values.value.iter().map(|v| format!("{inner}.{}", v.name()))),
                    None => queue.push(inner),
                }
            }
        }
        Capabilities { kinds: Kind::PUSH_ORDER.iter().map(|k| k.message().to_owned()).collect(), fields }
    }

    /// As node metadata.
    pub fn to_metadata(&self) -> Struct {
        let list = |names: &BTreeSet<String>| Value {
            kind: Some(Json::ListValue(ListValue {
                values: names.iter().map(|n| Value { kind: Some(Json::StringValue(n.clone())) }).collect(),
            })),
        };
        Struct {
            fields: BTreeMap::from([
                (METADATA_KINDS.to_owned(), list(&self.kinds)),
                (METADATA_FIELDS.to_owned(), list(&self.fields)),
            ]),
        }
    }

    /// From node metadata. `None` when the peer lists nothing, as a foreign xDS client does.
    pub fn from_metadata(metadata: &Struct) -> Option<Capabilities> {
        let list = |name| match &metadata.fields.get(name)?.kind {
            Some(Json::ListValue(list)) => Some(
                list.values
                    .iter()
                    .filter_map(|v| match &v.kind {
                        Some(Json::StringValue(s)) => Some(s.clone()),
                        _ => None,
                    })
                    .collect::<BTreeSet<_>>(),
            ),
            _ => None,
        };
        Some(Capabilities { kinds: list(METADATA_KINDS)?, fields: list(METADATA_FIELDS)? })
    }

    /// Whether a peer with these capabilities knows all that `other` knows.
    pub fn covers(&self, other: &Capabilities) -> bool {
        self.kinds.is_superset(&other.kinds) && self.fields.is_superset(&other.fields)
    }

    /// The first field or enum value set in `message` that is not among these; messages inside it included.
    pub fn first_unknown(&self, message: &DynamicMessage) -> Option<String> {
        let descriptor = message.descriptor();
        for (field, value) in message.fields() {
            let name = format!("{}.{}", local(descriptor.full_name()), field.name());
            if !self.fields.contains(&name) {
                return Some(name);
            }
            if let Some(unknown) = self.unknown_in(&field.kind(), value) {
                return Some(unknown);
            }
        }
        None
    }

    fn unknown_in(&self, kind: &FieldKind, value: &Field) -> Option<String> {
        match (value, kind) {
            (Field::Message(inner), _) => self.first_unknown(inner),
            (Field::List(items), _) => items.iter().find_map(|item| self.unknown_in(kind, item)),
            (Field::EnumNumber(number), FieldKind::Enum(inner)) => {
                let enum_name = local(inner.full_name());
                let name = match inner.get_value(*number) {
                    Some(v) => format!("{enum_name}.{}", v.name()),
                    None => format!("{enum_name}.{number}"),
                };
                (!self.fields.contains(&name)).then_some(name)
            }
            _ => None,
        }
    }
}

/// Messages and enums of the model by their names without the package.
#[derive(Default)]
struct Known<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Known<'a> {
    /// `outer` is the name of the message that these are in, with a dot; empty for those of a file.
    fn add(&mut self, outer: &str, messages: &'a [DescriptorProto], enums: &'a [EnumDescriptorProto]) {
        self.enums.extend(enums.iter().map(|one| (format!("{outer}{}", one.name()), one)));
        for message in messages {
            let name = format!("{outer}{}", message.name());
            self.add(&format!("{name}."), &message.nested_type, &message.enum_type);
            self.messages.insert(name, message);
        }
    }
}

/// Descriptor of a message of the resource model, by its name without the package.
pub fn descriptor(message: &str) -> Option<MessageDescriptor> {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    // The bytes come from this program's own build; a pool that does not decode would know no message at all, and the
    // control plane would then deny what it cannot check.
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default())
        .get_message_by_name(&format!("{PACKAGE}.{message}"))
}

fn local(full_name: &str) -> &str {
    full_name.strip_prefix(PACKAGE).and_then(|n| n.strip_prefix('.')).unwrap_or(full_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn own_list_names_policies_targets_matches_and_enum_values() {
        let own = Capabilities::own();
        for name in [
            "PolicySpec.deny",
            "Cors.allow_origins",
            "JwtProvider.jwks",
            "BackendAuthentication.passthrough",
            "AuthenticationMode.PERMISSIVE",
            "Policy.listener_key",
            "RouteTarget.rule_name",
            "RouteMatch.headers",
            "KeyedMatch.regex",
            "ServerTls.client_validation",
            "ClientValidation.Mode.ALLOW_INSECURE_FALLBACK",
            "BackendTls.subject_alt_names",
            "SubjectAltName.uri",
        ] {
            assert!(own.fields.contains(name), "{name} is missing in {:?}", own.fields);
        }
        assert_eq!(own.kinds.len(), Kind::PUSH_ORDER.len());
    }

    #[test]
    fn the_own_list_is_what_reflection_sees() {
        let mut fields = BTreeSet::new();
        let mut queue: Vec<_> = ROOTS.iter().filter_map(|root| descriptor(root)).collect();
        let mut seen = BTreeSet::new();
        while let Some(message) = queue.pop() {
            if !seen.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                fields.insert(format!("{}.{}", local(message.full_name()), field.name()));
                match field.kind() {
                    FieldKind::Message(inner) => queue.push(inner),
                    FieldKind::Enum(inner) => {
                        fields.extend(inner.values().map(|v| format!("{}.{}", local(inner.full_name()), v.name())));
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(Capabilities::own().fields, fields);
    }

    #[test]
    fn metadata_round_trips() {
        let own = Capabilities::own();
        assert_eq!(Capabilities::from_metadata(&own.to_metadata()), Some(own));
        assert_eq!(Capabilities::from_metadata(&Struct::default()), None);
    }

    #[test]
    fn finds_an_unknown_field_and_an_unknown_enum_value_inside() {
        let policy = v1::JwtAuthentication {
            providers: vec![v1::JwtProvider {
                issuer: "i".into(),
                audiences: vec!["a".into()],
                jwks: "{}".into(),
                ..v1::JwtProvider::default()
            }],
            mode: v1::AuthenticationMode::Permissive.into(),
            ..v1::JwtAuthentication::default()
        };
        let message = DynamicMessage::decode(
            descriptor("JwtAuthentication").expect("known message"),
            policy.encode_to_vec().as_slice(),
        )
        .expect("decodes");
        let mut cut = Capabilities::own();
        assert_eq!(cut.first_unknown(&message), None);
        cut.fields.remove("AuthenticationMode.PERMISSIVE");
        assert_eq!(cut.first_unknown(&message).as_deref(), Some("AuthenticationMode.PERMISSIVE"));
        cut.fields.remove("JwtProvider.audiences");
        assert_eq!(cut.first_unknown(&message).as_deref(), Some("JwtProvider.audiences"));
    }
}
