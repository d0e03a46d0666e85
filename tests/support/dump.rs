//! What is in a namespace, for the log of a failed test.

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::discovery::verbs,
    discovery::{Discovery, Scope},
};
use serde_json::Value;

use super::error::Result;

/// Prints every object in the namespace. Never the data of a Secret: only its keys and their lengths.
pub async fn dump(client: &Client, namespace: &str) {
    eprintln!("--- objects in namespace {namespace}");
    if let Err(error) = print_all(client, namespace).await {
        eprintln!("(not complete: {error})");
    }
    eprintln!("--- end of namespace {namespace}");
}

async fn print_all(client: &Client, namespace: &str) -> Result<()> {
    let discovery = Discovery::new(client.clone()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            // The same Events are in `events.k8s.io`.
            let doubled = resource.kind == "Event" && resource.group.is_empty();
            if doubled
                || capabilities.scope != Scope::Namespaced
                || !capabilities.supports_operation(verbs::LIST)
            {
                continue;
            }
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            match api.list(&ListParams::default()).await {
                Ok(list) => {
                    for object in list {
                        eprintln!(
                            "{} {}: {}",
                            resource.kind,
                            object.name_any(),
                            printable(&resource.kind, object)
                        );
                    }
                }
                Err(error) => eprintln!("{}: {error}", resource.plural),
            }
        }
    }
    Ok(())
}

fn printable(kind: &str, mut object: DynamicObject) -> Value {
    object.managed_fields_mut().clear();
    if kind == "Secret" {
        // Client-side apply leaves a copy of everything there.
        object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
        for field in ["data", "stringData"] {
            if let Some(data) = object.data.get_mut(field).and_then(Value::as_object_mut) {
                for value in data.values_mut() {
                    let length = value.as_str().map_or(0, str::len);
                    *value = Value::String(format!("<{length} characters>"));
                }
            }
        }
    }
    serde_json::to_value(&object).unwrap_or_else(|error| Value::String(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::printable;

    #[test]
    fn secret_data_is_not_printed() {
        let secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"password": "Y2FuYXJ5"},
            "metadata": {"name": "s", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "Y2FuYXJ5",
            }},
        }))
        .expect("a Secret");
        let text = printable("Secret", secret).to_string();
        assert!(text.contains("\"password\":\"<8 characters>\""), "{text}");
        assert!(!text.contains("Y2FuYXJ5"), "{text}");
    }
}
