//! Checksums and other rules that tell a number from digits that only look like it.

/// The digits of a text.
fn digits(text: &str) -> impl Iterator<Item = u32> + Clone {
    text.chars().filter_map(|c| c.to_digit(10))
}

/// Luhn's formula (ISO/IEC 7812-1, annex B).
pub(crate) fn luhn(text: &str) -> bool {
    let numbers: Vec<u32> = digits(text).collect();
    let sum: u32 = numbers
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    !numbers.is_empty() && sum.is_multiple_of(10) && numbers.iter().any(|digit| *digit != 0)
}

/// A payment card's number: 13 to 19 digits of an industry that issues cards, with its check digit.
pub(crate) fn card(text: &str) -> bool {
    (13..=19).contains(&digits(text).count()) && matches!(digits(text).next(), Some(2..=6)) && luhn(text)
}

/// ISO 13616: country and check digits at the end, letters as numbers, modulo 97 is 1.
pub(crate) fn iban(text: &str) -> bool {
    let text: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
    if !(15..=34).contains(&text.len()) {
        return false;
    }
    let (start, end) = text.split_at(4);
    let rest = end.iter().chain(start).try_fold(0u32, |rest, c| {
        let value = c.to_digit(36)?;
        Some((rest * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    rest == Some(1)
}

/// A telephone number: 8 to 15 digits (E.164).
pub(crate) fn phone(text: &str) -> bool {
    (8..=15).contains(&digits(text).count())
}

/// A social security number of the USA: no part is zero, and no area that is never given out.
pub(crate) fn ssn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    match parts.as_slice() {
        [area, group, serial] => {
            !matches!(*area, "000" | "666") && !area.starts_with('9') && *group != "00" && *serial != "0000"
        }
        _ => false,
    }
}

/// Spain's DNI and NIE: the letter is the number modulo 23.
pub(crate) fn dni(text: &str) -> bool {
    const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let text: String = text.chars().filter(|c| *c != '-').collect();
    let (Some(letter), Some(number)) = (text.bytes().last(), text.get(..text.len().saturating_sub(1))) else {
        return false;
    };
    let number = match number.split_at_checked(1) {
        Some(("X", rest)) => rest.to_owned(),
        Some(("Y", rest)) => format!("1{rest}"),
        Some(("Z", rest)) => format!("2{rest}"),
        _ => number.to_owned(),
    };
    number.parse::<usize>().ok().and_then(|number| LETTERS.get(number % 23)) == Some(&letter)
}

/// France's NIR: the key is 97 minus the number modulo 97; 2A and 2B of Corsica are 19 and 18.
pub(crate) fn nir(text: &str) -> bool {
    let text: String = text.chars().filter(|c| *c != ' ').collect();
    let text = text.replace("2A", "19").replace("2B", "18");
    let (Some(number), Some(key)) = (text.get(..13), text.get(13..)) else { return false };
    match (number.parse::<u64>(), key.parse::<u64>()) {
        (Ok(number), Ok(key)) => 97 - number % 97 == key,
        _ => false,
    }
}

/// Germany's tax id: one digit comes twice or thrice among ten, and the last is that of ISO 7064 MOD 11,10.
pub(crate) fn steuer_id(text: &str) -> bool {
    let numbers: Vec<u32> = digits(text).collect();
    let [first @ .., check] = numbers.as_slice() else { return false };
    if first.len() != 10 || first.first() == Some(&0) {
        return false;
    }
    let most = (0..10).map(|digit| first.iter().filter(|other| **other == digit).count()).max().unwrap_or(0);
    let product = first.iter().fold(10, |product, digit| {
        let sum = match (digit + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    (2..=3).contains(&most) && (11 - product) % 10 == *check
}

/// Any match will do.
pub(crate) fn any(_: &str) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_right_and_wrong_checks() {
        for right in ["4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6011000990139424"] {
            assert!(card(right), "{right}");
        }
        for wrong in ["4111 1111 1111 1112", "0000 0000 0000 0000", "1234567890123452", "411111111111"] {
            assert!(!card(wrong), "{wrong}");
        }
        assert!(iban("DE89 3704 0044 0532 0130 00") && iban("GB29NWBK60161331926819"));
        assert!(!iban("DE88 3704 0044 0532 0130 00"));
        assert!(ssn("536-90-4399") && !ssn("666-12-1234") && !ssn("000-12-1234") && !ssn("536-00-4399"));
        assert!(dni("12345678Z") && dni("X1234567L") && !dni("12345678A"));
        assert!(nir("255081416802538") && !nir("255081416802539"));
        assert!(steuer_id("86095742719") && !steuer_id("86095742718"));
    }
}
