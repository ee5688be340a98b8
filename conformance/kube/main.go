// Command kube holds every Kubernetes program that the test cluster needs in one file, chosen by the first argument:
// one link instead of nine, and one copy of the shared code in memory.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"agentgateway/conformance/kube/internal/dns"
	"agentgateway/conformance/kube/internal/loadbalancer"
)

// programs maps a first argument to the program that runs with the rest and returns the exit status.
var programs = map[string]func() int{
	"etcd":                    runEtcd,
	"helm":                    runHelm,
	"dns":                     run(dns.NewCommand),
	"lb":                      run(loadbalancer.NewCommand),
	"kubectl":                 run(kubectl.NewDefaultKubectlCommand),
	"kube-apiserver":          run(apiserver.NewAPIServerCommand),
	"kube-controller-manager": run(controllermanager.NewControllerManagerCommand),
	"kube-proxy":              run(proxy.NewProxyCommand),
	"kube-scheduler":          run(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	// The kubelet registers its own signal handler; a context that already has one makes it panic.
	"kubelet": run(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

func main() {
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(program())
		}
	}
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: kube %s [arguments]\n", strings.Join(names, "|"))
	os.Exit(2)
}

// run defers the construction of a command until it is chosen: constructors register flags and feature gates globally.
func run(newCommand func() *cobra.Command) func() int {
	return func() int { return cli.Run(newCommand()) }
}
