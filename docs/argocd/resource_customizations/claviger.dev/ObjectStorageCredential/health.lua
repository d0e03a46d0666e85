-- kstatus compatible: Ready, Reconciling and Stalled say it all. Argo CD also has a word for what somebody has paused.
local health = {status = "Progressing", message = "Waiting for Claviger"}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end

local ready = conditions["Ready"]
if ready == nil then
  return health
end
health.message = ready.message
if ready.reason == "Paused" then
  health.status = "Suspended"
elseif is("Stalled", "True") then
  health.status = "Degraded"
elseif is("Reachable", "False") and status.serverVersion ~= nil then
  -- A cluster that was there and is not any more. One that never was may still be on its way.
  health.status = "Degraded"
elseif is("Reconciling", "True") then
  health.status = "Progressing"
elseif ready.status == "True" then
  health.status = "Healthy"
elseif ready.status == "False" then
  health.status = "Degraded"
end
return health
