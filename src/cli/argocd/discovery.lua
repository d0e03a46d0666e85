-- What is being deleted is not brought in line any more.
return {["sync"] = {["disabled"] = obj.metadata.deletionTimestamp ~= nil}}
