// Command notation-policy reads a trust policy as notation does, by notation's own library, and prints what holds for an artifact:
// the name of the statement and its level. It fails where the document is invalid or no statement is about the artifact.
// Usage: notation-policy TRUSTPOLICY ARTIFACT
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
)

func read(file, artifact string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var document trustpolicy.Document
	if err := json.Unmarshal(raw, &document); err != nil {
		return "", err
	}
	if err := document.Validate(); err != nil {
		return "", err
	}
	statement, err := document.GetApplicableTrustPolicy(artifact)
	if err != nil {
		return "", err
	}
	level, err := statement.SignatureVerification.GetVerificationLevel()
	if err != nil {
		return "", err
	}
	return statement.Name + " " + level.Name, nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: notation-policy TRUSTPOLICY ARTIFACT")
		os.Exit(2)
	}
	found, err := read(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(found)
}
