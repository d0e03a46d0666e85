//! The text of `/metrics`: encoded at most about once a second, and kept once for all who read it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::domain::schedule::{METRICS_AGE, METRICS_AGE_WHILE_READ};

/// A text is kept in pieces of this size: it does not move while it grows, and a connection holds one of them.
const CHUNK: usize = 16 * 1024;

/// The metrics as text. However many ask, and however slowly they read, there are at most two encodings: the newest,
/// and the one before it while that is still being sent.
#[derive(Debug)]
pub(super) struct Exposition {
    metrics: Arc<Metrics>,
    encodings: Mutex<Encodings>,
}

#[derive(Debug, Default)]
struct Encodings {
    newest: Option<(Arc<Encoding>, Instant)>,
    before: Option<Arc<Encoding>>,
}

#[derive(Debug, Default)]
struct Encoding {
    chunks: Vec<Bytes>,
    length: usize,
    /// What is not yet a chunk.
    rest: String,
}

impl Exposition {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, encodings: Mutex::default() }
    }

    /// The metrics, as of a moment ago. Who asks while they are being encoded waits for that.
    pub async fn text(&self) -> Text {
        self.encodings.lock().await.text(|encoding| self.metrics.encode_to(encoding))
    }
}

impl Encodings {
    fn text(&mut self, encode: impl FnOnce(&mut Encoding)) -> Text {
        let is_read = |encoding: &Arc<Encoding>| Arc::weak_count(encoding) > 0;
        let age =
            if self.before.as_ref().is_some_and(is_read) { METRICS_AGE_WHILE_READ } else { METRICS_AGE };
        if let Some((encoding, made)) = &self.newest
            && made.elapsed() < age
        {
            return Text::new(encoding);
        }
        // Who still reads the one before has had its time.
        self.before = self.newest.take().map(|(encoding, _)| encoding).filter(is_read);
        let mut encoding = Encoding::default();
        encode(&mut encoding);
        encoding.end_chunk();
        let (encoding, _) = self.newest.insert((Arc::new(encoding), Instant::now()));
        Text::new(encoding)
    }
}

impl Encoding {
    fn end_chunk(&mut self) {
        self.length += self.rest.len();
        self.chunks.push(std::mem::take(&mut self.rest).into());
    }
}

impl fmt::Write for Encoding {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.rest.len() + text.len() > CHUNK {
            self.end_chunk();
        }
        if self.rest.is_empty() {
            self.rest.reserve_exact(CHUNK);
        }
        self.rest.push_str(text);
        Ok(())
    }
}

/// The body of an answer. It does not keep its encoding alive: when that has gone, the answer breaks off.
pub(super) struct Text {
    encoding: Weak<Encoding>,
    next: usize,
    left: usize,
}

/// The answer was not read in time.
#[derive(Debug, thiserror::Error)]
#[error("newer metrics have replaced these")]
pub(super) struct Superseded;

impl Text {
    fn new(encoding: &Arc<Encoding>) -> Self {
        Self { encoding: Arc::downgrade(encoding), next: 0, left: encoding.length }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Superseded;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Superseded>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = self.encoding.upgrade().and_then(|encoding| encoding.chunks.get(self.next).cloned());
        self.next += 1;
        self.left -= chunk.as_ref().map_or(self.left, Bytes::len);
        Poll::Ready(Some(chunk.map(Frame::data).ok_or(Superseded)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const LINES: usize = 3_000;

    /// More than three chunks.
    fn large(encoding: &mut impl fmt::Write, word: &str) {
        for line in 0..LINES {
            writeln!(encoding, "{word}{{line=\"{line:04}\"}} 1").unwrap();
        }
    }

    fn expected(word: &str) -> String {
        let mut text = String::new();
        large(&mut text, word);
        assert!(text.len() > 3 * CHUNK);
        text
    }

    async fn read(text: Text) -> Result<String, Superseded> {
        Ok(String::from_utf8(text.collect().await?.to_bytes().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn many_share_one_encoding_for_a_second() {
        let (mut encodings, mut times) = (Encodings::default(), 0);
        let mut ask = || {
            encodings.text(|encoding| {
                times += 1;
                large(encoding, "first");
            })
        };
        let texts: Vec<Text> = (0..64).map(|_| ask()).collect();
        for text in texts {
            assert_eq!(text.size_hint().exact(), Some(expected("first").len() as u64));
            assert_eq!(read(text).await.unwrap(), expected("first"));
        }
        assert_eq!(times, 1);
        tokio::time::advance(METRICS_AGE).await;
        let second = encodings.text(|encoding| large(encoding, "second"));
        assert_eq!(read(second).await.unwrap(), expected("second"));
        assert!(encodings.before.is_none(), "nobody reads it any more");
    }

    /// Attack: readers that never come to the end, each of which began with another encoding.
    #[tokio::test(start_paused = true)]
    async fn slow_readers_hold_one_encoding_more() {
        let (mut encodings, mut slow, mut times) = (Encodings::default(), Vec::new(), 0);
        for _ in 0..64 {
            let mut text = encodings.text(|encoding| {
                times += 1;
                large(encoding, "x");
            });
            assert!(text.frame().await.unwrap().is_ok());
            slow.push(text);
            tokio::time::advance(SECOND / 2).await;
        }
        let mut held: Vec<_> = slow.iter().filter_map(|text| text.encoding.upgrade()).collect();
        held.dedup_by(|a, b| Arc::ptr_eq(a, b));
        assert!(held.len() <= 2, "{} encodings are held", held.len());
        assert!((6..=9).contains(&times), "encoded {times} times in half a minute");
        drop(held);
        assert!(read(slow.remove(0)).await.is_err(), "it looks whole");
        // One among them that takes its time, but does read, has the whole.
        let (rest, whole) = (read(slow.pop().unwrap()).await.unwrap(), expected("x"));
        assert!(whole.ends_with(&rest) && rest.len() > 2 * CHUNK);
    }
}
