// Command gitops says what Argo CD, Flux and Helm make of objects, each by its own code.
//
// It reads one JSON document from stdin: the data of the ConfigMap argocd-cm, the healthCheckExprs of a
// Flux Kustomization, and objects. It writes one verdict for each object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	jsonpatch "github.com/evanphx/json-patch"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
)

type request struct {
	ArgoCDCM         map[string]string             `json:"argocdCm"`
	HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
	Objects          []json.RawMessage             `json:"objects"`
}

type verdict struct {
	// What Argo CD shows; absent when it knows no health of the kind.
	ArgoCD *told `json:"argocd,omitempty"`
	// The buttons that Argo CD has, by name, and what each of them would send.
	Actions map[string]action `json:"actions"`
	// Helm 4, and Flux without expressions.
	Kstatus told `json:"kstatus"`
	// Flux with the expressions.
	Flux told `json:"flux"`
}

type told struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type action struct {
	Disabled bool            `json:"disabled"`
	Patch    json.RawMessage `json:"patch"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	overrides, err := resourceOverrides(ctx, asked.ArgoCDCM)
	if err != nil {
		return fmt.Errorf("argocd-cm: %w", err)
	}
	reader, err := cel.NewStatusReader(asked.HealthCheckExprs)
	if err != nil {
		return fmt.Errorf("healthCheckExprs: %w", err)
	}
	verdicts := make([]verdict, 0, len(asked.Objects))
	for _, raw := range asked.Objects {
		// Integers stay integers, as a client of the API server has them.
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw); err != nil {
			return err
		}
		next, err := judge(ctx, obj, overrides, reader(nil))
		if err != nil {
			return fmt.Errorf("%s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
		verdicts = append(verdicts, *next)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

// resourceOverrides reads the ConfigMap as Argo CD does.
func resourceOverrides(ctx context.Context, data map[string]string) (map[string]appv1.ResourceOverride, error) {
	const namespace = "argocd"
	meta := func(name string) metav1.ObjectMeta {
		labels := map[string]string{"app.kubernetes.io/part-of": "argocd"}
		return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}
	}
	client := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: meta("argocd-cm"), Data: data},
		&corev1.Secret{ObjectMeta: meta("argocd-secret")},
	)
	return settings.NewSettingsManager(ctx, client, namespace).GetResourceOverrides()
}

func judge(
	ctx context.Context,
	obj *unstructured.Unstructured,
	overrides map[string]appv1.ResourceOverride,
	flux engine.StatusReader,
) (*verdict, error) {
	done := &verdict{}
	argocd, err := health.GetResourceHealth(obj, lua.ResourceHealthOverrides(overrides))
	if err != nil {
		return nil, err
	}
	if argocd != nil {
		done.ArgoCD = &told{Status: string(argocd.Status), Message: argocd.Message}
	}
	if done.Actions, err = actions(obj, lua.VM{ResourceOverrides: overrides}); err != nil {
		return nil, err
	}
	computed, err := status.Compute(obj)
	if err != nil {
		return nil, err
	}
	done.Kstatus = told{Status: string(computed.Status), Message: computed.Message}
	done.Flux = done.Kstatus
	if flux.Supports(obj.GroupVersionKind().GroupKind()) {
		read, err := flux.ReadStatusForObject(ctx, nil, obj)
		if err != nil {
			return nil, err
		}
		if read.Error != nil {
			return nil, read.Error
		}
		done.Flux = told{Status: string(read.Status), Message: read.Message}
	}
	return done, nil
}

// actions runs all that is offered, also what is greyed out.
func actions(obj *unstructured.Unstructured, vm lua.VM) (map[string]action, error) {
	done := map[string]action{}
	scripts, err := vm.GetResourceActionDiscovery(obj)
	if err != nil || len(scripts) == 0 {
		return done, err
	}
	offered, err := vm.ExecuteResourceActionDiscovery(obj, scripts)
	if err != nil {
		return nil, err
	}
	for _, one := range offered {
		definition, err := vm.GetResourceAction(obj, one.Name)
		if err != nil {
			return nil, err
		}
		impacted, err := vm.ExecuteResourceAction(obj, definition.ActionLua, nil)
		if err != nil {
			return nil, err
		}
		if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
			return nil, fmt.Errorf("action %s does more than to patch the object", one.Name)
		}
		patch, err := mergePatch(obj, impacted[0].UnstructuredObj)
		if err != nil {
			return nil, err
		}
		done[one.Name] = action{Disabled: one.Disabled, Patch: patch}
	}
	return done, nil
}

// mergePatch is what the server of Argo CD makes of the result of an action.
func mergePatch(before, after *unstructured.Unstructured) ([]byte, error) {
	old, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	changed, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(old, changed)
}
