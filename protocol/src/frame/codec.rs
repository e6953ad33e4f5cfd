//! The frame: a header of fourteen bytes, and a body.
//!
//! ```text
//!  0               4       6                               14
//! ┌───────────────┬───────┬───────────────────────────────┬──────────┐
//! │ length (u32)  │ kind  │ request id (u64)              │ body …   │   big-endian
//! └───────────────┴───────┴───────────────────────────────┴──────────┘
//!   of what follows it: 10 + the body's bytes
//! ```

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::error::{ErrorCode, Refusal};

/// Bytes of length, kind and request id.
pub const HEADER_BYTES: usize = 14;
/// Bytes of the header that the length counts.
const COUNTED_HEADER_BYTES: usize = HEADER_BYTES - 4;
/// No frame has more bytes than this after its length, whatever is configured.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// Space that a decoder sets aside at most before a frame's bytes have arrived.
const MAX_EAGER_RESERVE: usize = 64 << 10;

/// A frame whose body is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// Number of a [`super::kind::FrameKind`].
    pub kind: u16,
    /// Ties an answer to its request; 0 on what nobody asked for.
    pub request: u64,
    /// MessagePack.
    pub body: Bytes,
}

/// Why no frame could be cut from a stream, or put on one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// A length above the bound.
    #[error("a frame of {bytes} bytes is above the bound of {limit}")]
    TooLarge {
        /// What the length says.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A length that does not even hold the header.
    #[error("a frame of {0} bytes can't hold its own header")]
    TooShort(usize),
    /// The stream ended inside of a frame.
    #[error("the stream ended inside of a frame")]
    Truncated,
}

impl FrameError {
    /// As it is told to the sender.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::TooShort(_) | Self::Truncated | Self::Io(_) => ErrorCode::Malformed,
        };
        Refusal::new(code, self.to_string())
    }
}

/// Cuts frames from a stream of bytes. Bodies share the memory that they were read into.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    limit: usize,
}

impl FrameCodec {
    /// Takes and makes frames of at most `max_frame_bytes` (and never more than [`MAX_FRAME_BYTES`]) after the length.
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { limit: max_frame_bytes.clamp(COUNTED_HEADER_BYTES, MAX_FRAME_BYTES) }
    }
}

impl Decoder for FrameCodec {
    type Item = RawFrame;
    type Error = FrameError;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<RawFrame>, FrameError> {
        let Some(length) = from.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.limit {
            return Err(FrameError::TooLarge { bytes: length, limit: self.limit });
        }
        if length < COUNTED_HEADER_BYTES {
            return Err(FrameError::TooShort(length));
        }
        if from.len() < 4 + length {
            from.reserve((4 + length - from.len()).min(MAX_EAGER_RESERVE));
            return Ok(None);
        }
        let mut frame = from.split_to(4 + length).freeze();
        frame.advance(4);
        Ok(Some(RawFrame { kind: frame.get_u16(), request: frame.get_u64(), body: frame }))
    }

    fn decode_eof(&mut self, from: &mut BytesMut) -> Result<Option<RawFrame>, FrameError> {
        match self.decode(from)? {
            None if !from.is_empty() => Err(FrameError::Truncated),
            frame => Ok(frame),
        }
    }
}

impl Encoder<RawFrame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: RawFrame, into: &mut BytesMut) -> Result<(), FrameError> {
        let length = COUNTED_HEADER_BYTES + frame.body.len();
        if length > self.limit {
            return Err(FrameError::TooLarge { bytes: length, limit: self.limit });
        }
        into.reserve(4 + length);
        into.put_u32(u32::try_from(length).expect("bounded by MAX_FRAME_BYTES"));
        into.put_u16(frame.kind);
        into.put_u64(frame.request);
        into.extend_from_slice(&frame.body);
        Ok(())
    }
}

/// Appends a frame whose body `write` makes in place. Nothing is appended where the frame would be too large.
pub(super) fn put_frame<E>(
    kind: u16,
    request: u64,
    into: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), super::EncodeError>
where
    super::EncodeError: From<E>,
{
    let begin = into.len();
    into.put_u32(0);
    into.put_u16(kind);
    into.put_u64(request);
    let written = write(into);
    let length = into.len() - begin - 4;
    if written.is_err() || length > MAX_FRAME_BYTES {
        into.truncate(begin);
    }
    written?;
    let length = u32::try_from(length).ok().filter(|n| *n as usize <= MAX_FRAME_BYTES);
    let length = length.ok_or(super::EncodeError::TooLarge { limit: MAX_FRAME_BYTES })?;
    into[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
