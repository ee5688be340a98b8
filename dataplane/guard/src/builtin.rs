//! Detectors that need no expression of the user's: an expression for the looks, and a check where the thing has one.

use crate::check;

/// What can be detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// Numbers of payment cards, by Luhn's check digit.
    CreditCard,
    /// E-mail addresses.
    Email,
    /// Telephone numbers: international with `+`, and those of North America.
    PhoneNumber,
    /// International bank account numbers, by their checksum.
    Iban,
    /// Ids of persons: social security numbers of the USA, national insurance numbers of the United Kingdom, social insurance
    /// numbers of Canada, DNI and NIE of Spain, NIR of France, tax ids of Germany; with checksums where they have one.
    NationalId,
    /// Keys of well-known services, by their prefixes; JSON web tokens.
    ApiKey,
    /// Private keys in PEM, from their first line to their last.
    PrivateKey,
}

/// One expression of a detector.
pub(crate) struct Detector {
    pub(crate) expression: &'static str,
    /// Whether a match is one.
    pub(crate) is: fn(&str) -> bool,
    /// A match is a number: not where digits or letters go on before or behind it. Where the whole fails the check, a shorter one
    /// that ends between groups may pass.
    pub(crate) number: bool,
    /// Everything up to a match of this goes with it.
    pub(crate) until: Option<&'static str>,
}

const fn plain(expression: &'static str) -> Detector {
    Detector { expression, is: check::any, number: false, until: None }
}

const fn number(expression: &'static str, is: fn(&str) -> bool) -> Detector {
    Detector { expression, is, number: true, until: None }
}

static CREDIT_CARD: [Detector; 1] = [number(r"[2-6](?:[ -]?[0-9]){12,18}", check::card)];
static EMAIL: [Detector; 1] =
    [plain(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z][A-Za-z0-9-]{1,62}")];
static PHONE: [Detector; 2] = [
    number(r"\+[0-9]{1,3}(?:[ ./-]?\(?[0-9]{1,5}\)?){2,6}", check::phone),
    number(r"\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}", check::phone),
];
static IBAN: [Detector; 1] = [number(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", check::iban)];
static NATIONAL_ID: [Detector; 6] = [
    number(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", check::ssn),
    number(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", check::any),
    number(r"[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}", check::luhn),
    number(r"(?:[XYZ]-?[0-9]{7}|[0-9]{8})-?[A-Z]", check::dni),
    number(r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2A|2B) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", check::nir),
    number(r"[1-9][0-9](?: ?[0-9]{3}){3}", check::steuer_id),
];
static API_KEY: [Detector; 11] = [
    plain(r"sk-[A-Za-z0-9_-]{20,250}"),
    number(r"(?:AKIA|ASIA)[0-9A-Z]{16}", check::any),
    plain(r"gh[pousr]_[A-Za-z0-9]{36,250}"),
    plain(r"github_pat_[A-Za-z0-9_]{22,250}"),
    plain(r"glpat-[A-Za-z0-9_-]{20,250}"),
    plain(r"AIza[0-9A-Za-z_-]{35}"),
    plain(r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
    plain(r"hf_[A-Za-z0-9]{30,250}"),
    plain(r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}"),
    plain(r"npm_[A-Za-z0-9]{36}"),
    plain(r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,1000}"),
];
static PRIVATE_KEY: [Detector; 1] = [Detector {
    expression: r"-----BEGIN (?:[A-Z]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    is: check::any,
    number: false,
    until: Some(r"-----END (?:[A-Z]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
}];

impl Builtin {
    /// All of them.
    pub const ALL: [Builtin; 7] = [
        Builtin::CreditCard,
        Builtin::Email,
        Builtin::PhoneNumber,
        Builtin::Iban,
        Builtin::NationalId,
        Builtin::ApiKey,
        Builtin::PrivateKey,
    ];

    /// What stands in the place of a match.
    pub fn mask(self) -> &'static str {
        match self {
            Builtin::CreditCard => "<CREDIT_CARD>",
            Builtin::Email => "<EMAIL_ADDRESS>",
            Builtin::PhoneNumber => "<PHONE_NUMBER>",
            Builtin::Iban => "<IBAN>",
            Builtin::NationalId => "<NATIONAL_ID>",
            Builtin::ApiKey => "<API_KEY>",
            Builtin::PrivateKey => "<PRIVATE_KEY>",
        }
    }

    pub(crate) fn detectors(self) -> &'static [Detector] {
        match self {
            Builtin::CreditCard => &CREDIT_CARD,
            Builtin::Email => &EMAIL,
            Builtin::PhoneNumber => &PHONE,
            Builtin::Iban => &IBAN,
            Builtin::NationalId => &NATIONAL_ID,
            Builtin::ApiKey => &API_KEY,
            Builtin::PrivateKey => &PRIVATE_KEY,
        }
    }
}
