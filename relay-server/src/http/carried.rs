//! An answer's body, together with the request that it ends: the request is under way until the body has gone out or was given up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};

use crate::admission::InHand;
use crate::respond::Answer;

/// An answer's body on its way.
pub(crate) struct Carried {
    body: Full<Bytes>,
    in_hand: Option<InHand>,
}

/// The bytes themselves: hyper and what stands below it keep them until they are written.
struct Load {
    bytes: Bytes,
    _in_hand: Option<InHand>,
}

impl AsRef<[u8]> for Load {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sends an answer on its way.
pub(crate) fn carry(answer: Answer, mut in_hand: InHand) -> Response<Carried> {
    in_hand.answered();
    answer.map(|body| Carried { body, in_hand: Some(in_hand) })
}

impl Body for Carried {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let in_hand = self.in_hand.take();
        let laden = |bytes| Bytes::from_owner(Load { bytes, _in_hand: in_hand });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(laden))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
