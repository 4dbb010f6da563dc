// Reads the files of deploy/ as Kubernetes and Docker Compose do: unknown fields and wrong types are errors.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kubernetes prints what `kubectl apply -k` would send.
func kubernetes(directory string) error {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return err
	}
	for _, resource := range built.Resources() {
		var into any
		switch resource.GetKind() {
		case "Service":
			into = &core.Service{}
		case "StatefulSet":
			into = &apps.StatefulSet{}
		case "NetworkPolicy":
			into = &networking.NetworkPolicy{}
		case "PodDisruptionBudget":
			into = &policy.PodDisruptionBudget{}
		default:
			return fmt.Errorf("%s: add its type to this program", resource.CurId())
		}
		text, err := resource.AsYAML()
		if err != nil {
			return err
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			return fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		fmt.Printf("---\n%s", text)
	}
	return nil
}

func compose(file string) error {
	options, err := cli.NewProjectOptions(
		[]string{file}, cli.WithOsEnv, cli.WithName("cco"), cli.WithInterpolation(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := project.MarshalYAML()
	fmt.Printf("%s", text)
	return err
}

func main() {
	read := map[string]func(string) error{"kubernetes": kubernetes, "compose": compose}[os.Args[1]]
	if err := read(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
