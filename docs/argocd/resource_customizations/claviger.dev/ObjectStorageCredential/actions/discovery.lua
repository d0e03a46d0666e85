-- A credential that is being deleted is not synced any more.
return {["sync"] = {["disabled"] = obj.metadata.deletionTimestamp ~= nil}}
