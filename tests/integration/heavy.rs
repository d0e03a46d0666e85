//! Tests that load the machine by themselves, and measure.

use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// To be held by a test whose limits on time or memory would be missed beside another one of this kind.
pub async fn heavy() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}
