if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
-- Any new value asks for a sync, and this one is new after each write.
obj.metadata.annotations["claviger.dev/sync-requested-at"] = "argocd-" .. obj.metadata.resourceVersion
return obj
