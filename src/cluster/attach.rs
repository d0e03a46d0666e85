//! Writes to ServiceAccounts: a JSON patch that holds for one state of the object alone, so that nobody's entry is lost.

use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::{
    account::Account,
    dynamic::{api, resource},
    error::WriteError,
    own_writes::Ending,
    writer::{Job, Writer},
};
use crate::{
    api::MANAGER,
    domain::{attachment::Wanted, identity::NamespacedName, reference_kind::ReferenceKind},
    telemetry::{AccountOperation, WriteResult},
};

impl Writer {
    /// Brings a ServiceAccount in line with what a credential wants of it. Returns whether it was changed; if not, it has to
    /// be planned anew.
    pub(super) async fn edit(
        &self,
        name: &NamespacedName,
        wanted: &Wanted,
        job: Job<'_>,
    ) -> Result<bool, WriteError> {
        let _turn = self.turns.of(name).await;
        if (job.stop)() {
            return Ok(false);
        }
        let (owner, hub) = (job.id.owner(), &self.shared.options.hub.id);
        // As it is now: another credential may just have written.
        let patch = {
            let mut cache = self.shared.write();
            let edit = cache.snapshot().accounts.get(name).and_then(|account| {
                let edit = account.edit(job.id, hub, wanted)?;
                Some((account.patch(&edit), edit.attaches()))
            });
            if edit.is_some() {
                cache.begin_account(name, owner);
            }
            edit
        };
        let Some((patch, attaches)) = patch else { return Ok(false) };
        let operation = if attaches { AccountOperation::Attach } else { AccountOperation::Detach };
        let result = self.send_patch(name, patch).await;
        let changes = {
            let mut cache = self.shared.write();
            let changes = result.as_ref().ok().map(|account| cache.set_account(account, false));
            let ending = if result.is_ok() { Ending::Answered } else { Ending::Unanswered };
            cache.end_account(name, ending);
            changes
        };
        if let Some(changes) = changes {
            self.shared.tell(changes);
        }
        let error = match result {
            Ok(_) => {
                self.count_account(operation, WriteResult::Ok);
                return Ok(true);
            }
            Err(error) => WriteError::of_patch(&error),
        };
        let told = match &error {
            WriteError::Cluster(condition) => {
                self.shared.connectivity.strained(condition.clone());
                WriteResult::Error
            }
            WriteError::Refused(_) => WriteResult::Refused,
            WriteError::AlreadyExists | WriteError::Changed | WriteError::Gone => WriteResult::Conflict,
        };
        self.count_account(operation, told);
        Err(error)
    }

    async fn send_patch(
        &self,
        name: &NamespacedName,
        patch: serde_json::Value,
    ) -> Result<Account, kube::Error> {
        let patch: json_patch::Patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        let at = resource(&ReferenceKind::ServiceAccount.api(), "v1");
        let api: Api<Account> = api(self.shared.connection.client(), Some(&name.namespace), &at);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&name.name, &params, &Patch::Json::<()>(patch)).await
    }

    fn count_account(&self, operation: AccountOperation, result: WriteResult) {
        self.shared.options.metrics.account_write(&self.shared.name, operation, result);
    }
}
