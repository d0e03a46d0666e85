//! The body of an answer, bounded in size and time: whoever answers may be hostile.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Sleep;
use tower::BoxError;

use crate::domain::schedule::{MAX_ANSWER, MAX_ANSWERS};

/// An answer that is not read to its end.
#[derive(Debug, Error)]
pub(super) enum AnswerError {
    #[error("the answer is longer than {} KiB", .0 >> 10)]
    TooLong(usize),
    #[error("the answer did not end within {} s", .0.as_secs_f32())]
    TooSlow(Duration),
}

/// What of an answer is read as a whole, and so waits until the last byte of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Answer,
    /// A line of a watch.
    Line,
    /// An object of a list, of which the reader knows where it ends.
    Object,
}

/// Says of a request that its answer is read object by object.
#[derive(Clone, Copy)]
pub(super) struct ByObject;

/// How much an answer may take.
#[derive(Clone)]
pub(super) struct Bounds {
    pub unit: Unit,
    pub longest: usize,
    /// How long it may take from its beginning.
    pub time: Duration,
    /// What waits to be read to its end, of all answers of the cluster.
    pub waiting: Arc<AtomicUsize>,
}

/// The body of an answer, which ends with an error where it is beyond its bounds.
pub(super) struct Answer<B> {
    body: B,
    bounds: Bounds,
    /// Bytes that came and were not read as a whole: of the answer, or of the line of a watch.
    waiting: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<B> Answer<B> {
    pub fn new(body: B, bounds: Bounds) -> Self {
        let deadline = Box::pin(tokio::time::sleep(bounds.time));
        Self { body, bounds, waiting: 0, deadline }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), AnswerError> {
        if self.bounds.unit == Unit::Object {
            return Ok(());
        }
        let is_line = self.bounds.unit == Unit::Line;
        let end = data.iter().rposition(|byte| *byte == b'\n').filter(|_| is_line);
        let before = self.waiting;
        self.waiting = end.map_or(before + data.len(), |end| data.len() - end - 1);
        let all = &self.bounds.waiting;
        all.fetch_sub(before, Ordering::Relaxed);
        let others = all.fetch_add(self.waiting, Ordering::Relaxed);
        for (waiting, longest) in [(self.waiting, self.bounds.longest), (others + self.waiting, MAX_ANSWERS)]
        {
            if waiting > longest {
                return Err(AnswerError::TooLong(longest.min(MAX_ANSWER)));
            }
        }
        Ok(())
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.bounds.waiting.fetch_sub(self.waiting, Ordering::Relaxed);
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(AnswerError::TooSlow(this.bounds.time).into())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|frame| frame.map_err(Into::into))) };
        let taken = frame.data_ref().map_or(Ok(()), |data| this.take(data));
        Poll::Ready(Some(taken.map(|()| frame).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What a server promises is no reason to set memory aside.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn bounds(unit: Unit, longest: usize) -> Bounds {
        Bounds { unit, longest, time: Duration::from_secs(5), waiting: Arc::default() }
    }

    /// Reads an answer whose parts never end; returns how many came, and why no more.
    async fn read(part: &'static str, bounds: &Bounds, pause: Duration) -> (usize, String) {
        let parts = stream::repeat(part).then(move |part| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(part.as_bytes())))
        });
        let mut answer = Answer::new(StreamBody::new(Box::pin(parts)), bounds.clone());
        let mut count = 0;
        loop {
            match answer.frame().await {
                Some(Ok(_)) => count += 1,
                end => break (count, end.unwrap().unwrap_err().to_string()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_and_an_endless_line_end_at_their_bound() {
        let whole = bounds(Unit::Answer, 10 << 10);
        let (count, why) = read("0123\n", &whole, Duration::ZERO).await;
        assert_eq!((count, why.as_str()), (2048, "the answer is longer than 10 KiB"));
        let watch = bounds(Unit::Line, 10 << 10);
        assert_eq!(read("01234", &watch, Duration::ZERO).await.0, 2048);
        assert_eq!(watch.waiting.load(Ordering::Relaxed), 0, "what ended waits no more");
        // Lines that end go on as long as the watch may.
        let (count, why) = read("0123\n5", &watch, Duration::from_millis(1)).await;
        assert!(count > 4_000 && why == "the answer did not end within 5 s", "{count} {why}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_drips_ends_in_time() {
        let (count, why) = read("x", &bounds(Unit::Answer, 1 << 10), Duration::from_secs(1)).await;
        assert!(count <= 5 && why.contains("within 5 s"), "{count} {why}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_answers_of_a_cluster_share_one_bound() {
        let one = bounds(Unit::Line, MAX_ANSWER);
        one.waiting.store(MAX_ANSWERS - 12, Ordering::Relaxed);
        assert_eq!(read("01234", &one, Duration::ZERO).await.0, 2);
    }
}
