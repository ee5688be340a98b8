//! A message with its prefix (gRPC over HTTP2, "Length-Prefixed-Message").

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;

use crate::Error;

/// Compressed flag and length.
pub(crate) const PREFIX: usize = 5;

pub(crate) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The one message of a unary answer.
pub(crate) fn decode<M: Message + Default>(frame: &Bytes) -> Result<M, Error> {
    let bad = |what: &str| Error::Answer(what.to_owned());
    let ([compressed, length @ ..], message) = frame.split_first_chunk::<PREFIX>().ok_or_else(|| bad("it is empty"))?;
    if *compressed != 0 {
        return Err(bad("it is compressed, which nobody asked for"));
    }
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err(bad("it is not one message"));
    }
    M::decode(message).map_err(|e| Error::Answer(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Status;

    #[test]
    fn what_is_encoded_decodes_and_nothing_else_does() {
        let status = Status { code: 7, message: "no".into() };
        let frame = encode(&status);
        assert_eq!(decode::<Status>(&frame).expect("decodes"), status);
        for at in 0..frame.len() {
            assert!(decode::<Status>(&frame.slice(..at)).is_err(), "cut after {at} bytes");
        }
        let mut compressed = frame.to_vec();
        compressed[0] = 1;
        assert!(decode::<Status>(&compressed.into()).is_err());
        assert!(decode::<Status>(&[frame.clone(), frame].concat().into()).is_err(), "two messages");
    }
}
