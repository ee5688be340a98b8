//! Gemini's own form of schemas (OpenAPI 3.0's, with types in capitals) as JSON schema.

use std::borrow::Cow;

use crate::json::Json;

/// The JSON schema that a `Schema` of Gemini means. Members that only Gemini has are left out.
pub(crate) fn to_json_schema<'t>(schema: &'t Json<'t>) -> Json<'t> {
    let Some(object) = schema.as_object() else { return schema.clone() };
    let nullable = schema.get("nullable").as_bool() == Some(true);
    let members = object.iter().filter_map(|(name, value)| {
        let value = match name {
            "type" => {
                let word = value.as_str().map(str::to_ascii_lowercase)?;
                if word == "type_unspecified" {
                    return None;
                }
                let word = Json::String(Cow::Owned(word));
                if nullable { Json::Array(vec![word, Json::from("null")]) } else { word }
            }
            "properties" => {
                value.as_object()?.iter().map(|(name, schema)| (name, to_json_schema(schema))).collect::<Json<'t>>()
            }
            "items" | "additionalProperties" => to_json_schema(value),
            "anyOf" | "prefixItems" => Json::Array(value.items().iter().map(to_json_schema).collect()),
            // int64 as a string of digits.
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                match value.as_str() {
                    Some(digits) => Json::Number(digits.parse::<u64>().ok()?.into()),
                    None => value.clone(),
                }
            }
            "nullable" | "propertyOrdering" | "property_ordering" | "example" => return None,
            _ => value.clone(),
        };
        Some((if name == "any_of" { "anyOf" } else { name }, value))
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_capitals_and_nullable() {
        let text = br#"{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true},"b":{"type":"ARRAY","items":{"type":"INTEGER"},"maxItems":"3"}},"required":["a"],"propertyOrdering":["a","b"]}"#;
        let schema = Json::parse(text).unwrap();
        let json = String::from_utf8(crate::json::string(&to_json_schema(&schema))).unwrap();
        assert_eq!(
            json,
            r#"{"type":"object","properties":{"a":{"type":["string","null"]},"b":{"type":"array","items":{"type":"integer"},"maxItems":3}},"required":["a"]}"#
        );
    }
}
