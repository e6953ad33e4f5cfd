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

/// What follows the first thing of `bytes`, whatever that is, which is not looked at; `None` where it is cut short or nothing
/// that is written here.
pub(crate) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut things) = (bytes, 1_u64);
    while things > 0 {
        let (marker, after) = rest.split_first()?;
        let number = |bytes: usize| -> Option<u64> {
            Some(after.get(..bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        // Bytes of the thing besides its marker, and things that lie in it.
        let (bytes, inside) = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (1 + number(1)?, 0),
            0xc5 | 0xda => (2 + number(2)?, 0),
            0xc6 | 0xdb => (4 + number(4)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xdc => (2, number(2)?),
            0xdd => (4, number(4)?),
            0xde => (2, 2 * number(2)?),
            0xdf => (4, 2 * number(4)?),
            // Extensions, which nothing here has, and what is reserved.
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return None,
        };
        rest = after.get(usize::try_from(bytes).ok()?..)?;
        things = things - 1 + inside;
    }
    Some(rest)
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
    fn a_thing_of_each_form_is_passed_over_and_half_a_thing_is_not() {
        let forms: Vec<Vec<u8>> = vec![
            rmp_serde::to_vec(&(0_u8, 0x7f_u8, 0xff_u8, 0xffff_u16, u32::MAX, u64::MAX)).unwrap(),
            rmp_serde::to_vec(&(-1_i8, -100_i8, i16::MIN, i32::MIN, i64::MIN, 1.5_f32, 2.5_f64, true, ())).unwrap(),
            rmp_serde::to_vec(&("", "a".repeat(31), "a".repeat(32), "a".repeat(256), "a".repeat(65_536))).unwrap(),
            rmp_serde::to_vec(&[0_usize, 1, 256, 65_536].map(|len| Blob(vec![7; len].into()))).unwrap(),
            rmp_serde::to_vec(&(vec![vec![1_u8; 16]; 3], vec![2_u16; 65_536])).unwrap(),
            rmp_serde::to_vec(&(0..20).map(|at| (at, vec![at])).collect::<std::collections::BTreeMap<u32, _>>())
                .unwrap(),
        ];
        for form in forms {
            let followed = [&form[..], &[1, 2, 3]].concat();
            assert_eq!(skip(&followed), Some(&[1, 2, 3][..]));
            let cuts = (0..form.len()).step_by(form.len() / 500 + 1);
            cuts.for_each(|cut| assert_eq!(skip(&form[..cut]), None, "{cut} of {}", form.len()));
        }
        assert_eq!(skip(&[0xd4, 1, 1]), None);
        assert_eq!(skip(&[0xdf, 0xff, 0xff, 0xff, 0xff]), None);
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
