//! Ending a connection with a reason, and reading the reason back.

use landbridge_protocol::error::{ErrorCode, Refusal};
use quinn::{Connection, ConnectionError, VarInt};

/// The close code of a connection that ends because there is nothing more to say. No [`ErrorCode`] has this number.
const IN_ORDER: u32 = 0;

/// Bytes of a refusal's sentence that travel at most: the closing packet must fit into the smallest datagram.
const MAX_REASON_BYTES: usize = 1000;

/// Closes the connection, and tells the other end why. What is still on its streams may be lost.
pub fn close(connection: &Connection, refusal: &Refusal) {
    let mut end = refusal.message.len().min(MAX_REASON_BYTES);
    while !refusal.message.is_char_boundary(end) {
        end -= 1;
    }
    connection.close(VarInt::from_u32(refusal.code.into()), &refusal.message.as_bytes()[..end]);
}

/// Closes the connection with nothing to complain of.
pub fn close_in_order(connection: &Connection) {
    connection.close(VarInt::from_u32(IN_ORDER), b"");
}

/// The refusal with which the other end closed the connection; `None` where it ended in another way. A number that is not
/// known here is kept, and may be tried again.
pub fn refusal_of(error: &ConnectionError) -> Option<Refusal> {
    let ConnectionError::ApplicationClosed(closed) = error else { return None };
    let code = u16::try_from(closed.error_code.into_inner()).ok().filter(|code| u32::from(*code) != IN_ORDER)?;
    let retryable = ErrorCode::from_number(code).is_none_or(ErrorCode::is_retryable);
    Some(Refusal { code, retryable, message: String::from_utf8_lossy(&closed.reason).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u32, reason: &'static str) -> ConnectionError {
        let close = quinn::ApplicationClose { error_code: VarInt::from_u32(code), reason: reason.into() };
        ConnectionError::ApplicationClosed(close)
    }

    #[test]
    fn a_refusal_is_read_back_with_its_word_on_retries() {
        let wrong = refusal_of(&closed(ErrorCode::WrongSite.number().into(), "not here")).unwrap();
        assert_eq!(wrong, Refusal::new(ErrorCode::WrongSite, "not here"));
        assert!(!wrong.retryable);
        assert!(refusal_of(&closed(ErrorCode::Busy.number().into(), "")).unwrap().retryable);
    }

    #[test]
    fn a_newer_relays_number_is_kept_and_may_be_tried_again() {
        let newer = refusal_of(&closed(999, "too hot")).unwrap();
        assert_eq!((newer.code, newer.retryable, newer.code()), (999, true, None));
    }

    #[test]
    fn an_end_in_order_or_by_the_network_is_no_refusal() {
        assert_eq!(refusal_of(&closed(IN_ORDER, "")), None);
        assert_eq!(refusal_of(&closed(70_000, "no number of ours")), None);
        assert_eq!(refusal_of(&ConnectionError::TimedOut), None);
    }
}
