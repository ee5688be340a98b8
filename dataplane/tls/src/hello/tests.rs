//! Against what rustls's own client sends, cut and fragmented everywhere.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

fn sent(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("writes");
    bytes
}

/// The same message in records of so many bytes.
fn fragmented(bytes: &[u8], size: usize) -> Vec<u8> {
    let header = &bytes[..3];
    bytes[RECORD_HEADER..]
        .chunks(size)
        .flat_map(|part| [header, &u16::try_from(part.len()).expect("short").to_be_bytes(), part].concat())
        .collect()
}

#[test]
fn the_name_is_found_in_any_fragmentation() {
    let bytes = sent("Shop.Example.com");
    let expected = Ok(Hello::Complete(Some("shop.example.com".to_owned())));
    assert_eq!(parse(&bytes), expected);
    for size in [1, 2, 3, 7, 100] {
        let pieces = fragmented(&bytes, size);
        assert_eq!(parse(&pieces), expected, "records of {size} bytes");
        assert!(accept(&pieces).is_ok());
    }
    assert_eq!(parse(&sent("10.0.0.1")), Ok(Hello::Complete(None)), "an address is not sent as a name");
}

#[test]
fn every_beginning_is_incomplete() {
    let bytes = sent("a.example");
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(Hello::Incomplete), "{end}");
    }
}

#[test]
fn what_is_not_tls_is_told_at_once() {
    assert_eq!(parse(b"G"), Err(NotTls::NotHandshake));
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(NotTls::NotHandshake));
    assert_eq!(parse(&[22, 2]), Err(NotTls::NotHandshake));
    assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(NotTls::Malformed));
    assert_eq!(parse(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Err(NotTls::NotHandshake), "another handshake message");
    assert_eq!(parse(&[22, 3, 1, 0, 4, 1, 255, 255, 255]), Err(NotTls::TooLarge));
}

#[test]
fn a_message_that_does_not_end_is_given_up() {
    let announced = [22, 3, 1, 0, 1, 1].into_iter().chain([22, 3, 1, 0, 3, 0, 0x3f, 0xff]);
    let endless: Vec<u8> = announced.chain([22, 3, 1, 0, 1, 0].into_iter().cycle()).take(MAX_BYTES).collect();
    assert_eq!(parse(&endless[..MAX_BYTES - 1]), Ok(Hello::Incomplete));
    assert_eq!(parse(&endless), Err(NotTls::TooLarge));
}

#[test]
fn what_comes_after_the_message_does_not_matter_and_what_lacks_does() {
    let mut bytes = sent("a.example");
    bytes.extend([20, 3, 3, 0, 1, 1]);
    assert!(matches!(parse(&bytes), Ok(Hello::Complete(Some(_)))));
    let refused = accept(&sent("a.example")[..100]).expect_err("incomplete");
    assert_eq!(refused.alert, UNEXPECTED_MESSAGE);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_changed_byte_panics_or_reads_beyond(at in 0usize..400, value in any::<u8>()) {
        let mut bytes = sent("a.example");
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        let _ = parse(&bytes);
        let _ = accept(&bytes);
    }
}
