//! MessagePack written by hand, for what is written once for each record: it goes to its place in one copy, without a clone
//! of key and value. Numbers and lengths take their shortest form, as rmp-serde gives them.

use bytes::{BufMut, BytesMut};

pub(crate) fn uint(number: u64, into: &mut BytesMut) {
    let bytes = number.to_be_bytes();
    match number {
        0..=0x7f => into.put_u8(bytes[7]),
        0x80..=0xff => into.put_slice(&[0xcc, bytes[7]]),
        0x100..=0xffff => into.put_slice(&[0xcd, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            into.put_u8(0xce);
            into.put_slice(&bytes[4..]);
        }
        _ => {
            into.put_u8(0xcf);
            into.put_slice(&bytes);
        }
    }
}

/// The head of an array of so many things.
pub(crate) fn array(len: u16, into: &mut BytesMut) {
    match len {
        0..=15 => into.put_u8(0x90 | len as u8),
        _ => {
            into.put_u8(0xdc);
            into.put_u16(len);
        }
    }
}

/// Of fewer than 4 GiB.
pub(crate) fn bytes(bytes: &[u8], into: &mut BytesMut) {
    match bytes.len() {
        len @ 0..=0xff => into.put_slice(&[0xc4, len as u8]),
        len @ 0x100..=0xffff => {
            into.put_u8(0xc5);
            into.put_u16(len as u16);
        }
        len => {
            into.put_u8(0xc6);
            into.put_u32(len as u32);
        }
    }
    into.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blob::Blob;

    fn by_hand(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut into = BytesMut::new();
        write(&mut into);
        into.to_vec()
    }

    proptest! {
        #[test]
        fn numbers_and_lengths_are_as_serde_gives_them(number in any::<u64>(), bits in 0u32..64) {
            let number = number >> bits;
            prop_assert_eq!(by_hand(|into| uint(number, into)), rmp_serde::to_vec(&number).unwrap());
        }
    }

    #[test]
    fn what_lies_at_a_bound_is_as_serde_gives_it() {
        for number in [0, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            assert_eq!(by_hand(|into| uint(number, into)), rmp_serde::to_vec(&number).unwrap());
        }
        for len in [0_usize, 1, 0xff, 0x100, 0xffff, 0x1_0000] {
            let blob = Blob(vec![7; len].into());
            assert_eq!(by_hand(|into| bytes(&blob.0, into)), rmp_serde::to_vec(&blob).unwrap());
        }
        for len in [0_u16, 15, 16, 0xffff] {
            let items = vec![0_u8; usize::from(len)];
            let written = by_hand(|into| {
                array(len, into);
                items.iter().for_each(|item| uint(u64::from(*item), into));
            });
            assert_eq!(written, rmp_serde::to_vec(&items).unwrap());
        }
    }
}
