// Command testcluster starts and removes real single-node Kubernetes clusters on this machine, and makes the container
// images for them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"

	"agentgateway/conformance/internal/node"
)

// subcommand takes the arguments after its own name.
type subcommand struct {
	usage, help string
	run         func(ctx context.Context, arguments []string) error
}

// subcommands in the order of the help text.
var subcommands = []struct {
	name string
	subcommand
}{
	{"up", subcommand{"NAME [--control-plane-only] [--timeout 3m]", "start a cluster, or what is missing of it; the last line is KUBECONFIG=FILE", up}},
	{"down", subcommand{"NAME... | --all", "remove clusters with everything that belongs to them", down}},
	{"list", subcommand{"", "list the clusters of this machine", list}},
	{"kubeconfig", subcommand{"NAME", "print the path of the administrator's kubeconfig", kubeconfig}},
	{"load", subcommand{"NAME IMAGE.tar...", "import images", load}},
	{"images", subcommand{"NAME", "list the images of a cluster", images}},
	{"logs", subcommand{"NAME COMPONENT", "print the log of etcd, kube-apiserver, kubelet, containerd, ...", logs}},
	{"stop", subcommand{"NAME COMPONENT", "kill one program as if it had crashed; `up` starts it again", stop}},
	{"kill", subcommand{"NAME NAMESPACE POD CONTAINER", "SIGKILL a container's first process, as a crash would", killContainer}},
	{"exec", subcommand{"NAME COMMAND [ARGUMENT...]", "run a command on the node, in its namespaces", execute}},
	{"image", subcommand{"--name NAME[,NAME...] -o OUT.tar ...", "make an image without an engine; image --help lists the rest", makeImage}},
}

func main() {
	err := dispatch(os.Args[1:])
	var failed *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &failed):
		os.Exit(failed.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "testcluster:", err)
		os.Exit(1)
	}
}

func dispatch(arguments []string) error {
	if len(arguments) == 0 || slices.Contains([]string{"help", "--help", "-h"}, arguments[0]) {
		printUsage()
		return nil
	}
	switch name, rest := arguments[0], arguments[1:]; {
	case name == node.InitCommand && len(rest) == 1:
		return node.Init(rest[0])
	case name == node.StartCommand && len(rest) > 1:
		return node.LeaveDaemon(rest[0], rest[1:])
	default:
		for _, command := range subcommands {
			if command.name == name {
				ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
				defer cancel()
				err := command.run(ctx, rest)
				switch {
				case errors.Is(err, errUsage):
					return fmt.Errorf("usage: testcluster %s %s", command.name, command.usage)
				case errors.Is(err, flag.ErrHelp):
					return nil
				}
				return err
			}
		}
		return fmt.Errorf("unknown command %q: testcluster help lists them", name)
	}
}

func printUsage() {
	fmt.Println("usage: testcluster COMMAND ...")
	for _, command := range subcommands {
		fmt.Printf("\n  %s %s\n      %s\n", command.name, command.usage, command.help)
	}
}
