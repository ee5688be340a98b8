//! Headers as balancers send them, cut everywhere, and bytes at random.

use proptest::prelude::*;

use super::*;

fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [V2, &[version_and_command, family], &length, rest].concat()
}

fn source(bytes: &[u8]) -> Option<String> {
    match parse(bytes).expect("a header") {
        Parsed::Complete(header) => {
            assert_eq!(header.length, bytes.len());
            header.source.map(|s| s.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn corpus() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
    let six: Vec<u8> = [
        &Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets()[..],
        &Ipv6Addr::LOCALHOST.octets(),
        &[0x30, 0x39, 0, 80],
    ]
    .concat();
    let with_tlvs = [&four[..], &[0x02, 0, 3, b'a', b'.', b'b', 0x04, 0, 0]].concat();
    vec![
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), Some("192.0.2.7:12345")),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(), Some("[2001:db8::7]:12345")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
        (v2(0x21, 0x11, &four), Some("192.0.2.7:12345")),
        (v2(0x21, 0x11, &with_tlvs), Some("192.0.2.7:12345")),
        (v2(0x21, 0x21, &six), Some("[2001:db8::7]:12345")),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &four), None),
        (v2(0x21, 0x00, &[]), None),
        (v2(0x21, 0x31, &[b'x'; 216]), None),
    ]
}

#[test]
fn the_client_is_where_the_header_says() {
    for (bytes, expected) in corpus() {
        assert_eq!(source(&bytes).as_deref(), expected, "{bytes:?}");
    }
}

#[test]
fn a_header_ends_where_it_ends_and_every_beginning_is_incomplete() {
    for (bytes, _) in corpus() {
        let whole = parse(&bytes).expect("a header");
        assert_eq!(parse(&[&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat()), Ok(whole));
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{:?}", &bytes[..end]);
        }
    }
}

#[test]
fn what_is_no_header_is_told_by_its_first_bytes() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n", &[22, 3, 1], b"PROXYX", b"\r\n\r\nGET"] {
        assert_eq!(parse(bytes), Ok(Parsed::Absent), "{bytes:?}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
    for bytes in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80 1\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 ::1 12345 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 123456 80\r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(),
        [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
        v2(0x11, 0x11, &four),
        v2(0x22, 0x11, &four),
        v2(0x21, 0x41, &four),
        v2(0x21, 0x11, &four[..11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x11, &[0; MAX_PROXY_HEADER]),
    ] {
        assert!(parse(&bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_header_is_longer_than_what_came(
        begin in prop_oneof![Just(Vec::new()), Just(V1.to_vec()), Just(V2.to_vec())],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [begin, rest].concat();
        if let Ok(Parsed::Complete(header)) = parse(&bytes) {
            prop_assert!(header.length <= bytes.len());
        }
    }

    #[test]
    fn every_address_is_read_in_both_versions(address: [u8; 4], port: u16) {
        let expected = SocketAddr::from((address, port)).to_string();
        let text = format!("PROXY TCP4 {} 10.0.0.1 {port} 80\r\n", Ipv4Addr::from(address));
        prop_assert_eq!(source(text.as_bytes()), Some(expected.clone()));
        let rest = [&address[..], &[10, 0, 0, 1], &port.to_be_bytes(), &[0, 80]].concat();
        prop_assert_eq!(source(&v2(0x21, 0x11, &rest)), Some(expected));
    }
}
