//! Lists of models, in the shape of each API. They are the gateway's own: what its configuration names.

use bytes::Bytes;

use crate::Dialect;
use crate::json::Writer;

/// A model that clients may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What clients call it.
    pub id: String,
    /// Who makes it, such as "anthropic".
    pub owner: String,
    /// Since when it is there, in seconds since 1970.
    pub created: u64,
}

/// The list of models: the body of an answer with status 200.
pub fn model_list(client: Dialect, models: &[Model]) -> Bytes {
    let mut out = Vec::with_capacity(models.len().saturating_mul(160).saturating_add(64));
    let all = |w: &mut Writer<'_>| w.array(|w| models.iter().for_each(|model| write(client, model, w)));
    Writer::new(&mut out).object(|w| match client {
        Dialect::AnthropicMessages => {
            all(w.key("data"));
            w.key("has_more").bool(false);
            let id = |w: &mut Writer<'_>, model: Option<&Model>| match model {
                Some(model) => w.string(&model.id),
                None => w.null(),
            };
            id(w.key("first_id"), models.first());
            id(w.key("last_id"), models.last());
        }
        Dialect::Gemini => all(w.key("models")),
        _ => {
            w.key("object").string("list");
            all(w.key("data"));
        }
    });
    out.into()
}

/// One model: the body of an answer with status 200.
pub fn model_info(client: Dialect, model: &Model) -> Bytes {
    let mut out = Vec::with_capacity(160);
    write(client, model, &mut Writer::new(&mut out));
    out.into()
}

fn write(client: Dialect, model: &Model, w: &mut Writer<'_>) {
    w.object(|w| match client {
        Dialect::AnthropicMessages => {
            w.key("type").string("model");
            w.key("id").string(&model.id);
            w.key("display_name").string(&model.id);
            w.key("created_at").string(&rfc3339(model.created));
        }
        Dialect::Gemini => {
            w.key("name").string(&format!("models/{}", model.id));
            w.key("displayName").string(&model.id);
            w.key("supportedGenerationMethods").array(|w| {
                ["generateContent", "streamGenerateContent", "countTokens"].iter().for_each(|method| w.string(method));
            });
        }
        _ => {
            w.key("id").string(&model.id);
            w.key("object").string("model");
            w.key("created").u64(model.created);
            w.key("owned_by").string(&model.owner);
        }
    });
}

/// Seconds since 1970 as RFC 3339 has them in UTC. Days to a date by Howard Hinnant's `civil_from_days`.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(rfc3339(1_795_780_800), "2026-11-27T12:00:00Z");
    }
}
