// What kubelet's own keyring answers to a table of cases: pull Secrets and an image each.
// Claviger's answers are compared with these.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"os"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

type request struct {
	Secrets []struct {
		Name string            `json:"name"`
		Type string            `json:"type"`
		Data map[string][]byte `json:"data"`
	} `json:"secrets"`
	Image string `json:"image"`
}

type login struct {
	Secret string `json:"secret"`
	Digest string `json:"digest"`
}

// One of the first two says why there are no logins.
type answer struct {
	InvalidImage bool    `json:"invalidImage"`
	Unreadable   bool    `json:"unreadable"`
	Repository   string  `json:"repository"`
	Logins       []login `json:"logins"`
}

func ask(r request) answer {
	repository, _, _, err := parsers.ParseImageName(r.Image)
	if err != nil {
		return answer{InvalidImage: true}
	}
	passed := []v1.Secret{}
	for _, s := range r.Secrets {
		meta := metav1.ObjectMeta{Name: s.Name, Namespace: "web", UID: "uid"}
		passed = append(passed, v1.Secret{ObjectMeta: meta, Type: v1.SecretType(s.Type), Data: s.Data})
	}
	keyring, err := secrets.MakeDockerKeyring(passed, credentialprovider.UnionDockerKeyring{})
	if err != nil {
		return answer{Unreadable: true, Repository: repository}
	}
	logins := []login{}
	found, _ := keyring.Lookup(repository)
	for _, one := range found {
		sum := sha256.Sum256([]byte(one.Username + "\x00" + one.Password))
		logins = append(logins, login{Secret: one.Source.Secret.Name, Digest: hex.EncodeToString(sum[:])})
	}
	return answer{Repository: repository, Logins: logins}
}

func main() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		log.Fatal(err)
	}
	answers := make([]answer, 0, len(requests))
	for _, r := range requests {
		answers = append(answers, ask(r))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
